"""The harness trains in bf16 on CUDA, simulates there, and goes on from its checkpoint."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from models.cards import read_card
from models.training.curve import read_curve
from models.training.run import CURVE, Plan, Run
from tests.helpers.training import TINY

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]


def test_run_on_cuda_goes_on_and_ends(tmp_path: Path) -> None:
    steps = 0
    for minutes in (0.05, 0.1):
        plan = Plan(folder=tmp_path, minutes=minutes, device="cuda", validation_volumes=2, test_volumes=2)
        run = Run(TINY, plan)
        assert run.precision == "bf16"
        if steps:
            run.resume()
            assert run.step == steps
        run.train(lambda said, share: None)
        assert run.step > steps
        steps = run.step
    card, points = read_card(tmp_path), read_curve(tmp_path / CURVE)
    assert card.device.startswith("cuda, ")
    assert all(math.isfinite(point.loss) for point in points)
    assert points[-1].step == card.steps
