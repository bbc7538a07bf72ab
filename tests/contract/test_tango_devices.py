"""The devices in front of controllers that a test holds in its hand, in this process, without a database."""

from __future__ import annotations

import dataclasses
import itertools
import math
import queue
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tango
from tango.test_context import MultiDeviceTestContext

from service.adapters.tango_beamline import TangoBeamline
from service.adapters.twin_scene import BEAM_M, near, where_aligned
from service.devices.alignment import Alignment
from service.devices.counter import Counter
from service.devices.goniometer import VirtualAxis
from service.devices.monitor import FIGURES, Monitor
from service.devices.monitor_status import MonitorStatus
from service.devices.streamer import Streamer
from service.errors import DeviceError, SettingsError
from service.records import SeriesEnd, SeriesStatus
from service.settings import Settings, parse_settings
from tango_devices.__main__ import DEVICES
from tango_devices.attributes import attribute_name, default_alarms, require_numbers, shown
from tango_devices.controlled import REST_S, ControlledDevice, changed
from tango_devices.controllers import Controllers
from tests.helpers.streams import FIGURES as MEASURED
from tests.helpers.streams import FakeWorker, ListSink, ListSource, QueueResults, series, summary, until

NAMES = {
    "FrameStreamer": "test/streamer/1", "Reconstruction": "test/reconstruction/1",
    "CrystalAlignment": "test/alignment/1", "VirtualGoniometer": "test/goniometer/theta",
    "VirtualCounter": "test/counter/1",
}  # fmt: skip
AXES = {"theta": "test/goniometer/theta"}
ALARMS = {"rFactor": (None, 0.5), "position": (-5.0, 5.0), "missed": (-math.inf, 100.5), "unheardOf": (0.0, 1.0)}


class Stage:
    """The devices, and what is behind them."""

    def __init__(self) -> None:
        self.results, self.worker, self.sink = QueueResults(), FakeWorker(), ListSink()
        self.frames, self.sequence = 20, 0
        self.positions: dict[str, float] = {}
        self.counted = 0
        self.proxies: dict[str, Any] = {}
        theta = {"velocity": 10.0, "low_limit": -8.0, "high_limit": 9.0}
        self.settings = parse_settings(
            {"goniometer": {"axes": {"theta": theta}}, "streamer": {"rate_hz": 200.0, "patience_s": 0.2}}
        )

    def builders(self) -> dict[str, Any]:
        return {
            "FrameStreamer": lambda settings, _: Streamer(
                settings.streamer, lambda _: ListSource(series(self.frames)), lambda _: self.sink
            ),
            "Reconstruction": lambda settings, _: Monitor(self.results, self.worker),
            "CrystalAlignment": lambda settings, _: Alignment(settings.alignment, TangoBeamline, Path()),
            "VirtualGoniometer": lambda settings, axis: VirtualAxis(axis, settings.goniometer.axes[axis]),
            "VirtualCounter": lambda settings, _: Counter(near(3).goniometer, self.standing, 0.1, 3),
        }

    def standing(self) -> dict[str, float]:
        self.counted += 1
        if not self.positions:
            raise DeviceError("x does not answer")
        return self.positions

    def publish(self, **changes: Any) -> int:
        self.sequence += 1
        self.results.put(summary(self.sequence, **changes))
        return self.sequence


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    one = Stage()
    for device in DEVICES:
        default_alarms(device, ALARMS)
    with Controllers(one.builders(), one.settings, {}) as controllers:
        ControlledDevice.controllers = controllers
        described = tuple({"class": device, "devices": [{"name": NAMES[device.__name__]}]} for device in DEVICES)
        with MultiDeviceTestContext(described, process=False, timeout=30) as context:
            one.proxies = {kind: context.get_device(name) for kind, name in NAMES.items()}
            yield one


@pytest.fixture
def streamer(stage: Stage) -> Iterator[Any]:
    proxy = stage.proxies["FrameStreamer"]
    yield proxy
    stage.sink.open.set()
    stage.frames = 20
    proxy.Reset()
    until(lambda: proxy.state() is tango.DevState.STANDBY)
    proxy.source, proxy.rate, proxy.loop = "twin", 200.0, False
    proxy.triggerMode = "internal"


