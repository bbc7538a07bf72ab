"""The virtual beamline: a proper series, of the crystal that it says, obeying the goniometer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from models.bcdi.geometry import direct_basis, reciprocal_basis
from models.bcdi.preprocess import preprocess
from service.adapters.announced import Announced
from service.adapters.twin import NOMINAL_POSITIONS, TwinSource, nominal_geometry
from service.announcement import Announcement
from service.ports import EndOfStream
from service.records import Frame, Message, SeriesEnd, SeriesStart
from service.settings import TwinSettings

SMALL = TwinSettings(frames=32, rows=48, columns=56, peak_counts=1e4, seed=3)


def drain(source: TwinSource) -> list[Message]:
    messages: list[Message] = []
    while True:
        try:
            message = source.receive(0.0)
        except EndOfStream:
            return messages
        assert message is not None
        messages.append(message)


def volume(messages: list[Message]) -> np.ndarray:
    return np.stack([m.data["default"] for m in messages if isinstance(m, Frame)])


@pytest.fixture(scope="module")
def twin() -> TwinSource:
    return TwinSource(SMALL)


@pytest.fixture(scope="module")
def messages(twin: TwinSource) -> list[Message]:
    return drain(twin)


def test_a_series_is_a_start_its_frames_and_an_end(messages: list[Message]) -> None:
    start, *frames, end = messages
    assert isinstance(start, SeriesStart)
    assert isinstance(end, SeriesEnd)
    assert start.number_of_images == len(frames) == 32
    assert [frame.image_id for frame in frames if isinstance(frame, Frame)] == list(range(32))
    assert {m.series_unique_id for m in messages} == {start.series_unique_id}
    assert all(f.data["default"].dtype == start.dtype and f.data["default"].shape == start.shape for f in frames)
    assert start.user_data["positions"] == {k: v for k, v in NOMINAL_POSITIONS.items() if k != "theta"}
    assert start.header["incident_energy"] == 9000.0
    assert start.header["beam_center_x"] == 28.0
    angles = [frame.positions["theta"] for frame in frames]
    assert np.allclose(angles, nominal_geometry(SMALL).rocking_deg)


def test_series_follow_each_other_and_repeat_by_seed() -> None:
    first, second = (drain(TwinSource(SMALL, series=2)) for _ in range(2))
    assert np.array_equal(volume(first), volume(second))
    one, two = volume(first[:34]), volume(first[34:])
    assert not np.array_equal(one, two)
    assert [m.series_id for m in first] == [1] * 34 + [2] * 34
    assert len({m.series_unique_id for m in first + second}) == 4


def test_an_endless_twin_ends_when_it_is_closed() -> None:
    source = TwinSource(TwinSettings(frames=2, rows=16, columns=16), series=None)
    seen = [source.receive(0.0) for _ in range(4 * 5)]
    assert sum(isinstance(message, SeriesEnd) for message in seen) == 5
    source.close()
    source.close()
    with pytest.raises(EndOfStream):
        source.receive(0.0)


def test_counts_are_poisson_draws_of_the_true_object(twin: TwinSource, messages: list[Message]) -> None:
    truth = twin.truth()
    psi = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(truth.object_)))
    intensity = np.abs(psi) ** 2
    counts = volume(messages)
    good = np.broadcast_to(truth.mask, counts.shape)
    rate = intensity * (counts[good].sum() / intensity[good].sum())
    bright = good & (rate > 20)
    assert rate.max() == pytest.approx(1e4, rel=0.03)
    deviation = ((counts - rate) / np.sqrt(rate))[bright]
    assert np.mean(deviation) == pytest.approx(0.0, abs=0.1)
    assert np.var(deviation) == pytest.approx(1.0, abs=0.1)


def test_the_crystal_is_small_enough_strained_and_in_the_geometry_s_frame() -> None:
    for seed in range(2):
        truth = TwinSource(TwinSettings(seed=seed)).truth()
        inside = np.argwhere(np.abs(truth.object_) > 0.5)
        ratio = np.array(truth.object_.shape) / (np.ptp(inside, axis=0) + 1)
        assert np.all(ratio > 2.0)
        assert np.all(ratio < 6.0)
        assert 1.9 < np.ptp(np.angle(truth.object_[np.abs(truth.object_) > 0.5])) < 4.1
        basis = direct_basis(reciprocal_basis(truth.geometry, (32, 64, 64), (64, 128, 128)), (64, 128, 128))
        assert np.allclose(truth.basis_nm, basis)
        assert np.all((np.linalg.norm(basis, axis=0) > 8.0) & (np.linalg.norm(basis, axis=0) < 20.0))


def test_the_detector_announces_gaps_and_dead_pixels_but_hot_ones_must_be_found(
    twin: TwinSource, messages: list[Message]
) -> None:
    start = messages[0]
    assert isinstance(start, SeriesStart)
    announced = start.pixel_mask
    assert announced is not None
    counts = volume(messages).astype(np.float32)
    assert not counts[:, ~announced].any()
    truth = twin.truth()
    hot = announced & ~truth.mask
    assert np.count_nonzero(hot) == 12
    result = preprocess(counts, np.broadcast_to(announced, counts.shape))
    assert "hot pixels masked: 12" in result.notes
    assert np.allclose(result.peak_index, (16, 24, 28), atol=3.0)


def test_the_peak_is_weaker_off_its_angle_and_moves_with_the_detector(twin: TwinSource) -> None:
    centred = twin.expected_frame(NOMINAL_POSITIONS)
    for axis, move in (("theta", 0.1), ("phi", 0.2)):
        assert twin.expected_frame({axis: NOMINAL_POSITIONS[axis] + move}).sum() < 0.3 * centred.sum()
    px = np.rad2deg(55e-6 / 0.5)
    lower = twin.expected_frame({"gamma": NOMINAL_POSITIONS["gamma"] + 5 * px})
    peak, moved = (np.unravel_index(frame.argmax(), frame.shape) for frame in (centred, lower))
    assert abs(abs(moved[0] - peak[0]) - 5) <= 1
    assert abs(moved[1] - peak[1]) <= 1
    assert not twin.expected_frame({"delta": 50.0}).any()


def test_the_twin_obeys_the_goniometer_at_every_frame() -> None:
    here: dict[str, float] = {"theta": 0.2, "phi": -5.0}
    asked = 0

    def positions() -> Mapping[str, float]:
        nonlocal asked
        asked += 1
        return here

    source = TwinSource(SMALL, positions)
    start = source.receive(0.0)
    assert isinstance(start, SeriesStart)
    first = source.receive(0.0)
    here["theta"], here["chi"] = 0.5, 92.0
    second = source.receive(0.0)
    assert isinstance(first, Frame)
    assert isinstance(second, Frame)
    assert first.positions["theta"] == pytest.approx(0.2 - 16 * 0.013)
    assert second.positions["theta"] == pytest.approx(0.5 - 15 * 0.013)
    assert asked == 3
    dark = second.data["default"][source.truth().mask]
    assert dark.mean() < 0.05  # two degrees in chi: only the background is left


def test_an_axis_moved_before_the_series_is_told_in_its_start() -> None:
    source = TwinSource(SMALL, lambda: {"chi": 90.01})
    start = source.receive(0.0)
    assert isinstance(start, SeriesStart)
    assert start.user_data["positions"]["chi"] == 90.01


def test_a_twin_that_is_rocked_from_outside_shows_what_is_where_the_axis_stands() -> None:
    here = {"theta": 0.0}
    source = TwinSource(SMALL, lambda: dict(here), step_deg=0.0)
    source.receive(0.0)
    seen: list[Frame] = []
    for angle in (0.0, 0.05, -0.05):
        here["theta"] = angle
        frame = source.receive(0.0)
        assert isinstance(frame, Frame)
        seen.append(frame)
    assert [frame.positions for frame in seen] == [{"theta": 0.0}, {"theta": 0.05}, {"theta": -0.05}]
    middle, *off = (frame.data["default"].sum() for frame in seen)
    assert all(counts < 0.7 * middle for counts in off)


def test_what_is_announced_says_how_many_frames_and_how_long_they_are_exposed() -> None:
    plain = drain(TwinSource(SMALL))
    source = Announced(
        TwinSource(SMALL, series=2), Announcement(frames=33, count_time_s=0.1, title="ascan", positions={"chi": 1.0})
    )
    start, *frames = (source.receive(0.0) for _ in range(34))
    assert isinstance(start, SeriesStart)
    assert start.number_of_images == 33
    assert (start.header["count_time"], start.user_data["title"]) == (0.1, "ascan")
    assert start.user_data["positions"]["chi"] == 90.0, "the twin knows better"
    assert all(isinstance(frame, Frame) and frame.count_time_s == 0.1 for frame in frames)
    longer = np.stack([frame.data["default"] for frame in frames if isinstance(frame, Frame)])
    assert longer[:32].sum() == pytest.approx(10.0 * volume(plain).sum(), rel=0.01)
    assert isinstance(source.receive(0.0), SeriesEnd)
    later = source.receive(0.0)
    assert isinstance(later, SeriesStart)
    assert (later.number_of_images, later.header["count_time"], later.user_data["title"]) == (32, 0.01, "twin")
