"""What an engine is: a network ready to run on one device, in one precision, for volumes of one shape."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

INPUT, OUTPUT = "volume", "result"
DTYPE = torch.float32  # at the port; inside, an engine computes in its precision


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """A tensor that an engine takes or gives: float32 (batch, *`shape`), from `batch[0]` to `batch[1]` items."""

    name: str
    shape: tuple[int, ...]
    batch: tuple[int, int] = (1, 1)

    def __str__(self) -> str:
        fewest, most = self.batch
        items = f"{fewest}" if fewest == most else f"{fewest}..{most}"
        return f"{_dtype(DTYPE)} ({', '.join([items, *map(str, self.shape)])})"

    def require(self, tensor: Tensor, device: torch.device) -> None:
        """Raise ValueError where `tensor` is not this on `device`."""
        fewest, most = self.batch
        fits = tensor.dim() == len(self.shape) + 1 and tuple(tensor.shape[1:]) == self.shape
        if not (fits and fewest <= len(tensor) <= most and tensor.dtype == DTYPE and tensor.device.type == device.type):
            got = f"{_dtype(tensor.dtype)} {tuple(tensor.shape)} on {tensor.device.type}"
            raise ValueError(f"{self.name}: got {got}, expected {self} on {device.type}")


class Engine(Protocol):
    """A network that runs. Safe in streaming: several threads may call one engine, and many may live at once."""

    @property
    def device(self) -> torch.device:
        """Where it runs, and where what it takes and gives lies."""
        ...

    @property
    def takes(self) -> TensorSpec:
        """What `run` takes."""
        ...

    @property
    def gives(self) -> TensorSpec:
        """What `run` gives."""
        ...

    def run(self, volumes: Tensor) -> Tensor:
        """Return the network's result for `volumes` as a new tensor on the same device.

        On CUDA the work is queued on the caller's current stream. The same input gives the same bits again. Raises
        ValueError that names got and expected where shape, dtype or device is wrong.
        """
        ...

    def describe(self) -> Mapping[str, str]:
        """Return what a log should hold: backend, device, precision, versions."""
        ...


def specs(module: nn.Module, shape: tuple[int, ...], batch: tuple[int, int]) -> tuple[TensorSpec, TensorSpec]:
    """Return what an engine of `module` takes and gives for items of `shape`; nothing is computed."""
    if not 1 <= batch[0] <= batch[1]:
        raise ValueError(f"batches of {batch[0]} to {batch[1]}: expected 1 or more, and the smaller first")
    given = copy.deepcopy(module).to("meta")(torch.empty((batch[1], *shape), device="meta"))
    takes = TensorSpec(name=INPUT, shape=tuple(shape), batch=batch)
    return takes, TensorSpec(name=OUTPUT, shape=tuple(given.shape[1:]), batch=batch)


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