@pytest.fixture
def reconstruction(stage: Stage) -> Iterator[Any]:
    proxy = stage.proxies["Reconstruction"]
    until(lambda: proxy.state() is not tango.DevState.UNKNOWN)
    yield proxy
    stage.worker.up = True
    stage.worker.health = {"ok": True, "status": "all stages run", "busy": False}
    proxy.Reset()


@pytest.fixture
def theta(stage: Stage) -> Iterator[Any]:
    proxy = stage.proxies["VirtualGoniometer"]
    yield proxy
    proxy.velocity = 1000.0
    proxy.position = 0.0
    until(lambda: proxy.state() is tango.DevState.ON)


class Events:
    """What a subscription brought."""

    def __init__(self, proxy: Any, attribute: str) -> None:
        self._queue: queue.Queue[Any] = queue.Queue()
        self._proxy = proxy
        self._id = proxy.subscribe_event(attribute, tango.EventType.CHANGE_EVENT, self._take)

    def _take(self, event: Any) -> None:
        self._queue.put(event.errors if event.err else event.attr_value)

    def until_value(self, wanted: Any, timeout_s: float = 20.0) -> Any:
        """The first event whose value is `wanted`, as an attribute."""
        while True:
            attribute = self._queue.get(timeout=timeout_s)
            if np.array_equal(attribute.value, wanted):
                return attribute

    @property
    def values(self) -> list[Any]:
        """What came since the last look."""
        return [self._queue.get().value for _ in range(self._queue.qsize())]

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.unsubscribe_event(self._id)


def test_events_go_on_after_a_command_held_the_device_for_long(stage: Stage, reconstruction: Any) -> None:
    with Events(reconstruction, "sequence") as events:
        stage.worker.slow_s = 4.0  # Tango's monitor gives up after 3.2 s
        reconstruction.set_timeout_millis(20_000)
        asked = reconstruction.command_inout_asynch("ReprocessLast")
        number = stage.publish()
        reconstruction.command_inout_reply(asked, 20_000)
        stage.worker.slow_s = 0.0
        events.until_value(number, 20.0)


@pytest.mark.parametrize("kind", NAMES)
def test_every_attribute_tells_its_unit_label_description_and_format(stage: Stage, kind: str) -> None:
    proxy = stage.proxies[kind]
    device = next(device for device in DEVICES if device.__name__ == kind)
    configured = {item.name: item for item in proxy.attribute_list_query_ex()}
    for item in shown(device.status_class):
        config = configured[item.name]
        assert item.name[0].islower()
        assert "_" not in item.name
        assert config.label == item.reading.label
        assert config.description == item.reading.description
        assert config.format == item.reading.format
        assert config.unit == (item.reading.unit or {"velocity": "deg/s"}.get(item.name, config.unit))
        assert float(config.display_unit) == 1.0, "Bliss multiplies by it"


@pytest.mark.parametrize("kind", NAMES)
def test_commands_are_upper_camel_and_properties_too(stage: Stage, kind: str) -> None:
    own = {info.cmd_name for info in stage.proxies[kind].command_list_query()} - {"Init", "State", "Status"}
    assert own
    assert all(name[0].isupper() and "_" not in name for name in own)


def test_streaming_goes_through_running_and_is_counted(stage: Stage, streamer: Any) -> None:
    streamer.Prepare()
    until(lambda: streamer.state() is tango.DevState.ON)
    before = len(stage.sink.frames)
    with Events(streamer, "sent") as sent, Events(streamer, "State") as states:
        streamer.Start()
        assert streamer.state() is tango.DevState.RUNNING
        states.until_value(tango.DevState.RUNNING)
        sent.until_value(20)
        states.until_value(tango.DevState.STANDBY)
    assert (streamer.sent, streamer.dropped, streamer.frames, streamer.progress) == (20, 0, 20, 100.0)
    assert len(stage.sink.frames) == before + 20
    assert "finished" in streamer.status()


def test_state_and_status_are_pushed_when_they_change_and_not_with_every_frame(stage: Stage, streamer: Any) -> None:
    stage.frames = 100  # half a second: many looks of the pusher
    with Events(streamer, "sent") as sent, Events(streamer, "State") as states, Events(streamer, "Status") as lines:
        streamer.Start()
        sent.until_value(100)
        until(lambda: streamer.state() is tango.DevState.STANDBY)
        time.sleep(2 * REST_S)
        assert states.values == [tango.DevState.STANDBY, tango.DevState.RUNNING, tango.DevState.STANDBY]
        told = lines.values
    assert all(before != after for before, after in itertools.pairwise(told))
    assert "finished" in told[-1]


