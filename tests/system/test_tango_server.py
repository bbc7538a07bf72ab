"""`python -m tango_devices` as a user starts it: processes of their own, with and without a Tango database."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tango

from service.adapters.requests import WorkerRequests
from service.adapters.tango import (
    AxisPositions,
    TangoAxis,
    TangoDevice,
    alive,
    device_server_arguments,
    device_url,
    device_urls,
    obeying,
    virtual_axes,
)
from service.adapters.zmq import ResultPublisher, ZmqFrameSource
from service.commands.children import Children, free_ports
from service.errors import DeviceError
from service.records import Frame, SeriesEnd, SeriesStart
from service.settings import Settings, load_settings
from tests.helpers.streams import summary, until

START_S = 30.0


class Lab:
    """One installation without a database, on ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        port, frames, results, requests = free_ports(4)
        self.port, self.asked = port, list[dict[str, Any]]()
        tree = {
            "streamer": {"endpoint": f"tcp://127.0.0.1:{frames}", "rate_hz": 500.0, "patience_s": 2.0},
            "worker": {"results": f"tcp://127.0.0.1:{results}", "requests": f"tcp://127.0.0.1:{requests}"},
            "twin": {"frames": 8, "rows": 32, "columns": 32},
            "goniometer": {"axes": {"theta": {"velocity": 100.0}, "chi": {"position": 90.0}}},
            "tango": {"alarms": {"rFactor": [0.0, 0.5]}},
        }
        self.file = folder / "settings.toml"
        self.file.write_text(_toml(tree))
        self.settings: Settings = load_settings(self.file, environment={})

    def start(self, children: Children) -> None:
        children.start("devices", "tango_devices", *device_server_arguments(self.settings, self.port, self.file))
        urls = device_urls(self.settings, self.port)
        children.wait_until(lambda: all(alive(url) for url in urls), "the devices", START_S)

    def url(self, member: str) -> str:
        return device_url("127.0.0.1", self.port, f"braggloop/{member}")

    def proxy(self, member: str) -> Any:
        return tango.DeviceProxy(self.url(member))

    def publisher(self) -> ResultPublisher:
        handlers = {
            "health": lambda request: {"ok": True, "status": "all stages run", "busy": False},
            "reprocess": lambda request: self.asked.append(dict(request)) or {},
        }
        return ResultPublisher(self.settings.worker.results, self.settings.worker.requests, handlers=handlers)


