"""A real training run, killed at random moments, goes on and ends as one that was not."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.cards import read_card
from models.training.curve import read_curve
from models.training.run import CURVE
from tests.helpers.training import LOG, train_with_kills

MINUTES = 0.1


@pytest.mark.slow
def test_killed_training_goes_on(tmp_path: Path) -> None:
    options = ["--minutes", str(MINUTES), "--edge", "16", "--batch", "1", "--checkpoint", "0.5"]
    kills = train_with_kills(tmp_path, 2, seed=0, latest_s=2.0, options=options)
    assert [kill.fault for kill in kills] == ["", ""]
    card, points = read_card(tmp_path / "denoise"), read_curve(tmp_path / "denoise" / CURVE)
    assert card.steps == points[-1].step > kills[-1].checkpoint_step > 0
    assert MINUTES <= card.minutes < 2 * MINUTES
    log = (tmp_path / LOG).read_text()
    assert "not tested on relaxed atoms: `python -m models.simulate.atoms.catalogue FILE`" in log
    assert "fp32 on cpu" in log or "fp32 (on a CPU the gradients of 2^3 voxels" in log
    used_s = [point.used_s for point in points]
    assert used_s == sorted(used_s)