def test_abort_and_stop_end_a_series(stage: Stage, streamer: Any) -> None:
    stage.frames = 10_000
    names = set()
    for verb in ("Stop", "Abort"):
        streamer.Start()
        until(lambda: streamer.sent > 2)
        names.add(streamer.seriesUniqueId)
        streamer.command_inout(verb)
        until(lambda: streamer.state() is tango.DevState.STANDBY)
        last = stage.sink.taken[-1]
        assert isinstance(last, SeriesEnd)
        assert last.aborted is (verb == "Abort")
    assert len(names) == 2


def test_triggered_frames_are_counted_when_the_command_returns(stage: Stage, streamer: Any) -> None:
    streamer.triggerMode = "software"
    streamer.Announce('{"frames": 5, "count_time_s": 0.1, "title": "ascan", "positions": {"chi": 90.0}}')
    streamer.Start()
    with pytest.raises(tango.DevFailed, match="Stop or Abort first"):
        streamer.Announce("{}")
    for number in range(4):
        streamer.Trigger()
        assert (streamer.sent, streamer.frameCounts) == (number + 1, 24.0 * number)
    assert streamer.frames == 5
    streamer.Stop()
    until(lambda: streamer.state() is tango.DevState.STANDBY)
    start, *frames, end = stage.sink.taken[-6:]
    assert start.user_data == {"title": "ascan", "positions": {"chi": 90.0}}
    assert len(frames) == 4
    assert isinstance(end, SeriesEnd)
    assert not end.aborted


def test_triggers_and_announcements_are_refused_with_a_reason(streamer: Any) -> None:
    with pytest.raises(tango.DevFailed, match="set it to software before Start") as refusal:
        streamer.Trigger()
    assert refusal.value.args[0].reason == "RefusedError"
    with pytest.raises(tango.DevFailed, match="Announce: frames"):
        streamer.Announce('{"frames": 0}')


def test_dropped_frames_end_in_a_fault_that_init_keeps_and_reset_ends(stage: Stage, streamer: Any) -> None:
    stage.frames = 10_000
    streamer.Start()
    until(lambda: streamer.sent > 2)
    stage.sink.open.clear()
    until(lambda: streamer.dropped > 0)
    assert streamer.read_attribute("dropped").quality is tango.AttrQuality.ATTR_ALARM
    streamer.Stop()
    until(lambda: streamer.state() is tango.DevState.FAULT)
    assert "Reset acknowledges" in streamer.status()
    streamer.Init()
    assert streamer.state() is tango.DevState.FAULT
    with pytest.raises(tango.DevFailed, match="Reset first"):
        streamer.Start()
    streamer.Reset()
    until(lambda: streamer.state() is not tango.DevState.FAULT)


def test_a_wrong_write_is_refused_with_a_reason(streamer: Any) -> None:
    with pytest.raises(tango.DevFailed) as refusal:
        streamer.source = "tape"
    assert refusal.value.args[0].reason == "SettingsError"
    assert "source" in refusal.value.args[0].desc
    assert streamer.source == "twin"
    with pytest.raises(tango.DevFailed):
        streamer.rate = -1.0
    streamer.rate = 50.0
    assert streamer.rate == 50.0


def test_a_result_arrives_as_events_with_its_images(stage: Stage, reconstruction: Any) -> None:
    with Events(reconstruction, "sequence") as sequences, Events(reconstruction, "strain") as strains:
        number = stage.publish()
        sequences.until_value(number)
        image = strains.until_value(np.full((5, 8), number))
    assert image.value.dtype == np.float32
    assert (image.dim_x, image.dim_y) == (8, 5)
    for name in FIGURES:
        assert reconstruction.read_attribute(attribute_name(name)).value == getattr(MEASURED, name)
    assert reconstruction.latency == 3.25
    assert list(reconstruction.latencyStages) == ["assemble", "invert"]
    assert list(reconstruction.latencies) == [0.5, 2.0]
    assert list(reconstruction.notes) == ["crop by itself"]
    assert list(reconstruction.warnings) == ["two peaks"]


