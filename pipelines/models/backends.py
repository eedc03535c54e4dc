"""The variants of a model (backend × numeric format), and one function for each backend that loads them.

One table for encoders, which make a vector of a text, and for rerankers, which make a score of a pair of texts.

A backend's library is imported when one of its variants is loaded, so the server needs ONNX Runtime alone.
"""

import contextlib
import functools
import importlib.util
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipelines.errors import InputError
from pipelines.settings import CPU_FEATURES, thread_limit

Vectors = NDArray[np.float32]
Ids = NDArray[np.int64]
Files = Callable[[str], Path]
"""The path of a model's file by its name."""
ONNX, INT8, INT8_WEIGHTS, WEIGHTS = "model.onnx", "model.int8.onnx", "model.int8-weights.onnx", "model.safetensors"
NNCF_INT8 = "model.nncf-int8.xml"
"""A model of OpenVINO; its weights are the file of this name that ends in .bin."""
LOSSY = (INT8, INT8_WEIGHTS, NNCF_INT8)
"""Files whose weights differ from the original ones."""
LAYERS = "layers.safetensors"
"""The layers after pooling, where an encoder has some."""


class Forward(Protocol):
    """One forward pass over texts, or pairs of texts, of one length."""

    def __call__(self, ids: Ids, types: Ids | None = None, /) -> Vectors:
        """Token ids, int64 (texts, tokens), to unit vectors, float32 (texts, dimensions), or to scores, float32 (pairs, 1).

        `types` says of each token to which text of a pair it belongs, 0 or 1, in the shape of `ids`; none: all to one text.
        """


class Tokens(NamedTuple):
    """One text or pair of texts as a model reads it."""

    ids: Sequence[int]
    types: Sequence[int]
    """To which text of a pair each token belongs, 0 or 1."""


class Format(BaseModel):
    """A variant before it is measured: its model file, backend, precision and required CPU features."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    backend: Literal["onnxruntime", "openvino", "torch"] = "onnxruntime"
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="Precision of whatever the file does not quantize")
    requires: list[str] = Field([], description="CPU features without which it must not run, as Linux names them")


class Variant(Format):
    """A variant of one model, with its measured deviation from the original weights."""

    deviation: float = Field(ge=0, description="Largest absolute difference of a coordinate or score to the original in fp32")

    @property
    def exact(self) -> bool:
        """Whether its weights and its arithmetic are the original's."""
        return self.precision == "fp32" and self.file not in LOSSY


_FORMATS: Mapping[str, Format] = {
    "onnx-fp32": Format(file=ONNX),
    "onnx-int8": Format(file=INT8),
    "onnx-int8-weights": Format(file=INT8_WEIGHTS),
    "openvino-fp32": Format(file=ONNX, backend="openvino"),
    "openvino-bf16": Format(file=ONNX, backend="openvino", precision="bf16"),
    "openvino-int8": Format(file=INT8, backend="openvino"),
    "openvino-int8-nncf": Format(file=NNCF_INT8, backend="openvino"),
    "torch-fp32": Format(file=WEIGHTS, backend="torch"),
    "torch-bf16": Format(file=WEIGHTS, backend="torch", precision="bf16"),
    "torch-fp16": Format(file=WEIGHTS, backend="torch", precision="fp16"),
}
FORMATS: Mapping[str, Format] = {
    name: form.model_copy(update={"requires": list(CPU_FEATURES.get(name, ()))}) for name, form in _FORMATS.items()
}
"""The variants that an encoder or a reranker may have, by name."""


class Head(NamedTuple):
    """How token vectors become one, for torch: the ONNX files contain it."""

    pooling: str
    """Modes, joined by +."""
    layers: bool = False
    """Whether the encoder has a file LAYERS."""


def forward_of(variant: Format, files: Files, head: Head | None, threads: int) -> Forward:
    """Load a variant; returns its forward pass.

    Args:
        variant: what to load.
        files: gives the path of a model's file by its name.
        head: how an encoder's token vectors become one; none: a reranker. Only torch needs it.
        threads: of the backend; 0: as many as OMP_NUM_THREADS allows, without it one for each core.

    Raises:
        InputError: the backend's library is not installed, or this CPU lacks a required feature.
    """
    missing = sorted(set(variant.requires) - cpu_features())
    if missing:
        raise InputError(
            f"{variant.file} by {variant.backend} on a CPU without {', '.join(missing)}",
            "a variant that this CPU can run",
            "run it on a node that has them, or choose another variant",
        )
    try:
        return BACKENDS[variant.backend](variant, files, head, threads or thread_limit())
    except ModuleNotFoundError as error:
        raise InputError(
            f"a variant for {variant.backend}, without the module {error.name}",
            "the library that computes it",
            f"install {variant.backend}, or choose another variant",
        ) from None


def native_variants() -> list[str]:
    """The variants that this machine computes natively: bf16 by its CPU's instructions, all of torch on its GPU."""
    installed = {backend: importlib.util.find_spec(backend) is not None for backend in ("openvino", "torch")}
    cpu = [name for name in ("openvino-bf16",) if installed["openvino"] and set(FORMATS[name].requires) <= cpu_features()]
    return cpu + ([name for name in FORMATS if FORMATS[name].backend == "torch"] if installed["torch"] and has_gpu() else [])


