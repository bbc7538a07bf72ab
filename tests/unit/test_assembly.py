"""Series to volumes: order, accounting, masks, geometry, and what costs only itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import DataError, GeometryError, SeriesError, WireError
from service.records import Accounting, Frame, Message, Volume
from service.settings import Settings, parse_settings
from service.worker.assembly import Dropped, Event, SeriesAssembler, SeriesFailure
from tests.helpers.series import CHANNEL, FIXED_DEG, bragg_peak, end_of, frame_of, series_of, start_of

COUNTS = bragg_peak((6, 8, 10))
IMAGES = len(COUNTS)


def run(messages: list[Message], tree: dict[str, Any] | None = None) -> list[Event]:
    assembler = SeriesAssembler(parse_settings(tree or {}))
    return [event for message in messages for event in assembler.feed(message, 0.0)] + assembler.close("test")


def volume_of(messages: list[Message], tree: dict[str, Any] | None = None) -> Volume:
    volumes = [event for event in run(messages, tree) if isinstance(event, Volume)]
    assert len(volumes) == 1
    return volumes[0]


def failure_of(messages: list[Message], tree: dict[str, Any] | None = None) -> SeriesFailure:
    failures = [event for event in run(messages, tree) if isinstance(event, SeriesFailure)]
    assert len(failures) == 1
    return failures[0]


def frames_with(**changes: Any) -> list[Message]:
    return [frame_of(COUNTS, index, **changes) for index in range(IMAGES)]


def told(sent: int = IMAGES, received: int = IMAGES, **others: int) -> Accounting:
    return Accounting(**({"sent": sent, "received": received, "missed": 0, "rejected": 0, "duplicates": 0} | others))


class TestWholeSeries:
    def test_in_order(self) -> None:
        volume = volume_of(series_of(COUNTS))
        np.testing.assert_array_equal(volume.counts, COUNTS)
        assert (volume.counts.dtype, volume.mask.dtype, volume.scale.dtype) == (np.float32, np.bool_, np.float32)
        assert volume.mask.all()
        assert (volume.scale == 1).all()
        assert volume.accounting == told()
        assert volume.metadata["closed_by"] == "last image"
        geometry = volume.geometry
        assert (geometry.instrument, geometry.energy_kev, geometry.distance_m) == ("34-ID-C", 9.0, 0.5)
        assert (geometry.rocking_axis, dict(geometry.angles_deg)) == ("theta", FIXED_DEG)
        assert geometry.pixel_size_m == (55e-6, 55e-6)
        np.testing.assert_allclose(geometry.rocking_deg, 0.2 + 0.005 * np.arange(IMAGES), atol=1e-12)

    @settings(max_examples=50, deadline=None)
    @given(st.permutations(range(IMAGES)), st.lists(st.integers(0, IMAGES - 1), max_size=5))
    def test_any_order_and_duplicates(self, order: list[int], again: list[int]) -> None:
        frames = [frame_of(COUNTS, index) for index in (*again, *order)]
        events = run([start_of(COUNTS), *frames, end_of()])
        volume = next(event for event in events if isinstance(event, Volume))
        np.testing.assert_array_equal(volume.counts, COUNTS)
        assert volume.accounting.complete
        strays = sum(isinstance(event, Dropped) and event.kind == "stray" for event in events)
        assert volume.accounting.duplicates + strays == len(again)

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, IMAGES - 1), st.sampled_from(["good", "bad", "unreadable"])), max_size=20))
    def test_accounting_always_adds_up(self, arrivals: list[tuple[int, str]]) -> None:
        assembler = SeriesAssembler(Settings())
        events = assembler.feed(start_of(COUNTS), 0.0)
        for index, kind in arrivals:
            if kind == "unreadable":
                events += assembler.reject(1, "good", index, WireError("broken"))
            else:
                image = COUNTS[index] if kind == "good" else COUNTS[index][1:]
                events += assembler.feed(frame_of(COUNTS, index, data={CHANNEL: image}), 0.0)
        events += assembler.close("test")
        closed = [event for event in events if not isinstance(event, Dropped)]
        assert len(closed) == 1
        accounting = closed[0].accounting
        good = {index for index, kind in arrivals if kind == "good"}
        bad = {index for index, kind in arrivals if kind != "good"}
        assert accounting.received == len(good)
        if not accounting.complete:
            assert accounting.rejected == len(bad - good)
        assert accounting.received + accounting.rejected + accounting.missed == accounting.sent == IMAGES

    def test_length_that_nobody_announced(self) -> None:
        many = np.tile(COUNTS, (20, 1, 1))
        frames = [frame_of(many, index) for index in reversed(range(len(many)))]
        volume = volume_of([start_of(many, number_of_images=None), *frames, end_of()])
        np.testing.assert_array_equal(volume.counts, many)
        assert volume.accounting == told(len(many), len(many))
        assert volume.metadata["closed_by"] == "end"

    def test_second_series_is_independent(self) -> None:
        events = run([*series_of(COUNTS), *series_of(COUNTS[::-1].copy(), "second", 2)])
        assert [event.series_id for event in events if isinstance(event, Volume)] == [1, 2]
        assert len(events) == 2

    def test_channels(self) -> None:
        two = [
            frame_of(COUNTS, index, data={"low": COUNTS[index], "high": COUNTS[index] // 2}) for index in range(IMAGES)
        ]
        start = start_of(COUNTS, channels=("low", "high"))
        np.testing.assert_array_equal(volume_of([start, *two]).counts, COUNTS)
        chosen = volume_of([start, *two], {"detector": {"channel": "high"}})
        np.testing.assert_array_equal(chosen.counts, COUNTS // 2)
        assert chosen.metadata["channel"] == "high"
        np.testing.assert_array_equal(volume_of([start_of(COUNTS, channels=()), *two]).counts, COUNTS)
        refused = failure_of([start, *two], {"detector": {"channel": "third"}})
        assert "detector.channel must be one of low, high" in str(refused.error)
        assert refused.accounting == told(received=0, missed=IMAGES)


class TestIncompleteSeries:
    def test_memory_of_a_former_series_does_not_show_in_missing_images(self) -> None:
        assembler = SeriesAssembler(Settings())
        bright = np.full_like(COUNTS, 9)
        former = [event for message in series_of(bright) for event in assembler.feed(message, 0.0)]
        assert all(isinstance(event, Volume) for event in former)
        del former
        for message in [start_of(COUNTS), frame_of(COUNTS, 0), frame_of(COUNTS, 2)]:
            assembler.feed(message, 0.0)
        (volume,) = assembler.close("test")
        assert isinstance(volume, Volume)
        missing = [index for index in range(IMAGES) if index not in (0, 2)]
        assert not volume.counts[missing].any()
        assert not volume.mask[missing].any()
        np.testing.assert_array_equal(volume.counts[[0, 2]], COUNTS[[0, 2]])

    def test_missing_images_are_masked_on_the_line(self) -> None:
        frames = [frame_of(COUNTS, index) for index in (1, 2, 4)]
        volume = volume_of([start_of(COUNTS), *frames])
        assert volume.accounting == told(received=3, missed=3)
        assert list(volume.mask.all(axis=(1, 2))) == [False, True, True, False, True, False]
        assert not volume.counts[[0, 3, 5]].any()
        np.testing.assert_allclose(volume.geometry.rocking_deg, 0.2 + 0.005 * np.arange(IMAGES), atol=1e-9)

    def test_late_images_after_the_end(self) -> None:
        assembler = SeriesAssembler(Settings())
        start, *frames, end = series_of(COUNTS)
        for message in (start, *frames[:-1], end):
            assert assembler.feed(message, 10.0) == []
        assert assembler.close_stale(11.9) == []
        assert isinstance(assembler.feed(frames[-1], 11.9)[0], Volume)
        assert assembler.close_stale(100.0) == []

    def test_end_and_nothing_more(self) -> None:
        assembler = SeriesAssembler(Settings())
        start, *frames, end = series_of(COUNTS)
        for message in (start, *frames[:-1], end):
            assembler.feed(message, 10.0)
        (volume,) = assembler.close_stale(12.0)
        assert isinstance(volume, Volume)
        assert volume.accounting == told(received=5, missed=1)
        assert volume.metadata["closed_by"] == "end"

    def test_stalled(self) -> None:
        assembler = SeriesAssembler(Settings())
        for message in series_of(COUNTS)[:4]:
            assembler.feed(message, 10.0)
        assert assembler.open_start is not None
        assert assembler.open_accounting == told(received=3, missed=3)
        assert assembler.close_stale(39.9) == []
        (volume,) = assembler.close_stale(40.0)
        assert isinstance(volume, Volume)
        assert volume.metadata["closed_by"] == "stall"
        assert (assembler.open_start, assembler.open_accounting) == (None, None)

    def test_newer_series_closes_the_older(self) -> None:
        older, newer = series_of(COUNTS), series_of(COUNTS, "newer", 2)
        events = run([*older[:4], *newer[:3], older[4], older[-1], *newer[3:]])
        first, *strays, second = events
        assert isinstance(first, Volume)
        assert (first.series_id, first.accounting) == (1, told(received=3, missed=3))
        assert [stray.kind for stray in strays if isinstance(stray, Dropped)] == ["stray", "stray"]
        assert "already closed" in str(strays[0].error)
        assert isinstance(second, Volume)
        assert second.accounting == told()

    @pytest.mark.parametrize("count", [0, 1])
    def test_too_few_images(self, count: int) -> None:
        failure = failure_of([start_of(COUNTS), *frames_with()[:count], end_of()])
        assert isinstance(failure.error, DataError)
        assert str(failure.error) == f"{count} of 6 images arrived, expected at least two"

    def test_series_that_announces_one_image(self) -> None:
        failure = failure_of(series_of(COUNTS[:1]))
        assert isinstance(failure.error, DataError)

    def test_larger_than_the_limit(self) -> None:
        limit = {"worker": {"series_max_bytes": IMAGES * 8 * 10 * 5 - 1}}
        failure = failure_of(series_of(COUNTS), limit)
        assert isinstance(failure.error, DataError)
        assert "worker.series_max_bytes is 2399" in str(failure.error)
        open_ended: list[Message] = [start_of(COUNTS, number_of_images=None), *frames_with(), end_of()]
        assert volume_of(open_ended, limit).accounting.sent == IMAGES - 1


class TestDroppedImages:
    def dropped(self, bad: Frame) -> Volume:
        """The series around one bad image, and that the good copy of it still counts."""
        frames = frames_with()
        events = run([start_of(COUNTS), *frames[:2], bad, *frames[3:], end_of()])
        (drop, volume) = events
        assert isinstance(drop, Dropped)
        assert drop.kind == "rejected"
        assert "\n" not in str(drop.error)
        assert isinstance(volume, Volume)
        assert volume.accounting == told(received=5, rejected=1)
        assert not volume.mask[2].any()
        assert volume_of([start_of(COUNTS), *frames[:2], bad, *frames[2:]]).accounting == told()
        return volume

    @pytest.mark.parametrize(
        "changes",
        [
            {"data": {CHANNEL: COUNTS[2][:-1]}},
            {"data": {CHANNEL: COUNTS[2].astype(np.uint16)}},
            {"data": {"other": COUNTS[2]}},
            {"positions": {"theta": np.nan}},
            {"positions": {"theta": np.inf}},
            {"positions": {}},
            {"positions": {"theta": 0.21, "phi": 1.0}},
            {"monitor": 0.0},
            {"monitor": -1.0},
            {"monitor": np.nan},
            {"transmission": np.inf},
        ],
    )
    def test_wrong_image(self, changes: dict[str, Any]) -> None:
        self.dropped(frame_of(COUNTS, 2, **changes))

    def test_out_of_place(self) -> None:
        start, *frames, end = series_of(COUNTS)
        outside = frame_of(COUNTS, 2, image_id=IMAGES)
        events = run([frames[0], end, start, start, outside, *frames, end, end])
        kinds = [event.kind for event in events if isinstance(event, Dropped)]
        assert kinds == ["stray"] * 4
        assembler = SeriesAssembler(Settings())
        assert assembler.reject(9, "nobody", 0, WireError("x"))[0].kind == "stray"  # type: ignore[union-attr]
        assert assembler.tally.strays == 1

    def test_same_name_again_after_its_end(self) -> None:
        volumes = [event for event in run(series_of(COUNTS) * 2) if isinstance(event, Volume)]
        assert [volume.accounting for volume in volumes] == [told(), told()]

    def test_tally(self) -> None:
        assembler = SeriesAssembler(Settings())
        frames = frames_with()
        bad = frame_of(COUNTS, 5, monitor=-1.0)
        for message in (start_of(COUNTS), *frames[:3], frames[0], bad, frame_of(COUNTS, 0, name="x")):
            assembler.feed(message, 0.0)
        assembler.reject(1, "good", 4, WireError("broken"))
        assert dataclasses.astuple(assembler.tally) == (3, 1, 2, 1)


class TestPixels:
    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int16", "int32"])
    def test_value_that_means_no_data(self, dtype: str) -> None:
        counts = (COUNTS % 100).astype(dtype)
        counts[:, 1, 2] = np.iinfo(dtype).max
        if dtype.startswith("int"):
            counts[2, 3, 4] = -2
        volume = volume_of(series_of(counts))
        void = (counts == np.iinfo(dtype).max) | (counts.astype(np.int64) < 0)
        np.testing.assert_array_equal(volume.mask, ~void)
        assert not volume.counts[void].any()
        np.testing.assert_array_equal(volume.counts[~void], counts[~void])

    @pytest.mark.parametrize(
        ("said", "setting", "largest"),
        [(1000, None, 1000), (1000, 500.0, 499), (1000, 2000.0, 1000), (None, 700.5, 700)],
    )
    def test_saturated(self, said: int | None, setting: float | None, largest: int) -> None:
        header = dict(start_of(COUNTS).header) | {"saturation_value": said}
        tree = {} if setting is None else {"detector": {"saturation_counts": setting}}
        volume = volume_of([start_of(COUNTS, header=header), *frames_with()], tree)
        np.testing.assert_array_equal(volume.mask, largest >= COUNTS)
        np.testing.assert_array_equal(volume.counts, COUNTS)
        np.testing.assert_array_equal(volume.saturated, largest < COUNTS)

    @settings(max_examples=40, deadline=None)
    @given(
        st.sampled_from(["uint8", "uint16", "uint32", "int16", "int32"]),
        st.permutations(range(IMAGES)),
        st.integers(2, IMAGES),
        st.integers(0, 2**32 - 1),
    )
    def test_overflow_is_told_from_a_gap(self, dtype: str, order: list[int], received: int, seed: int) -> None:
        top, order = np.iinfo(dtype).max, order[:received]
        counts = (COUNTS % 100).astype(dtype)
        overflowed = np.random.default_rng(seed).random(counts.shape) < 0.2
        overflowed[order[0]] = True  # a whole image
        marked, gap, empty = (1, 2), (3, 4), (5, 6)
        for row, column in (marked, gap, empty):
            overflowed[:, row, column] = False
        overflowed &= ~overflowed[order].all(axis=0)
        counts[overflowed] = top
        counts[:, *gap] = top
        counts[order[0], *empty] = -1 if dtype.startswith("int") else 0
        mask = np.ones(counts.shape[1:], bool)
        mask[marked] = False
        frames = [frame_of(counts, index) for index in order]
        volume = volume_of([start_of(counts, pixel_mask=mask), *frames])
        absent = np.setdiff1d(np.arange(IMAGES), order)
        overflowed[absent] = False
        np.testing.assert_array_equal(volume.saturated, overflowed)
        assert not volume.counts[overflowed].any()

    def test_overflow_of_an_image_that_is_put_in_several_pieces(self) -> None:
        counts = np.zeros((2, 300, 300), np.uint16)
        counts[:, :100] = 2**16 - 1
        counts[1, 250:] = 2**16 - 1
        volume = volume_of(series_of(counts))
        assert volume.saturated is not None
        assert [np.flatnonzero(image.any(axis=1)).tolist() for image in volume.saturated] == [[], [*range(250, 300)]]

    def test_planes_of_the_sender(self) -> None:
        shape = COUNTS.shape[1:]
        mask, dark, flat = np.ones(shape, bool), np.full(shape, 2, np.float32), np.full(shape, 0.5, np.float32)
        mask[0, 0], dark[1, 1], flat[2, 2], flat[3, 3] = False, np.nan, 0.0, np.inf
        volume = volume_of([start_of(COUNTS, pixel_mask=mask, dark=dark, flatfield=flat), *frames_with()])
        bad = np.zeros(shape, bool)
        bad[[0, 1, 2, 3], [0, 1, 2, 3]] = True
        np.testing.assert_array_equal(volume.mask, np.broadcast_to(~bad, COUNTS.shape))
        assert volume.dark is not None
        assert volume.flat is not None
        assert np.isfinite(volume.dark).all()
        assert (volume.flat > 0).all()
        assert (volume.flat[4], volume.dark[4]) == (pytest.approx(0.5), pytest.approx(2))

    def test_flat_field_that_the_detector_applied(self) -> None:
        start = start_of(COUNTS, flatfield=np.full(COUNTS.shape[1:], 0.5, np.float32))
        start = dataclasses.replace(start, header={**start.header, "flatfield_enabled": True})
        assert volume_of([start, *frames_with()]).flat is None

    def test_scale(self) -> None:
        frames = [frame_of(COUNTS, index, monitor=100.0 * (1 + index), transmission=0.1) for index in range(3)]
        volume = volume_of([start_of(COUNTS), *frames])
        np.testing.assert_allclose(volume.scale, [0.5, 1, 1.5, 1, 1, 1], rtol=1e-6)


class TestGeometry:
    def refused(self, user: dict[str, Any] | None = None, header: dict[str, Any] | None = None, **frame: Any) -> str:
        honest = start_of(COUNTS)
        start = start_of(
            COUNTS, user_data=dict(honest.user_data) | (user or {}), header=dict(honest.header) | (header or {})
        )
        messages: list[Message] = [start, *frames_with(**frame), *series_of(COUNTS, "next", 2)]
        failure, following = run(messages)
        assert isinstance(failure, SeriesFailure)
        assert isinstance(failure.error, GeometryError)
        assert failure.accounting == told()
        assert isinstance(following, Volume)
        assert "\n" not in str(failure.error)
        return str(failure.error)

    def test_missing_angles(self) -> None:
        assert self.refused(positions={}) == "the rocking axis 'theta' is not told: frames tell none"
        assert "phi" in self.refused(positions={"phi": 1.0})
        assert "stood still" in self.refused(positions={"theta": 0.3})
        assert "gamma" in self.refused({"positions": {"delta": 3.0}})
        assert "map axis -> degrees" in self.refused({"positions": [1.0]})
        assert "expected one" in self.refused({"rocking_axis": None}, positions={"theta": 1.0})
        assert self.refused({"rocking_axis": None}, positions={}).startswith("no angles: no frame tells")

    def test_impossible_values(self) -> None:
        assert "energy_kev" in self.refused({"energy_kev": -9.0})
        assert "distance_m" in self.refused({"distance_m": -0.5})
        assert "pixel_size_m" in self.refused(header={"pixel_size_x": -55e-6})
        assert "user_data.axes" in self.refused({"axes": "x+"})
        assert "beam_center" in self.refused(header={"beam_center_x": "a", "beam_center_y": 1})

    def test_missing_facts_are_named_as_settings(self) -> None:
        said = self.refused({"energy_kev": None, "distance_m": None})
        assert "tell geometry.energy_kev, geometry.distance_m; give" in said

    def test_only_axis_that_varies(self) -> None:
        user = dict(start_of(COUNTS).user_data) | {"rocking_axis": ""}
        frames = [
            frame_of(COUNTS, i, positions={"th": 0.2 + 0.005 * i, "phi": -5 + 1e-6 * (i % 2), "delta": 31.0})
            for i in range(IMAGES)
        ]
        geometry = volume_of([start_of(COUNTS, user_data=user), *frames]).geometry
        assert geometry.rocking_axis == "theta"
        assert geometry.angles_deg["delta"] == 31.0  # the frames know better than the start

    def test_goniometer_of_a_detector(self) -> None:
        header = dict(start_of(COUNTS).header) | {
            "goniometer": {"theta": {"start": 1.0, "increment": 0.01}, "phi": {"start": "x"}, "chi": 7},
            "beam_center_x": 5.5,
            "beam_center_y": 2.5,
        }
        geometry = volume_of([start_of(COUNTS, header=header), *frames_with(positions={})]).geometry
        np.testing.assert_allclose(geometry.rocking_deg, 1.0 + 0.01 * np.arange(IMAGES))
        assert geometry.beam_center_px == (2.5, 5.5)

    def test_facts_of_a_detector_and_of_the_settings(self) -> None:
        user = {"rocking_axis": "theta", "positions": FIXED_DEG}
        detector = {"incident_energy": 8000.0, "pixel_size_x": 75e-6, "pixel_size_y": 70e-6, "beam_center_x": 0.0}
        tree = {"geometry": {"distance_m": 1.5, "energy_kev": 7.0, "pixel_size_m": 1e-4}}
        header = detector | {"beam_center_y": 0.0}
        geometry = volume_of([start_of(COUNTS, user_data=user, header=header), *frames_with()], tree).geometry
        assert (geometry.energy_kev, geometry.distance_m, geometry.pixel_size_m) == (8.0, 1.5, (70e-6, 75e-6))
        assert geometry.beam_center_px is None
        wave = {"incident_wavelength": 1.2398419843320026}
        geometry = volume_of([start_of(COUNTS, user_data=user, header=wave), *frames_with()], tree).geometry
        assert geometry.energy_kev == pytest.approx(10.0)
        geometry = volume_of([start_of(COUNTS, user_data=user, header={}), *frames_with()], tree).geometry
        assert (geometry.energy_kev, geometry.pixel_size_m) == (7.0, (1e-4, 1e-4))

    def test_one_angle_is_not_enough(self) -> None:
        from service.worker.geometry import fill_missing

        with pytest.raises(SeriesError, match="1 rocking angles in 3 frames"):
            fill_missing(np.array([np.nan, 1.0, np.nan]))


def test_metadata() -> None:
    start = start_of(COUNTS)
    start = start_of(
        COUNTS,
        user_data=dict(start.user_data) | {"title": "scan 54", "roi": [0, 8, 0, 10]},
        header=dict(start.header) | {"arm_date": "2024-01-01"},
    )
    metadata = volume_of([start, *frames_with(), end_of()]).metadata
    assert metadata["title"] == "scan 54"
    assert metadata["arm_date"] == "2024-01-01"
    assert metadata["count_time_s"] == 0.25
    assert metadata["channel"] == CHANNEL


def test_first_reason_of_a_rejection_is_kept() -> None:
    bad = [frame_of(COUNTS, 4, data={CHANNEL: COUNTS[4][1:]}), frame_of(COUNTS, 5, monitor=-1.0)]
    volume = volume_of([start_of(COUNTS), *frames_with()[:4], *bad])
    assert volume.metadata["first_rejection"] == "first rejected: image 4 is (7, 10) uint32, the series (8, 10) uint32"
    assert "first_rejection" not in volume_of(series_of(COUNTS)).metadata
    nothing = failure_of([start_of(COUNTS), *bad])
    assert str(nothing.error).startswith("0 of 6 images arrived, expected at least two; first rejected: image 4 is (7,")
    assembler = SeriesAssembler(Settings())
    assembler.feed(start_of(COUNTS), 0.0)
    assembler.reject(1, "good", 0, WireError("bslz4: damaged"))
    (failure,) = assembler.close("test")
    assert isinstance(failure, SeriesFailure)
    assert "first rejected: bslz4: damaged" in str(failure.error)