def test_a_failed_series_is_an_alarm_until_reset(stage: Stage, reconstruction: Any) -> None:
    with Events(reconstruction, "State") as states:
        stage.publish(status=SeriesStatus.FAILED, error="a series of one frame; give two or more")
        states.until_value(tango.DevState.ALARM)
        reconstruction.Init()
        assert reconstruction.state() is tango.DevState.ALARM
        assert "a series of one frame" in reconstruction.status()
        assert "a series of one frame" in reconstruction.lastError
        reconstruction.Reset()
        states.until_value(tango.DevState.ON)


def test_a_doubtful_result_is_an_alarm_until_the_next_good_one(stage: Stage, reconstruction: Any) -> None:
    with Events(reconstruction, "State") as states:
        stage.publish(figures=dataclasses.replace(MEASURED, doubt="the starts found different objects"))
        states.until_value(tango.DevState.ALARM)
        assert "doubtful result of series 3: the starts found different objects" in reconstruction.status()
        assert reconstruction.doubt == "the starts found different objects"
        stage.publish()
        states.until_value(tango.DevState.ON)


def test_a_figure_beyond_its_alarm_limit_is_an_alarm(stage: Stage, reconstruction: Any) -> None:
    with Events(reconstruction, "State") as states:
        stage.publish(figures=dataclasses.replace(MEASURED, r_factor=0.7))
        states.until_value(tango.DevState.ALARM)
        assert reconstruction.read_attribute("rFactor").quality is tango.AttrQuality.ATTR_ALARM
        assert "R factor" in reconstruction.status()
        stage.publish()
        states.until_value(tango.DevState.ON)


def test_a_defect_is_told_by_events_until_somebody_has_looked(stage: Stage, reconstruction: Any) -> None:
    screw = dataclasses.replace(MEASURED, defect_class="screw", defect_probability=0.93, defect_count=1, hold=True)
    with (
        Events(reconstruction, "defectClass") as classes,
        Events(reconstruction, "defectProbability") as probabilities,
        Events(reconstruction, "defectCount") as counts,
        Events(reconstruction, "hold") as holds,
    ):
        stage.publish(figures=screw)
        classes.until_value("screw")
        probabilities.until_value(0.93)
        counts.until_value(1)
        holds.until_value(True)
        reconstruction.Reset()
        holds.until_value(False)
        assert reconstruction.defectClass == "screw"
        stage.publish(figures=dataclasses.replace(MEASURED, defect_class="", defect_probability=0.0))
        classes.until_value("")
        assert math.isnan(reconstruction.defectProbability)


def test_alarm_limits_of_what_is_no_number_are_refused() -> None:
    require_numbers(DEVICES, {"rFactor": (None, 0.5), "defectCount": (-math.inf, 1), "latencies": (0.0, 60.0)})
    with pytest.raises(SettingsError, match=r"defectCount = \[0, 0\]"):
        require_numbers(DEVICES, {"defectCount": (0, 0)})
    with pytest.raises(SettingsError, match="defectClass, unheardOf: none of the devices' numbers"):
        require_numbers(DEVICES, {"rFactor": (None, 0.5), "defectClass": (0.0, 1.0), "unheardOf": (0.0, 1.0)})


def test_limits_of_counts_are_whole_and_infinite_ones_are_open(reconstruction: Any) -> None:
    alarms = reconstruction.get_attribute_config("missed").alarms
    assert (alarms.min_alarm, alarms.max_alarm) == ("Not specified", "101")


def test_commands_reach_the_worker_or_say_why_not(stage: Stage, reconstruction: Any) -> None:
    stage.worker.requests.clear()
    reconstruction.LoadSettings("phasing.starts = 3")
    reconstruction.ReprocessLast()
    reconstruction.Save("/data/keep.h5")
    assert [command for command, _ in stage.worker.requests] == ["settings", "reprocess", "save"]
    with pytest.raises(tango.DevFailed, match=r"phasing\.starts"):
        reconstruction.LoadSettings("phasing.starts = 0")
    stage.worker.up = False
    with pytest.raises(tango.DevFailed, match="did not answer"):
        reconstruction.ReprocessLast()


def test_a_write_of_position_is_moving_before_it_returns(theta: Any) -> None:
    theta.velocity = 4.0
    with Events(theta, "position") as positions, Events(theta, "State") as states:
        theta.position = 1.0
        assert theta.state() is tango.DevState.MOVING
        states.until_value(tango.DevState.MOVING)
        positions.until_value(1.0)
        states.until_value(tango.DevState.ON)
    assert theta.position == 1.0


