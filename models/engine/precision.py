"""The arithmetic of an engine, and which device has it. What a device lacks is refused, never replaced."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["fp32", "bf16", "fp16"]
Wanted = Literal["auto", "fp32", "bf16", "fp16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Instructions that multiply such numbers, as Linux names them; without one, a CPU only emulates and is slower for it.
CPU_FLAGS = {"bf16": {"avx512_bf16", "amx_bf16", "bf16"}, "fp16": {"avx512_fp16", "amx_fp16"}}
CPU_INFO = Path("/proc/cpuinfo")
AMPERE, VOLTA = (8, 0), (7, 0)  # compute capabilities: the first with units for bf16, for fp16


class Precise(nn.Module):
    """`module` in eval mode and in a precision: float32 in and out, convolutions and products in `precision` between.

    torch's autocast decides which operations those are, as it did in training.
    """

    def __init__(self, module: nn.Module, precision: Precision) -> None:
        super().__init__()
        self.module = copy.deepcopy(module).requires_grad_(False)
        self.dtype = DTYPES[precision]
        self.eval()

    def forward(self, volumes: Tensor) -> Tensor:
        """See the class."""
        with torch.autocast(volumes.device.type, self.dtype, enabled=self.dtype != torch.float32, cache_enabled=False):
            given: Tensor = self.module(volumes)
        return given.float()


def precisions(device: torch.device) -> tuple[Precision, ...]:
    """Return what `device` computes in, the most precise first; raise ValueError where it is not there."""
    if device.type == "cuda":
        require_cuda()
        capability = torch.cuda.get_device_capability(device)
        has = {"bf16": capability >= AMPERE, "fp16": capability >= VOLTA}
    else:
        flags = _cpu_flags()
        has = {name: bool(known & flags) for name, known in CPU_FLAGS.items()}
    return tuple(name for name in DTYPES if has.get(name, True))


def chosen_precision(wanted: Wanted, device: torch.device) -> Precision:
    """Return `wanted`, or for "auto" bf16 where `device` has it and fp32 elsewhere.

    Raises ValueError where the device is not there or does not compute in `wanted`.
    """
    known = precisions(device)
    if wanted == "auto":
        return "bf16" if "bf16" in known else "fp32"
    if wanted not in known:
        raise ValueError(f"this {device.type} does not compute in {wanted}: choose {', '.join(known)} or auto")
    return wanted


def require_cuda() -> None:
    """Raise ValueError where there is no CUDA device."""
    if not torch.cuda.is_available():
        raise ValueError("PyTorch finds no CUDA device here: choose the torch backend on device cpu")


def _cpu_flags() -> set[str]:
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else []
    told = [line.partition(":")[2] for line in lines if line.startswith(("flags", "Features"))]
    return set(" ".join(told).split())
