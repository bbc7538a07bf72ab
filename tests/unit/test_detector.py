"""Simulated detectors: statistics of counts, faults where they are announced, gaps of real layouts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.layouts import LAYOUTS, layout
from models.simulate.detector import (
    Faults,
    expose,
    perfect_detector,
    random_detectors,
    random_gaps,
    random_masks,
    random_streaks,
    saturated,
)
from models.simulate.draws import seeded

QUIET = Faults(dead=(9, 9), hot=(7, 7), background_counts=(0.01, 0.01), streak_chance=0.0, saturation_chance=0.0)


def test_counts_are_poisson_and_a_perfect_detector_only_counts() -> None:
    counts = expose(seeded(0), torch.full((1, 400, 20, 20), 7.5), perfect_detector((20, 20)))
    assert counts.dtype == torch.float32
    assert float(counts.mean()) == pytest.approx(7.5, rel=0.01)
    assert float(counts.var()) == pytest.approx(7.5, rel=0.02)


def test_faults_are_where_the_detector_says() -> None:
    gaps = torch.zeros((2, 40, 50), dtype=torch.bool)
    gaps[:, 10:13] = True
    gaps[:, :, 30:32] = True
    detector = random_detectors(seeded(0), gaps, QUIET, torch.full((2,), 200.0))
    counts = expose(seeded(1), torch.full((2, 64, 40, 50), 200.0), detector)
    announced, hot = detector.announced_mask, detector.announced_mask & ~detector.true_mask
    assert torch.all((~announced).sum((1, 2)) == 3 * 50 + 2 * 40 - 6 + 9)
    assert torch.all(hot.sum((1, 2)) == 7)
    assert not counts.permute(0, 2, 3, 1)[~announced].any()
    assert not saturated(counts, detector).any()
    levels = counts.mean(1)
    assert levels[hot].min() > levels[detector.true_mask].mean() + 3


def test_a_counter_stops_at_its_level_and_the_voxels_are_known() -> None:
    faults = Faults(saturation_chance=1.0, saturation_share=(0.5, 0.5), hot=(0, 0), dead=(0, 0))
    gaps = torch.zeros((1, 8, 8), dtype=torch.bool)
    detector = random_detectors(seeded(0), gaps, faults, torch.tensor([100.0]))
    counts = expose(seeded(0), torch.full((1, 4, 8, 8), 200.0), detector)
    assert torch.all(counts == 50.0)
    assert saturated(counts, detector).all()


def test_more_faults_than_pixels_are_refused() -> None:
    gaps = torch.zeros((1, 4, 4), dtype=torch.bool)
    with pytest.raises(ValueError, match="do not fit"):
        random_detectors(seeded(0), gaps, Faults(dead=(10, 10), hot=(7, 7)), torch.ones(1))


@pytest.mark.parametrize("name", LAYOUTS)
def test_gaps_of_a_layout_cross_the_crop_as_wide_as_they_are(name: str) -> None:
    chips = layout(name)
    edge = 8 * max(chips.gap)
    crossed = random_gaps(seeded(0), [chips] * 16, (edge, edge), chance=1.0)
    rows, columns = crossed.all(2).sum(1), crossed.all(1).sum(1)
    assert torch.all(rows > 0)
    assert torch.all(columns > 0)
    assert int(rows.max()) == chips.gap[0] + 2 * chips.enlarged
    assert int(columns.max()) == chips.gap[1] + 2 * chips.enlarged
    assert not random_gaps(seeded(0), [chips] * 4, (edge, edge), chance=0.0).any()


def test_a_gap_that_would_leave_no_pattern_is_avoided() -> None:
    gaps = random_gaps(seeded(0), [layout("eiger2")] * 8, (32, 64), chance=1.0)
    assert not gaps.all(2).any()
    assert gaps.all(1).any()


def test_streaks_are_bright_along_a_line_and_fade() -> None:
    streaks = random_streaks(seeded(0), 6, (48, 48))
    assert streaks.max() <= 1.0
    assert torch.all(streaks.amax((1, 2)) > 0.3)
    assert torch.all(streaks.median(2).values.median(1).values < 0.05)


def test_masks_are_boxes_of_a_part() -> None:
    masks = random_masks(seeded(0), 20, (32, 32, 32))
    hidden = 1.0 - masks.float().mean((1, 2, 3))
    assert 0.0 < hidden.mean() < 0.1
    assert np.count_nonzero(hidden.numpy() == 0) < 10
