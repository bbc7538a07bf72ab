"""A torch module as an ONNX file: opset 18, float32 at the port, batches of bounded size."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from models.engine.layers import Float32, exchange, transposed
from models.engine.port import INPUT, OUTPUT
from models.engine.precision import Precise, Precision

OPSET = 18  # the one that torch's exporter writes without converting
NEEDS = ("onnx", "onnxscript")


def onnx_model(
    module: nn.Module, shape: tuple[int, ...], *, batch: tuple[int, int] = (1, 1), precision: Precision = "fp32"
) -> bytes:
    """Return `module` as a serialized ONNX model with one input `volume` and one output `result`.

    Both float32 (batch, ...), from `batch[0]` to `batch[1]` items of `shape` (channels, z, y, x); the casts to
    `precision` are in the model. The same module gives the same bytes. Raises ValueError where a package is missing.
    """
    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        raise ValueError(f"exporting to ONNX needs {' and '.join(missing)}: pip install 'braggloop[tensorrt]'")
    network = Precise(module, precision).cpu()
    if precision == "bf16":
        exchange(network, transposed, Float32)  # TensorRT for RTX (1.7) has no bfloat16 ones
    with _quiet():
        program = torch.onnx.export(
            network,
            (torch.zeros(batch[1], *shape),),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=_dynamic(batch),
            verbose=False,
        )
    assert program is not None  # it is with dynamo
    return _without_origin(program.model_proto)


def _dynamic(batch: tuple[int, int]) -> Any:
    fewest, most = batch
    return None if fewest == most else ({0: torch.export.Dim("batch", min=fewest, max=most)},)


def _without_origin(model: Any) -> bytes:
    """Serialize without the notes on which line of source each node comes from: engines are cached by these bytes."""
    graph = model.graph
    for noted in (*graph.node, *graph.input, *graph.output, *graph.value_info):
        del noted.metadata_props[:]
    return bytes(model.SerializeToString(deterministic=True))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter says about torch's own deprecations and about packages it does not need to itself."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
