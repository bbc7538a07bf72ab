"""What the benchmarks of phasing compute themselves: figures of a peer's object, verdict, simulated crystals, plots."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import agreement, phasing, thresholds
from tests.helpers.patterns import bright, gaps, pattern_of, poisson, strained_crystal, transform

TRUTH = bright(strained_crystal(24), 1e5)
PNG = b"\x89PNG"


def run(**changes: float) -> dict[str, float]:
    return {"seconds": 1.0, "chi": 0.01, "r_factor": 0.1, "free_log_likelihood": 2.0, "support": 100, **changes}


def test_an_object_without_kernel_is_judged_in_any_unit_by_the_voxels_that_were_seen() -> None:
    field = np.abs(transform(TRUTH))
    pattern = pattern_of(field**2, gaps(TRUTH.shape), held_out=0.1)
    exact = phasing.without_kernel(pattern, (7.0 * TRUTH).astype(np.complex64))
    assert exact.chi == pytest.approx(0.0, abs=1e-8)
    assert exact.free_log_likelihood == pytest.approx(0.0, abs=1e-3)
    noisy = phasing.without_kernel(pattern_of(poisson(field**2), held_out=0.1), TRUTH)
    assert noisy.free_log_likelihood == pytest.approx(1.0, abs=0.3)


def test_a_run_is_good_where_it_is_no_worse_than_the_median_of_the_peer() -> None:
    peer = [run(seconds=10.0, chi=chi) for chi in (0.005, 0.01, 0.02)]
    ours = [run(), run(chi=0.011), run(free_log_likelihood=2.1), run(support=111), run(seconds=3.0)]
    assert phasing.verdict(peer, ours) == {"good_runs": 2, "runs": 5, "share_of_seconds": 0.1}


def test_a_plot_of_phasing_shows_every_size(tmp_path: Path) -> None:
    found = {"8^3": {"runs": {name: [run()] for name in phasing.MARKERS}}}
    phasing.write_plot(found, {"8^3": {"limit_hz": 10.0, "ours_hz": 5.0, "share": 0.5}}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(PNG)


def test_a_plot_of_agreement_has_every_pair(tmp_path: Path) -> None:
    agreement.write_plot({"8^3": {"correlations": [0.9, 0.8, 0.7], "chi": [0.1] * 3}}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(PNG)
    np.testing.assert_array_equal(agreement._matrix([0.9, 0.8, 0.7], 3), [[1, 0.9, 0.8], [0.9, 1, 0.7], [0.8, 0.7, 1]])


@pytest.mark.parametrize("number", range(len(thresholds.CRYSTALS)))
def test_simulated_crystals_have_their_flux_their_gap_and_room_around_them(number: int) -> None:
    crystal = thresholds.CRYSTALS[number]
    found = thresholds.simulated(replace(crystal, gap=False), number)
    assert found.counts.sum() == pytest.approx(crystal.flux, rel=0.02)
    assert found.mask.all()
    held = thresholds.simulated(crystal, number)
    assert held.mask.all() == (not crystal.gap)
    assert not held.counts[~held.mask].any()
    extents = [np.ptp(index) + 1 for index in np.nonzero(found.inside)]
    assert max(extents) <= thresholds.EDGE / crystal.oversampling + 1


def test_supports_overlap_wherever_they_stand() -> None:
    inside = np.abs(strained_crystal(24)) >= 0.5
    assert thresholds.overlap(inside, np.roll(inside, (2, -1, 3), (0, 1, 2))) == 1.0
    half = inside & (np.arange(24) >= 12)
    assert thresholds.overlap(inside, half) == pytest.approx(half.sum() / inside.sum(), rel=0.25)


def test_the_plot_of_thresholds_marks_the_defaults(tmp_path: Path) -> None:
    shape = (len(thresholds.CRYSTALS), len(thresholds.SEARCH), len(thresholds.FINAL))
    thresholds.write_plot({name: np.ones(shape) for name in thresholds.FIGURES}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(PNG)
    row, column = thresholds.default_index()
    assert (thresholds.SEARCH[row], thresholds.FINAL[column]) == (0.25, 0.08)
