"""A recorded scan through the whole service: OMP_NUM_THREADS=1 python -m benchmarks.replay SCAN

FrameStreamer replays the scan at a set rate through ZeroMQ to the worker; a Tango client waits for the change event of
Reconstruction. Then the same scan is reconstructed offline, and the two objects are compared. Both run on one thread:
the FFTs of other thread counts round differently, and phase retrieval amplifies what rounding begins.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tango

from service.adapters.requests import WorkerRequests
from service.adapters.tango import TangoDevice, alive, device_server_arguments, device_urls
from service.commands.children import Children, free_ports, local_wiring
from service.commands.reconstruct import read_volume
from service.compose import runners
from service.errors import DeviceError
from service.pipeline import run
from service.records import Reconstruction
from service.results.nexus import read_result
from service.settings import Settings, load_settings, to_environment

START_S = 120.0
EVENT_S = 900.0
LOOK_S = 0.002


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", type=Path)
    parser.add_argument("--rate", type=float, default=200.0, help="frames a second")
    parser.add_argument(
        "--size", type=int, default=64, help="edge of the cube that is inverted; 0: chosen from the data"
    )
    parser.add_argument("--direct", action="store_true", help="also show what the network tells, and say when")
    options = parser.parse_args(arguments)
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("set OMP_NUM_THREADS=1 before: libraries that are loaded already have their threads")
    phasing, tiers = {"size": options.size}, {"direct": options.direct}
    with tempfile.TemporaryDirectory() as folder:
        live, figures = streamed(options.scan, options.rate, phasing, tiers, Path(folder))
        offline = run(
            read_volume(options.scan, "", Settings(), lambda share: None),
            load_settings(None, {"phasing": phasing, "tiers": tiers}),
            tiers=runners().tiers,
            show=lambda _: None,
        )
    figures["identical object"] = bool(np.array_equal(live.object_, offline.object_))
    figures["largest difference, share of the maximum"] = float(
        np.abs(live.object_ - offline.object_).max() / np.abs(offline.object_).max()
    )
    print(json.dumps(figures, indent=1))
    return 0


def streamed(
    scan: Path, rate_hz: float, phasing: dict[str, Any], tiers: dict[str, Any], folder: Path
) -> tuple[Reconstruction, dict[str, Any]]:
    frames, results, requests, devices_port = free_ports(4)
    overrides = {
        "out": folder / "results",
        "spool": {"folder": folder / "spool"},
        "phasing": phasing,
        "tiers": tiers,
        **local_wiring(frames, results, requests),
    }
    settings, environment = load_settings(None, overrides), to_environment(overrides)
    with Children(folder / "logs") as children:
        children.start("worker", "service.cli", "worker", environment=environment)
        arguments = device_server_arguments(settings, devices_port)
        children.start("devices", "tango_devices", *arguments, environment=environment)
        devices = device_urls(settings, devices_port)
        children.wait_until(lambda: all(alive(device) for device in devices), "devices", START_S)
        worker = WorkerRequests(settings.worker.requests)
        children.wait_until(lambda: _well(worker), "worker", START_S)
        live, figures = _played(devices, scan.resolve(), rate_hz)
        if tiers["direct"]:  # the first series of a worker waits for new pages of memory
            result = TangoDevice(_one(devices, "reconstruction"))
            children.wait_until(lambda: bool(result.read("lastPicture")), "picture", START_S)
            figures["once more"] = _played(devices, scan.resolve(), rate_hz)[1]
        return live, figures


def _one(devices: Sequence[str], kind: str) -> str:
    return next(device for device in devices if f"/{kind}/" in device)


def _played(devices: Sequence[str], scan: Path, rate_hz: float) -> tuple[Reconstruction, dict[str, Any]]:
    streamer = TangoDevice(_one(devices, "streamer"))
    result = TangoDevice(_one(devices, "reconstruction"))
    proxy = tango.DeviceProxy(_one(devices, "reconstruction"))
    events: queue.Queue[tuple[float, int]] = queue.Queue()
    shown_s: list[float] = []
    before = int(result.read("sequence"))

    def told(event: tango.EventData) -> None:
        if not event.err and event.attr_value.value > before:
            events.put((time.monotonic(), int(event.attr_value.value)))

    def shown(event: tango.EventData) -> None:
        if not event.err and event.attr_value.value == "direct":
            shown_s.append(time.monotonic())

    subscriptions = [
        proxy.subscribe_event(name, tango.EventType.CHANGE_EVENT, heard)
        for name, heard in (("sequence", told), ("tier", shown))
    ]
    for attribute, value in {"source": "replay", "path": str(scan), "rate": rate_hz}.items():
        streamer.write(attribute, value)
    began_s = time.monotonic()
    streamer.command("Start")
    while streamer.state == "RUNNING":
        time.sleep(LOOK_S)
    last_frame_s = time.monotonic()
    event_s, _ = events.get(timeout=EVENT_S)
    for subscription in subscriptions:
        proxy.unsubscribe_event(subscription)
    live = read_result(Path(result.read("lastFile")))
    accounting = live.accounting
    return live, {
        "rate asked, frames a second": rate_hz,
        "seconds of streaming": round(last_frame_s - began_s, 3),
        "dropped by the streamer": int(streamer.read("dropped")),
        "sent": accounting.sent,
        "received": accounting.received,
        "missed": accounting.missed,
        "rejected": accounting.rejected,
        "seconds from last frame to event": round(event_s - last_frame_s, 3),
        "seconds from last frame to the network's crystal": [round(at - last_frame_s, 3) for at in shown_s],
        "latency as the worker tells it, s": round(result.read("latency"), 3),
        "stages, s": {
            name: round(float(seconds), 3)
            for name, seconds in zip(result.read("latencyStages"), result.read("latencies"), strict=True)
        },
    }


def _well(worker: WorkerRequests) -> bool:
    try:
        return bool(worker("health")["ok"])
    except DeviceError:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