@pytest.mark.parametrize("verb", ["Abort", "Stop"])
def test_abort_stops_the_axis(theta: Any, verb: str) -> None:
    theta.velocity = 1.0
    theta.position = 4.0
    theta.command_inout(verb)
    assert theta.state() is tango.DevState.ON
    assert 0.0 <= theta.position < 2.0


def test_limits_are_those_of_the_settings_and_hold(theta: Any) -> None:
    config = theta.get_attribute_config("position")
    assert (float(config.min_value), float(config.max_value), config.unit) == (-8.0, 9.0, "deg")
    assert (theta.lowLimit, theta.highLimit) == (-8.0, 9.0)
    assert theta.get_attribute_config("velocity").unit == "deg/s"
    for wrong in (-8.1, 9.1, float("nan")):
        with pytest.raises(tango.DevFailed):
            theta.position = wrong
    assert theta.state() is tango.DevState.ON


def test_a_position_beyond_its_alarm_limit_is_an_alarm(theta: Any) -> None:
    theta.velocity = 1000.0
    theta.position = 7.0
    until(lambda: theta.state() is tango.DevState.ALARM)
    assert "Position" in theta.status()


def test_ten_devices_worth_of_init_keep_the_events_alive(theta: Any) -> None:
    for _ in range(10):
        theta.Init()
    with Events(theta, "position") as positions:
        theta.velocity = 1000.0
        theta.position = -2.0
        positions.until_value(-2.0)


def test_a_counter_counts_once_a_read_most_where_the_crystal_is_aligned(stage: Stage) -> None:
    counter = stage.proxies["VirtualCounter"]
    aligned = where_aligned(near(3).goniometer)
    stage.positions, before = aligned, stage.counted
    assert counter.counts == pytest.approx(1e4, rel=0.05)
    assert {item.name: item.value for item in counter.read_attributes(["counts", "exposure"])}["exposure"] == 0.1
    assert counter.exposure == 0.1
    assert counter.state() is tango.DevState.ON
    assert stage.counted == before + 2, "exposure and State do not count"
    stage.positions = {**aligned, "x": aligned["x"] + BEAM_M}
    assert counter.counts < 2e3
    stage.positions = aligned
    counter.exposure = 1.0
    assert counter.counts == pytest.approx(1e5, rel=0.05)
    with pytest.raises(tango.DevFailed):
        counter.exposure = 0.0
    counter.exposure = 0.1


def test_a_counter_whose_axis_does_not_answer_says_so(stage: Stage) -> None:
    counter = stage.proxies["VirtualCounter"]
    stage.positions = {}
    with pytest.raises(tango.DevFailed, match="x does not answer"):
        print(counter.counts)
    assert counter.state() is tango.DevState.ALARM
    assert "x does not answer" in counter.status()
    counter.Reset()
    assert counter.state() is tango.DevState.ON


def test_changed_tells_readings_apart() -> None:
    image = np.zeros((2, 2), np.float32)
    assert not changed(image, image)
    assert changed(image, image.copy())
    assert not changed((1.0,), (1.0,))
    assert changed("a", "b")


def test_a_settings_file_of_its_own_builds_another_controller(tmp_path: Any) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[streamer]\nrate_hz = 3.0\n")
    with Controllers({"FrameStreamer": lambda settings, _: _closing(settings)}, Settings(), AXES) as controllers:
        other = controllers("FrameStreamer", "a/b/1", str(file))
        assert controllers("FrameStreamer", "a/b/1", "") is other, "Init keeps the controller"
        assert other.settings.streamer.rate_hz == 3.0
        assert other.settings.twin.axes == AXES, "the twin follows the server's own axes"
        assert other.settings.counter.axes == AXES
        assert other.settings.streamer.axes == {}, "a real detector does not"


def _closing(settings: Settings) -> Any:
    return SimpleNamespace(settings=settings, close=lambda: None)


def test_every_status_field_with_a_reading_becomes_an_attribute() -> None:
    assert next(item.field for item in shown(MonitorStatus)) == "worker"
    assert attribute_name("support_volume_nm3") == "supportVolume"
    assert attribute_name("series_id") == "seriesId"
