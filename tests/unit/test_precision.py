"""The arithmetic of engines: which a device has, what it costs in accuracy, and that nothing else is taken instead."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.engine import precision
from models.engine.measure import relative_error
from models.engine.precision import Precise, Precision, chosen_precision, precisions
from models.engine.torch import TorchEngine
from tests.helpers.networks import SHAPE, small_unet

CPU = torch.device("cpu")
NEW, OLD = "flags\t\t: fpu avx512f avx512_bf16 amx_tile", "flags\t\t: fpu avx2"
ARM = "Features\t: fp asimd bf16"


def cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor\t: 0\n{told}\n\nprocessor\t: 1\n{told}\n")
    monkeypatch.setattr(precision, "CPU_INFO", file)


@pytest.mark.parametrize(
    ("told", "known"),
    [
        (OLD, ("fp32",)),
        (NEW, ("fp32", "bf16")),
        (ARM, ("fp32", "bf16")),
        ("flags : amx_bf16 avx512_fp16", ("fp32", "bf16", "fp16")),
    ],
)
def test_a_cpu_has_what_its_flags_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, known: tuple[str, ...]
) -> None:
    cpu(tmp_path, monkeypatch, told)
    assert precisions(CPU) == known


def test_auto_is_bfloat16_where_there_is_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu(tmp_path, monkeypatch, NEW)
    assert chosen_precision("auto", CPU) == "bf16"
    cpu(tmp_path, monkeypatch, OLD)
    assert chosen_precision("auto", CPU) == "fp32"


def test_what_a_cpu_lacks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu(tmp_path, monkeypatch, OLD)
    assert chosen_precision("fp32", CPU) == "fp32"
    with pytest.raises(ValueError, match="this cpu does not compute in bf16: choose fp32 or auto"):
        chosen_precision("bf16", CPU)


def test_without_a_gpu_cuda_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device on this machine")
    with pytest.raises(ValueError, match="PyTorch finds no CUDA device here: choose the torch backend on device cpu"):
        chosen_precision("auto", torch.device("cuda"))


def test_the_engine_in_bfloat16_is_near_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu(tmp_path, monkeypatch, NEW)
    engine = TorchEngine(small_unet(), SHAPE, precision="bf16")
    volumes = torch.randn(1, *SHAPE)
    assert engine.describe()["precision"] == "bf16"
    assert relative_error(engine.run(volumes), small_unet()(volumes)) < 2e-2


def test_threads_are_set_for_the_process() -> None:
    before = torch.get_num_threads()
    try:
        assert TorchEngine(small_unet(), SHAPE, precision="fp32", threads=1).describe()["threads"] == "1"
        assert torch.get_num_threads() == 1
        TorchEngine(small_unet(), SHAPE, precision="fp32")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("name", "least", "most"), [("fp32", 0.0, 0.0), ("bf16", 1e-4, 2e-2), ("fp16", 1e-5, 3e-3)])
def test_a_lower_precision_costs_what_its_bits_say(name: Precision, least: float, most: float) -> None:
    """Emulated where the CPU lacks it: the numbers are the same, only slower."""
    volumes = torch.randn(2, *SHAPE)
    result = Precise(small_unet(), name)(volumes)
    assert result.dtype == torch.float32
    assert least <= relative_error(result, small_unet()(volumes)) <= most
