"""An encoder's ONNX file with int8 numbers: weights alone, or weights and activations with scales found by calibration.

Scales are constants of the file, never taken from a batch, so that a vector does not depend on its batch-mates.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pipelines.models.backends import INT8, INT8_WEIGHTS, ONNX


def quantize(folder: Path, file: str, texts: Sequence[Sequence[int]]) -> None:
    """Write `file`, one of INT8 and INT8_WEIGHTS, beside the folder's fp32 model; `texts` as token ids, to calibrate with."""
    import onnx

    logging.getLogger().addFilter(_without_advice)  # onnxruntime advises steps that the exporter has done already
    logging.disable(logging.INFO)  # and tells of each of the graph's nodes
    try:
        model = onnx.load(str(folder / ONNX))
        del model.graph.value_info[:]  # the exporter's shapes of intermediate values contradict quantized ones
        {INT8: _static, INT8_WEIGHTS: _weights}[file](model, folder / file, texts)
    finally:
        logging.disable(logging.NOTSET)
        logging.getLogger().removeFilter(_without_advice)


def _without_advice(record: logging.LogRecord) -> bool:
    return "pre-processing before quantization" not in record.getMessage()


def _weights(model: Any, target: Path, _: Sequence[Sequence[int]]) -> None:
    """Blocks of 128 weights share a scale; arithmetic stays fp32 (`MatMulNBits` of onnxruntime)."""
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    how = DefaultWeightOnlyQuantConfig(block_size=128, is_symmetric=True, bits=8)
    quantizer = MatMulNBitsQuantizer(model, algo_config=how)
    quantizer.process()
    quantizer.model.save_model_to_file(str(target), False)


def _static(model: Any, target: Path, texts: Sequence[Sequence[int]]) -> None:
    """Products with weights in u8·s8, a scale for each output channel, activations' ranges as the texts show them.

    What stays fp32: attention's own products, softmax, normalization, and the product behind GELU, whose few huge
    activations leave no precision to the others: it alone costs 4 % of nDCG@10.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Texts(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is not followed by mypy
        """One text at a time, so that no padding is seen."""

        def __init__(self) -> None:
            self.feeds = _feeds(texts, {given.name for given in model.graph.input})

        def get_next(self) -> dict[str, Any] | None:
            return next(self.feeds, None)

    with TemporaryDirectory() as scratch:
        source = Path(scratch) / ONNX
        onnx.save(model, str(source))
        quantize_static(
            source, target, Texts(), per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul"], nodes_to_quantize=_robust_products(model), extra_options={"WeightSymmetric": True},
        )  # fmt: skip


def _feeds(texts: Sequence[Sequence[int]], inputs: set[str]) -> Iterator[dict[str, Any]]:
    for tokens in texts:
        ids = np.array([tokens], np.int64)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        yield {name: value for name, value in feeds.items() if name in inputs}


def _robust_products(model: Any) -> list[str]:
    """Names of the products with weights, without those whose input comes from GELU."""
    weights = {one.name for one in model.graph.initializer}
    behind = {output for node in model.graph.node if node.op_type == "Gelu" for output in node.output}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in weights and node.input[0] not in behind
    ]