def with_reference(variants: Sequence[str]) -> list[str]:
    """The variants to make: onnx-fp32, which the others are compared with, and those named; `native` and `all` are several.

    Raises:
        InputError: there is no such variant.
    """
    unknown = sorted(set(variants) - {*FORMATS, "native", "all"})
    if unknown:
        raise InputError(f"--variants {unknown[0]}", f"of {', '.join(FORMATS)}, native or all", "name some of these")
    wanted = {"onnx-fp32", *variants, *(native_variants() if "native" in variants else [])}
    wanted |= set(runnable_variants()) if "all" in variants else set()
    return [name for name in FORMATS if name in wanted]


def runnable_variants() -> list[str]:
    """The variants that this machine can run at all: its CPU has what they need, their library is installed; fp16 on a GPU.

    Static int8 of ONNX Runtime is left out: NNCF's takes its place.
    """
    installed = {backend: importlib.util.find_spec(backend) is not None for backend in BACKENDS}
    return [
        name
        for name, form in FORMATS.items()
        if installed[form.backend]
        and set(form.requires) <= cpu_features()
        and form.file != INT8
        and (form.file != NNCF_INT8 or importlib.util.find_spec("nncf") is not None)
        and (form.precision != "fp16" or has_gpu())
    ]


def has_gpu() -> bool:
    """Whether torch can compute on a GPU; it is not imported where there is no NVIDIA driver."""
    if not Path("/proc/driver/nvidia/version").exists():
        return False
    import torch

    return bool(torch.cuda.is_available())


def gpu() -> str:
    """The name of the GPU that torch computes on; empty: none, or no torch."""
    if importlib.util.find_spec("torch") is None or not has_gpu():
        return ""
    import torch

    return str(torch.cuda.get_device_name())


def library_versions() -> dict[str, str]:
    """The versions of the backends' libraries that are installed; they are not imported."""
    installed = [name for name in sorted(BACKENDS) if importlib.util.find_spec(name) is not None]
    versions = {}
    for name in installed:
        with contextlib.suppress(PackageNotFoundError):  # installed under another name
            versions[name] = version(name)
    return versions


@functools.cache
def cpu_features() -> frozenset[str]:
    """The CPU's feature flags as Linux names them; empty where /proc/cpuinfo does not exist."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


def _onnxruntime(variant: Format, files: Files, _head: Head | None, threads: int) -> Forward:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(files(variant.file)), options, providers=["CPUExecutionProvider"])
    names = {tensor.name for tensor in session.get_inputs()}

    def forward(ids: Ids, types: Ids | None = None) -> Vectors:
        return np.asarray(session.run(None, model_inputs(ids, names, types))[0], np.float32)

    return forward


def _openvino(variant: Format, files: Files, _head: Head | None, threads: int) -> Forward:
    """OpenVINO reads ONNX files and its own. Its CPU kernels are batch-invariant among texts of one length, in bf16 too."""
    import openvino

    hints: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}[variant.precision],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
    }
    core = openvino.Core()
    weights = [str(files(name)) for name in files_of(variant)[1:]]
    return openvino_forward(core.compile_model(core.read_model(str(files(variant.file)), *weights), "CPU", hints))


def openvino_forward(model: Any) -> Forward:
    """The forward pass of a model that OpenVINO compiled, with a request for each thread: one request serves one at a time."""
    names = {tensor.get_any_name() for tensor in model.inputs}
    requests = threading.local()

    def forward(ids: Ids, types: Ids | None = None) -> Vectors:
        if not hasattr(requests, "own"):
            requests.own = model.create_infer_request()
        answer = requests.own.infer(model_inputs(ids, names, types), share_inputs=True)
        return np.array(answer[0], np.float32)  # a copy: the next call reuses the output buffer

    return forward


def _torch(variant: Format, files: Files, head: Head | None, threads: int) -> Forward:
    """The original weights, on the GPU where there is one."""
    import torch

    from pipelines.models.torch_encoder import sentence_encoder
    from pipelines.models.torch_reranker import pair_scorer

    if threads:
        torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with TemporaryDirectory() as folder:
        for name in ("config.json", WEIGHTS):
            (Path(folder) / name).symlink_to(files(name).absolute())
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[variant.precision]
        if head is None:
            network = pair_scorer(Path(folder)).to(device, dtype)
        else:
            layers = files(LAYERS) if head.layers else None
            network = sentence_encoder(Path(folder), head.pooling, layers).to(device, dtype)
            network.head.float()

    def forward(ids: Ids, types: Ids | None = None) -> Vectors:
        token_types = np.zeros_like(ids) if types is None else types
        with torch.inference_mode():
            inputs = (torch.from_numpy(array).to(device) for array in (ids, np.ones_like(ids), token_types))
            return np.asarray(network(*inputs).float().cpu().numpy(), np.float32)

    return forward


BACKENDS: Mapping[str, Callable[[Format, Files, Head | None, int], Forward]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "torch": _torch,
}


def files_of(variant: Format) -> list[str]:
    """The model files of a variant, the graph first.

    >>> files_of(FORMATS["openvino-int8-nncf"]), files_of(FORMATS["onnx-fp32"])
    (['model.nncf-int8.xml', 'model.nncf-int8.bin'], ['model.onnx'])
    """
    return [variant.file, *([variant.file.removesuffix("xml") + "bin"] if variant.file.endswith(".xml") else [])]


def model_inputs(ids: Ids, names: Collection[str], types: Ids | None = None) -> dict[str, Ids]:
    """Ids, attention mask and token types, each int64 (texts, tokens): those of them that a BERT-like ONNX model has as inputs.

    >>> list(model_inputs(np.array([[101, 102]]), {"input_ids", "attention_mask"}))
    ['input_ids', 'attention_mask']
    """
    token_types = np.zeros_like(ids) if types is None else types
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": token_types}
    return {name: array for name, array in inputs.items() if name in names}
