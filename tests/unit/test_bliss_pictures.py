"""Pictures of a crystal and of an alignment, as a session makes them from what the devices show."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from deploy.bliss.braggloop_bliss.pictures import (
    ALIGNMENT,
    CRYSTAL,
    DOUBTFUL,
    GOOD,
    crystal_pictures,
    path_picture,
)
from service.devices.alignment_status import AlignmentStatus
from service.devices.monitor_status import MonitorStatus
from tango_devices.attributes import shown


def as_tango_shows(status: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Attribute -> value; an empty spectrum is None there."""
    values = {item.name: getattr(status, item.field) for item in shown(type(status))}
    return {name: None if isinstance(values[name], tuple) and not values[name] else values[name] for name in names}


def crystal(tilt_rad: float = 0.5, **changes: Any) -> dict[str, Any]:
    """A disc on a grid of 40 by 30, whose phase rises along its columns, with wild voxels on its surface."""
    rows, columns = np.mgrid[-20:20, -15:15]
    inside = np.hypot(rows, columns) < 8
    surface = inside & ~ndimage.binary_erosion(inside)
    phase = np.where(surface, 3.0, tilt_rad * columns / 8)
    fields = {
        "amplitude": np.where(inside, 0.9, 0.0),
        "phase": np.where(inside, phase, np.nan),
        "strain": np.where(inside, np.where(surface, 0.1, 1e-4 * columns / 8), np.nan),
    }
    status = MonitorStatus(
        sequence=1, series_id=7, series_unique_id="a", series_status="done", r_factor=0.1234, resolution_nm=12.3,
        strain_rms=1.5e-4, voxel_nm=5.0, tier="search", latency_s=2.0, peak_counts=500.0, flux_counts=1e4,
        measured=np.array([[1.0, 500.0], [np.nan, 0.0]], np.float32),
        **{name: field.astype(np.float32) for name, field in fields.items()}, **changes,
    )  # fmt: skip
    return as_tango_shows(status, CRYSTAL)


def test_before_the_first_result_there_are_empty_pictures() -> None:
    pictures = crystal_pictures(as_tango_shows(MonitorStatus(), CRYSTAL))
    assert [picture.key for picture in pictures] == ["amplitude", "phase", "strain", "measured", "repaired"]
    assert pictures[0].title == "no result yet\namplitude"
    assert path_picture(as_tango_shows(AlignmentStatus(), ALIGNMENT)).title.startswith("nothing was aligned yet")


def test_slices_are_cut_around_the_crystal_and_lie_in_nm_about_the_middle() -> None:
    amplitude, phase, _, measured, repaired = crystal_pictures(crystal())
    assert amplitude.title == "series 7 done: R 0.123, 12.3 nm\namplitude"
    assert phase.title == "search, 2 s after the last frame\nphase"
    assert max(amplitude.data.shape) < 40
    assert amplitude.data.shape == phase.data.shape
    rows, columns = (np.flatnonzero(np.isfinite(phase.data).any(axis)) for axis in (1, 0))
    for places, corner in ((columns, phase.origin[0]), (rows, phase.origin[1])):
        middle_nm = corner + (places.mean() + 0.5) * phase.pixel
        assert middle_nm == pytest.approx(0.0, abs=phase.pixel)
    assert (measured.low, measured.high) == (repaired.low, repaired.high)
    assert measured.high == 500.0
    assert repaired.title.startswith("no network was asked")


def test_colours_are_symmetric_and_the_surface_does_not_choose_them() -> None:
    _, phase, strain, *_ = crystal_pictures(crystal())
    assert phase.high == -phase.low
    assert 0.2 < phase.high < 0.5
    assert strain.high == -strain.low
    assert 0.5 < strain.high < 1.0, "in 1e-4"


def test_a_phase_that_may_wrap_has_cyclic_colours() -> None:
    phase = crystal_pictures(crystal(tilt_rad=3.0))[1]
    assert (phase.lut, phase.low, phase.high) == ("twilight", -math.pi, math.pi)


def test_doubt_and_defects_are_seen() -> None:
    lines = np.zeros((40, 30), np.float32)
    lines[20, 15] = 1
    doubtful = crystal_pictures(
        crystal(doubt="noise", defect_class="screw", defect_probability=0.9, defect_lines=lines)
    )
    assert doubtful[0].title.startswith("series 7 DOUBTFUL")
    assert doubtful[0].ink == DOUBTFUL
    assert doubtful[3].ink == GOOD
    assert doubtful[1].title.startswith("screw, probability 0.90")
    assert doubtful[1].lines is not None
    assert doubtful[1].lines.sum() == 1
    assert np.isfinite(doubtful[1].data[doubtful[1].lines]).all()


def alignment(axes: tuple[str, ...], **changes: Any) -> dict[str, Any]:
    points = np.array([[0.1 * n, 90.0 + n, 10.0**n][-len(axes) - 1 :] for n in range(4)], np.float32)
    status = AlignmentStatus(
        axes=axes, points=points, exposures=4, outcome="aligned", method="peak", best_value=1000.0, **changes
    )
    return as_tango_shows(status, ALIGNMENT)


def test_the_way_is_shown_over_two_axes_with_start_and_best() -> None:
    read = alignment(("theta", "chi"), best=(0.3, 93.0), start_point=(0.0, 90.0))
    path = path_picture(read)
    assert path.labels == ("theta", "chi")
    assert path.title == "aligned, 4 exposures, most 1000\nbest theta 0.3, chi 93"
    np.testing.assert_allclose(path.curves["way"].y, [90, 91, 92, 93])
    assert (path.curves["best"].x[0], path.curves["start"].y[0]) == (0.3, 90.0)
    colours = path.curves["measured"].color
    assert colours.shape == (4, 4)
    assert colours[0].tolist() == [68, 1, 84, 255]
    assert colours[-1].tolist() == [253, 231, 37, 255]
    assert path_picture(read, ["chi", "theta"]).labels == ("chi", "theta")


def test_one_axis_is_shown_over_what_was_measured() -> None:
    path = path_picture(alignment(("chi",), best=(93.0,), start_point=(90.0,)))
    assert path.labels == ("chi", "measured")
    np.testing.assert_allclose(path.curves["way"].y, [1, 10, 100, 1000])
    assert "start" not in path.curves


def test_points_of_other_axes_than_those_that_are_named_are_not_shown() -> None:
    read = alignment(("theta", "chi"))
    assert path_picture({**read, "axes": ("x", "y", "eta")}).curves == {}