def _toml(tree: dict[str, Any]) -> str:
    lines = [f"{section} = {_inline(values)}" for section, values in tree.items()]
    return "\n".join(lines) + "\n"


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_inline(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    one = Lab(tmp_path_factory.mktemp("tango"))
    with Children(one.folder / "logs") as children:
        one.start(children)
        yield one


def _receive(source: ZmqFrameSource, count: int) -> list[Any]:
    messages = [source.receive(10.0) for _ in range(count)]
    assert None not in messages, "the stream stopped"
    return messages


def test_the_twin_streams_and_obeys_the_virtual_goniometer(lab: Lab) -> None:
    streamer, theta = lab.proxy("streamer/1"), lab.proxy("goniometer/theta")
    theta.position = 2.0
    until(lambda: theta.state() is tango.DevState.ON)
    source = ZmqFrameSource(lab.settings.streamer.endpoint)
    streamer.Start()
    start, *frames, end = _receive(source, 10)
    source.close()
    assert isinstance(start, SeriesStart)
    assert isinstance(end, SeriesEnd)
    assert all(isinstance(frame, Frame) for frame in frames)
    assert np.mean([frame.positions["theta"] for frame in frames]) == pytest.approx(2.0, abs=0.05)
    assert start.user_data["positions"]["chi"] == 90.0
    until(lambda: streamer.state() is tango.DevState.STANDBY)
    assert (streamer.sent, streamer.dropped) == (8, 0)
    theta.position = 0.0


def test_the_twin_shows_where_the_axis_stands_at_each_trigger(lab: Lab) -> None:
    streamer, theta = lab.proxy("streamer/1"), lab.proxy("goniometer/theta")
    streamer.write_attribute("trigger", "software")
    streamer.Prepare()
    until(lambda: streamer.state() is tango.DevState.ON)
    source = ZmqFrameSource(lab.settings.streamer.endpoint)
    streamer.Announce(json.dumps({"frames": 3, "count_time_s": 0.1, "title": "ascan theta -0.1 0.1 2 0.1"}))
    streamer.Start()
    counted = []
    for angle in (-0.1, 0.0, 0.1):
        theta.position = angle
        until(lambda: theta.state() is tango.DevState.ON)
        streamer.Trigger()
        counted.append(streamer.frameCounts)
    start, *frames, end = _receive(source, 5)
    source.close()
    assert (start.number_of_images, start.user_data["title"]) == (3, "ascan theta -0.1 0.1 2 0.1")
    assert [frame.positions["theta"] for frame in frames] == [-0.1, 0.0, 0.1]
    assert max(counted) == counted[1] > 2.0 * min(counted)
    assert isinstance(end, SeriesEnd)
    until(lambda: streamer.state() is tango.DevState.STANDBY)
    streamer.write_attribute("trigger", "internal")
    theta.position = 0.0


def test_a_missing_file_is_a_fault_that_names_it_and_reset_is_the_way_out(lab: Lab) -> None:
    streamer = lab.proxy("streamer/1")
    streamer.source, streamer.path = "replay", "/no/such/scan.h5"
    streamer.Prepare()
    until(lambda: streamer.state() is tango.DevState.FAULT)
    assert "/no/such/scan.h5" in streamer.status()
    assert "Reset" in streamer.status()
    streamer.Reset()
    streamer.source = "twin"
    streamer.Prepare()
    until(lambda: streamer.state() is tango.DevState.ON)
    streamer.Reset()


def test_lima_that_is_not_there_is_a_fault(lab: Lab) -> None:
    streamer = lab.proxy("streamer/1")
    streamer.source, streamer.path = "lima", lab.url("streamer/none")
    streamer.Prepare()
    until(lambda: streamer.state() is tango.DevState.FAULT, 10.0)
    streamer.Reset()
    streamer.source, streamer.path = "twin", ""


def test_a_silent_worker_is_unknown_and_its_results_arrive_as_events(lab: Lab) -> None:
    reconstruction = lab.proxy("reconstruction/1")
    assert reconstruction.state() is tango.DevState.UNKNOWN
    with pytest.raises(tango.DevFailed, match="did not answer 'reprocess'"):
        reconstruction.ReprocessLast()
    events: queue.Queue[Any] = queue.Queue()
    subscription = reconstruction.subscribe_event("strain", tango.EventType.CHANGE_EVENT, events.put)
    publisher = lab.publisher()
    publisher.publish(summary(1))
    until(lambda: reconstruction.state() is tango.DevState.ON, 10.0)
    until(lambda: reconstruction.sequence == 1, 10.0)
    publisher.publish(summary(2))
    seen = [events.get(timeout=10.0)]
    while seen[-1].err or not (seen[-1].attr_value.value == 2).all():
        seen.append(events.get(timeout=10.0))
    assert seen[-1].attr_value.value.shape == (5, 8)
    reconstruction.ReprocessLast()
    assert [request["type"] for request in lab.asked] == ["reprocess"]
    with pytest.raises(tango.DevFailed, match="refused 'save'"):
        reconstruction.Save("/data/keep.h5")
    reconstruction.unsubscribe_event(subscription)
    publisher.close()
    until(lambda: reconstruction.state() is tango.DevState.ALARM, 15.0)
    assert "silent" in reconstruction.status()


def test_axes_are_actuators_and_tell_where_they_stand(lab: Lab) -> None:
    theta = TangoAxis("theta", TangoDevice(lab.url("goniometer/theta")))
    theta.move(3.0)
    until(lambda: not theta.moving)
    followed = obeying(lab.settings, virtual_axes(lab.url(f"goniometer/{axis}") for axis in ("theta", "chi")))
    assert obeying(followed, {"theta": "another"}) is followed
    assert AxisPositions(followed.twin.axes)() == {"theta": 3.0, "chi": 90.0}
    chi = TangoAxis("chi", TangoDevice(lab.url("goniometer/chi")))
    chi.move(170.0)  # at 1 degree a second
    assert chi.moving
    chi.abort()
    assert not chi.moving
    assert (chi.name, 90.0 <= chi.read() < 170.0) == ("chi", True)
    with pytest.raises(DeviceError, match="goniometer/theta"):
        theta.move(1e6)


def test_a_device_that_is_not_there_is_a_device_error(lab: Lab) -> None:
    (port,) = free_ports(1)
    nowhere = device_url("127.0.0.1", port, "braggloop/goniometer/theta")
    assert not alive(nowhere)
    with pytest.raises(DeviceError, match=f"{port}"):
        TangoDevice(nowhere).read("position")
    with pytest.raises(DeviceError, match="did not answer"):
        WorkerRequests(f"tcp://127.0.0.1:{port}", timeout_s=0.1)("health")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--settings", "/no/such.toml"], 1, "/no/such.toml"),
        (["-nodb", "-ORBendPoint", "giop:tcp:192.0.2.1:1"], 1, "cannot listen at giop:tcp:192.0.2.1:1"),
    ],
)
def test_a_server_that_cannot_start_says_why_in_one_line(arguments: list[str], code: int, words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tango_devices", "Braggloop", "test", *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code
    assert words in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_device_with_wrong_settings_comes_up_in_fault_and_init_tries_again(database: str, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("[worker]\nresults = 'nowhere'\n")
    names = ("id01/goniometer/omega", "id01/reconstruction/1")
    subprocess.run(
        [sys.executable, str(REGISTER), "--server", "Braggloop/test", f"VirtualGoniometer::{names[0]}",
         f"Reconstruction::{names[1]}", "--settings", str(file)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    with Children(tmp_path / "logs") as children:
        children.start("devices", "tango_devices", "Braggloop", "test")
        urls = [f"tango://{database}/{name}" for name in names]
        children.wait_until(lambda: all(alive(url) for url in urls), "the devices", START_S)
        omega, reconstruction = (tango.DeviceProxy(url) for url in urls)
        assert omega.state() is reconstruction.state() is tango.DevState.FAULT
        assert "axis 'omega' is not in goniometer.axes" in omega.status()
        assert "worker.results nowhere" in reconstruction.status()
        with pytest.raises(tango.DevFailed, match="mend the settings, then Init"):
            omega.Abort()
        file.write_text("[goniometer.axes.omega]\nposition = 3.0\n")
        omega.Init()
        assert (omega.state(), omega.position) == (tango.DevState.ON, 3.0)


def test_sigterm_in_mid_series_ends_the_server_in_order(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    log = tmp_path / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tango_devices", *device_server_arguments(lab.settings, lab.port, lab.file)],
            stdout=output, stderr=output,
        )  # fmt: skip
    try:
        until(lambda: alive(lab.url("streamer/1")), START_S)
        streamer = lab.proxy("streamer/1")
        streamer.Start()
        until(lambda: "waits for a receiver" in streamer.status(), 20.0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20.0) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Tango database of its own (SQLite, PyTango's); this process keeps the first it meets, so names say which."""
    (port,) = free_ports(1)
    log = tmp_path / "database.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tango.databaseds.database", "--port", str(port), "2"],
            cwd=tmp_path, stdout=output, stderr=output, env={**os.environ, "TANGO_HOST": f"127.0.0.1:{port}"},
        )  # fmt: skip
    try:
        until(lambda: process.poll() is None and alive(f"tango://127.0.0.1:{port}/sys/database/2"), START_S)
        monkeypatch.setenv("TANGO_HOST", f"127.0.0.1:{port}")
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def test_with_a_database_devices_are_registered_as_usual_and_it_overrules_the_settings(
    database: str, tmp_path: Path
) -> None:
    lab = Lab(tmp_path)
    name = "id01/goniometer/theta"
    subprocess.run(
        [sys.executable, str(REGISTER), "--server", "Braggloop/test", f"VirtualGoniometer::{name}",
         "Reconstruction::id01/reconstruction/1", "--settings", str(lab.file)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    known = tango.Database(*database.split(":"))
    known.put_device_attribute_property("id01/reconstruction/1", {"rFactor": {"max_alarm": ["0.9"]}})
    with Children(tmp_path / "logs") as children:
        children.start("devices", "tango_devices", "Braggloop", "test")
        urls = [f"tango://{database}/{device}" for device in (name, "id01/reconstruction/1")]
        children.wait_until(lambda: all(alive(url) for url in urls), "the devices", START_S)
        theta, reconstruction = (tango.DeviceProxy(url) for url in urls)
        theta.position = 1.0
        until(lambda: theta.state() is tango.DevState.ON)
        assert (theta.position, theta.velocity) == (1.0, 100.0)
        assert reconstruction.get_attribute_config("rFactor").alarms.max_alarm == "0.9"


REGISTER = Path(__file__).resolve().parents[2] / "deploy" / "tango" / "register.py"


@pytest.mark.slow
def test_events_resume_after_the_server_was_killed(tmp_path: Path) -> None:
    lab, events = Lab(tmp_path), queue.Queue[Any]()
    with Children(tmp_path / "first") as children:
        lab.start(children)
        theta = lab.proxy("goniometer/theta")
        theta.subscribe_event("position", tango.EventType.CHANGE_EVENT, events.put)
        assert events.get(timeout=5.0).attr_value.value == 0.0
    with Children(tmp_path / "second") as children:
        lab.start(children)
        began_s = time.monotonic()
        target = 1.0
        while not _brought(events, target):
            assert time.monotonic() - began_s < 30.0, "no event after the restart"
            target = 1.0 - target
            with contextlib.suppress(tango.DevFailed):
                theta.position = target
            time.sleep(0.5)


def _brought(events: queue.Queue[Any], value: float) -> bool:
    found = False
    while not events.empty():
        event = events.get()
        found = found or (not event.err and event.attr_value.value == value)
    return found
