"""ONNX to a serialized TensorRT engine, with TensorRT proper or TensorRT for RTX, whichever is installed."""

from __future__ import annotations

import functools
import importlib
import threading
from importlib.util import find_spec
from typing import Any

from models.engine.port import TensorSpec

# The names under which TensorRT comes; the last is TensorRT for RTX as its two wheels install it.
MODULES = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")
RTX_LIBRARIES = "tensorrt_rtx_libs"
SAID = 5  # of the lines that TensorRT logs, how many an error quotes
_building = threading.Lock()  # what is logged meanwhile belongs to one build


@functools.cache
def library() -> Any:
    """Return the Python module of TensorRT; raise ValueError where none is installed or it does not load."""
    name = next((name for name in MODULES if find_spec(name) is not None), None)
    if name is None:
        raise ValueError("TensorRT is not installed: pip install 'braggloop[tensorrt]', or choose the torch backend")
    try:
        if name != "tensorrt" and find_spec(RTX_LIBRARIES) is not None:
            _load_libraries()
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise ValueError(f"{name} does not load: {error}; install it again, or choose the torch backend") from error


def version() -> str:
    """Return name and version of TensorRT."""
    trt = library()
    return f"{trt.__name__.removesuffix('_bindings')} {trt.__version__}"


def build(onnx: bytes, takes: TensorSpec) -> bytes:
    """Return the serialized engine of an ONNX model for the batches of `takes`; needs no GPU with TensorRT for RTX.

    Each tensor has the type that the model gives it, and float32 is not TF32. Raises ValueError with what TensorRT
    says where it cannot read or build the model.
    """
    trt, log = library(), logger()
    with _building:
        log.said.clear()
        builder = trt.Builder(log)
        network = builder.create_network(_flags(trt))
        parser = trt.OnnxParser(network, log)
        if not parser.parse(onnx):
            raise ValueError(f"{version()} cannot read the model: {log.quote()}")
        serialized = builder.build_serialized_network(network, _configuration(builder, takes))
        if serialized is None:
            raise ValueError(f"{version()} cannot build the model: {log.quote()}")
        return bytes(serialized)


@functools.cache
def logger() -> Any:
    """Return the one logger that TensorRT wants in a process; it keeps warnings and errors until it is asked."""
    trt = library()

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.said: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.said.append(" ".join(text.split()))

        def quote(self) -> str:
            return "; ".join(self.said[:SAID]) or "it does not say why"

    return Logger()


def _load_libraries() -> None:
    """Load the two libraries of TensorRT for RTX, the parser after what it needs; their wheel tries any order."""
    import ctypes
    from pathlib import Path

    package = importlib.import_module(RTX_LIBRARIES)
    found = Path(str(package.__file__)).parent.glob("*.so*")
    for path in sorted(found, key=lambda path: "parser" in path.name):
        ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


def _flags(trt: Any) -> int:
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)  # later versions know no other kind
    return 0 if typed is None else 1 << int(typed)


def _configuration(builder: Any, takes: TensorSpec) -> Any:
    trt = library()
    configuration = builder.create_builder_config()
    configuration.clear_flag(trt.BuilderFlag.TF32)
    recordable = getattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION", None)  # TensorRT for RTX: may be a CUDA graph
    if recordable is not None:
        configuration.set_flag(recordable)
    fewest, most = ((items, *takes.shape) for items in takes.batch)
    profile = builder.create_optimization_profile()
    profile.set_shape(takes.name, fewest, most, most)
    configuration.add_optimization_profile(profile)
    return configuration
