"""How long an engine takes, and how far its results are from those of float32."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor


def relative_error(got: Tensor, expected: Tensor) -> float:
    """Return the root mean square of the difference as a share of that of `expected`; any shape, any device."""
    here, there = (tensor.detach().double().cpu() for tensor in (got, expected))
    return float((here - there).norm() / there.norm())


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Return how long one call of `work` takes until the device is done."""
    began_s = _now_s(device)
    work()
    return _now_s(device) - began_s


def _now_s(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
