"""Quantization of an encoder's ONNX file to int8: weights only, or weights and activations with static calibration.

Scales are constants of the file and never computed from a batch, so that the variants are batch-invariant.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pipelines.models.backends import INT8, ONNX, model_inputs


def quantize(folder: Path, file: str, texts: Sequence[Sequence[int]]) -> None:
    """Write a quantized model beside the fp32 model of `folder`.

    Args:
        folder: holds the fp32 model.
        file: which to write: INT8 (static) or INT8_WEIGHTS (weights only).
        texts: token ids of the texts to calibrate with; used for INT8 only.
    """
    import onnx

    logging.getLogger().addFilter(_no_preprocessing_advice)  # onnxruntime advises steps that the exporter has done
    logging.disable(logging.INFO)  # onnxruntime logs every node of the graph
    try:
        model = onnx.load(str(folder / ONNX))
        del model.graph.value_info[:]  # the exporter's shapes of intermediate values contradict quantized ones
        if file == INT8:
            _quantize_static(model, folder / file, texts)
        else:
            _quantize_weights(model, folder / file)
    finally:
        logging.disable(logging.NOTSET)
        logging.getLogger().removeFilter(_no_preprocessing_advice)


def _no_preprocessing_advice(record: logging.LogRecord) -> bool:
    return "pre-processing before quantization" not in record.getMessage()


def _quantize_weights(model: Any, target: Path) -> None:
    """Blocks of 128 weights share a scale; arithmetic stays fp32 (`MatMulNBits` of onnxruntime)."""
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    config = DefaultWeightOnlyQuantConfig(block_size=128, is_symmetric=True, bits=8)
    quantizer = MatMulNBitsQuantizer(model, algo_config=config)
    quantizer.process()
    quantizer.model.save_model_to_file(str(target), False)


def _quantize_static(model: Any, target: Path, texts: Sequence[Sequence[int]]) -> None:
    """Products with weights in u8·s8, with a scale for each output channel and activation ranges calibrated on the texts.

    In fp32 remain: attention's own products, softmax, normalization, and the product after GELU, whose few huge
    activations leave no precision for the others (quantizing it costs 4 % of nDCG@10).
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Texts(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is not followed by mypy
        """One text at a time, so that no padding is needed."""

        def __init__(self) -> None:
            names = {tensor.name for tensor in model.graph.input}
            self.batches = (model_inputs(np.array([ids], np.int64), names) for ids in texts)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.batches, None)

    with TemporaryDirectory() as scratch:
        source = Path(scratch) / ONNX
        onnx.save(model, str(source))
        quantize_static(
            source,
            target,
            Texts(),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=_matmuls_to_quantize(model),
            extra_options={"WeightSymmetric": True},
        )


def _matmuls_to_quantize(model: Any) -> list[str]:
    """Names of the products with weights, without those whose input comes from GELU."""
    weights = {tensor.name for tensor in model.graph.initializer}
    gelu_outputs = {output for node in model.graph.node if node.op_type == "Gelu" for output in node.output}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in weights and node.input[0] not in gelu_outputs
    ]
