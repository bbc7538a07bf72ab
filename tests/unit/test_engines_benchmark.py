"""What the benchmark of engines computes itself: operations, bytes, limits, table and plot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import engines


def test_operations_and_bytes_of_one_layer() -> None:
    layer, volumes = nn.Sequential(nn.Conv3d(2, 4, 3, padding=1, bias=False)), torch.zeros(3, 2, 8, 8, 8)
    voxels = 3 * 8**3
    operations, moved = engines.work_of(layer, volumes, 2)
    assert operations == 2 * voxels * 2 * 4 * 27
    assert moved == 2 * (voxels * (2 + 4) + 2 * 4 * 27)


@pytest.mark.parametrize(("bytes_per_s", "binds"), [(1.0, "bandwidth"), (1e12, "arithmetic")])
def test_the_slower_of_the_two_binds(bytes_per_s: float, binds: str) -> None:
    layer, volumes = nn.Sequential(nn.Conv3d(1, 1, 1, bias=False)), torch.zeros(1, 1, 2, 2, 2)
    found = engines.limit(layer, volumes, "fp32", {"fp32": 16.0, "bytes_per_s": bytes_per_s})
    assert found["binds"] == binds
    assert found["limit_ms"] == pytest.approx(1e3 if binds == "arithmetic" else 1e3 * 68 / bytes_per_s)


def test_tf32_is_off_within_and_as_it_was_after() -> None:
    before = torch.backends.cudnn.allow_tf32
    assert engines.without_tf32(lambda: torch.backends.cudnn.allow_tf32)() is False
    assert torch.backends.cudnn.allow_tf32 is before


def test_it_runs_and_draws(tmp_path: Path) -> None:
    assert engines.main(["--edge", "16", "--rounds", "1", "--json", str(tmp_path / "engines.json")]) == 0
    found = json.loads((tmp_path / "engines.json").read_text())
    assert {row["name"] for row in found["rows"]} == {"eager", "torch"}
    assert all(row["relative_error"] < 3e-2 and row["limit_ms"] > 0.0 for row in found["rows"])
    assert (tmp_path / "engines.png").stat().st_size > 0
