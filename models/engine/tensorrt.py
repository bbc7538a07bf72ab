"""The engine that runs networks with TensorRT, on CUDA; built engines are kept in a folder."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.engine import tensorrt_build
from models.engine.export import onnx_model
from models.engine.graphs import CudaGraphs
from models.engine.port import DTYPE, INPUT, OUTPUT, TensorSpec, specs
from models.engine.precision import Wanted, chosen_precision, require_cuda

SUFFIX = ".engine"
LONGEST = 300  # characters of a reason that an error quotes: torch adds a page on how to debug


class TensorRTEngine:
    """`module` as a TensorRT engine in CUDA graphs. See models.engine.port.Engine."""

    def __init__(
        self,
        module: nn.Module,
        shape: tuple[int, ...],
        *,
        batch: tuple[int, int] = (1, 1),
        precision: Wanted = "auto",
        cache: Path,
    ) -> None:
        """Take `module` for items of `shape`, `batch[0]` to `batch[1]` at once; build it unless `cache` holds it.

        Raises ValueError where there is no GPU or no TensorRT, or where this TensorRT does not run on this GPU.
        """
        require_cuda()
        self.device = torch.device("cuda")
        self._precision = chosen_precision(precision, self.device)
        self.takes, self.gives = specs(module, shape, batch)
        model = onnx_model(module, self.takes.shape, batch=batch, precision=self._precision)
        self._path = built(model, self.takes, cache)
        self._engine = _loaded(self._path)
        self._contexts: dict[torch.Size, Any] = {}
        self._work = CudaGraphs(self._compute)

    def run(self, volumes: Tensor) -> Tensor:
        """See models.engine.port.Engine."""
        self.takes.require(volumes, self.device)
        try:
            with torch.inference_mode():  # also what the graphs keep from the first call on
                return self._work(volumes)
        except RuntimeError as error:
            raise first_cause(error) from error

    def describe(self) -> Mapping[str, str]:
        """See models.engine.port.Engine."""
        known = {"backend": "tensorrt", "device": "cuda", "precision": self._precision}
        where = {"gpu": torch.cuda.get_device_name(self.device), "tensorrt": tensorrt_build.version()}
        return known | where | {"file": str(self._path), "takes": str(self.takes), "gives": str(self.gives)}

    def _compute(self, volumes: Tensor) -> Tensor:
        context = self._context(volumes.shape)
        given = torch.empty((len(volumes), *self.gives.shape), dtype=DTYPE, device=self.device)
        context.set_tensor_address(INPUT, volumes.data_ptr())
        context.set_tensor_address(OUTPUT, given.data_ptr())
        if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            said = tensorrt_build.logger().quote()
            raise ValueError(f"{tensorrt_build.version()} failed: {said}; choose the torch backend")
        return given

    def _context(self, shape: torch.Size) -> Any:
        """Return the context of this shape: a recorded graph holds on to the one it was recorded with."""
        if shape not in self._contexts:
            context = _new_context(self._engine)
            context.set_input_shape(INPUT, tuple(shape))
            self._contexts[shape] = context
        return self._contexts[shape]


def built(model: bytes, takes: TensorSpec, cache: Path) -> Path:
    """Return the file of the engine of the ONNX `model` in the folder `cache`; build it where it is missing.

    Its name tells model, batches, GPU and version of TensorRT; it is whole or not there.
    """
    gpu = torch.cuda.get_device_name()
    parts = (_digest(model), "-".join(map(str, takes.batch)), gpu, tensorrt_build.version())
    path = cache / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', '__'.join(parts))}{SUFFIX}"
    if not path.exists():
        _write(path, tensorrt_build.build(model, takes))
    return path


def _digest(model: bytes) -> str:
    return hashlib.sha256(model).hexdigest()[:16]


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def _loaded(path: Path) -> Any:
    log = tensorrt_build.logger()
    log.said.clear()
    engine = tensorrt_build.library().Runtime(log).deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise ValueError(
            f"{tensorrt_build.version()} does not load {path} on {torch.cuda.get_device_name()}: {log.quote()};"
            " delete the file if it is damaged, or choose the torch backend"
        )
    return engine


def first_cause(error: BaseException) -> ValueError:
    """Return what to raise, in one line, for an `error` of a call.

    Where the recording of a graph breaks, torch ends it with an error of its own, in which the cause is hidden.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ValueError):
            return ValueError(str(cause))
        cause = cause.__context__
    said = " ".join(str(error).split())[:LONGEST]
    return ValueError(f"{tensorrt_build.version()} failed: {said}; choose the torch backend")


def _new_context(engine: Any) -> Any:
    strategy = getattr(tensorrt_build.library(), "DynamicShapesKernelSpecializationStrategy", None)
    if strategy is None:
        context = engine.create_execution_context()
    else:  # TensorRT for RTX compiles kernels when it meets a shape: before the first call, not while others use it
        configuration = engine.create_runtime_config()
        configuration.dynamic_shapes_kernel_specialization_strategy = strategy.EAGER
        context = engine.create_execution_context(configuration)
    if context is None:
        gpu, said = torch.cuda.get_device_name(), tensorrt_build.logger().quote()
        raise ValueError(f"{tensorrt_build.version()} does not run on {gpu}: {said}; choose the torch backend")
    return context
