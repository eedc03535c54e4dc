"""Quantization of a model's ONNX file to int8: weights only, or weights and activations with static calibration.

Scales are constants of the file and never computed from a batch, so that the variants are batch-invariant.
"""

import contextlib
import logging
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pipelines.errors import InputError
from pipelines.models.backends import INT8, NNCF_INT8, ONNX, Forward, Ids, Tokens, model_inputs, openvino_forward
from pipelines.settings import install_command

Agreement = Callable[[Forward], float]
"""How well a forward pass agrees with fp32's, from 0 to 1."""
RANKED = 50
"""Texts on which accuracy control compares which operations deviate most."""


def quantize(folder: Path, file: str, texts: Sequence[Tokens]) -> None:
    """Write a quantized model beside the fp32 model of `folder`.

    Args:
        folder: holds the fp32 model.
        file: which to write: INT8 and NNCF_INT8 (static) or INT8_WEIGHTS (weights only).
        texts: texts, or pairs of texts, to calibrate with; not used for INT8_WEIGHTS.

    Raises:
        InputError: what quantizes is not installed.
    """
    if file == NNCF_INT8:
        quantize_by_nncf(folder, texts)
        return
    import onnx

    with _quiet():
        model = onnx.load(str(folder / ONNX))
        del model.graph.value_info[:]  # the exporter's shapes of intermediate values contradict quantized ones
        if file == INT8:
            _quantize_static(model, folder / file, texts)
        else:
            _quantize_weights(model, folder / file)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the libraries log of every node of the graph."""
    logging.getLogger().addFilter(_no_preprocessing_advice)  # onnxruntime advises steps that the exporter has done
    logging.disable(logging.INFO)
    try:
        yield
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


def _quantize_static(model: Any, target: Path, texts: Sequence[Tokens]) -> None:
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
            self.batches = (_inputs(tokens, names) for tokens in texts)

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


def _inputs(tokens: Tokens, names: Collection[str]) -> dict[str, Ids]:
    """A batch of one text."""
    return model_inputs(np.array([tokens.ids], np.int64), names, np.array([tokens.types], np.int64))


def quantize_by_nncf(folder: Path, texts: Sequence[Tokens], agreement: Agreement | None = None, least: float = 0.0) -> bool:
    """Write NNCF_INT8, by NNCF's static post-training quantization for transformers.

    Where the int8 model agrees less with fp32 than it should, NNCF's accuracy control puts those operations back into floating
    point that cost most agreement, until it is reached.

    Args:
        folder: holds the fp32 model.
        texts: texts, or pairs of texts, to calibrate with.
        agreement: of a forward pass with fp32, on texts other than those that calibrate; none: not measured.
        least: agreement that is enough.

    Returns:
        Whether accuracy control was needed.

    Raises:
        InputError: NNCF or OpenVINO is not installed.
    """
    try:
        import nncf
        import openvino
    except ModuleNotFoundError as error:
        raise InputError(
            f"{NNCF_INT8}, without the module {error.name}",
            "NNCF and OpenVINO, which make it",
            f"run `{install_command('openvino')}`, or leave the variant out",
        ) from None
    nncf.set_log_level(logging.ERROR)
    core = openvino.Core()
    model = core.read_model(str(folder / ONNX))
    names = {tensor.get_any_name() for tensor in model.inputs}
    inputs = [_inputs(tokens, names) for tokens in texts]
    calibration = nncf.Dataset(inputs)
    options: dict[str, Any] = {"model_type": nncf.ModelType.TRANSFORMER, "subset_size": len(texts)}

    def validate(compiled: Any, _items: object = None) -> tuple[float, None]:
        return (agreement(openvino_forward(compiled)) if agreement else 1.0), None

    with _quiet(), contextlib.redirect_stdout(sys.stderr):  # stdout carries the step's result alone
        quantized = nncf.quantize(model, calibration, **options)
        controlled = not validate(core.compile_model(quantized, "CPU"))[0] >= least
        if controlled:
            quantized = nncf.quantize_with_accuracy_control(
                model, calibration, nncf.Dataset(inputs[:RANKED]), validate, max_drop=1 - least, **options
            )
    openvino.save_model(quantized, str(folder / NNCF_INT8), compress_to_fp16=False)
    return controlled
