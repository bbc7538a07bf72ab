"""All of it in one terminal: worker, Tango devices, a virtual scan and, where given, a recorded one."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from service.adapters.requests import WorkerRequests
from service.adapters.scans.recorded import open_scan
from service.adapters.tango import TangoDevice, alive, device_server_arguments, device_urls
from service.commands.children import Children, free_ports, local_wiring
from service.commands.report import Advance, Report
from service.errors import DeviceError, SettingsError
from service.records import Reconstruction
from service.results.durable import require_writable
from service.results.nexus import read_result
from service.results.summary import outcome_rows, result_record
from service.settings import Settings, to_environment

START_S = 90.0  # worker and devices import torch and Tango; a loaded machine takes its time
SERIES_S = 600.0  # a full-size recorded scan on two cores
PICTURE_S = 30.0  # it is drawn after the event, and may fail
LOOK_S = 0.2
STREAM_SHARE = 0.4  # of a series' bar; the inversion is the rest, and does not tell how far it is


def demo(settings: Settings, settings_file: Path | None, scan: Path | None, scan_name: str, report: Report) -> None:
    """Stream the twin, then `scan`, through ZeroMQ to the worker, and show what the Tango devices say of the results.

    Files stay in `settings.out`, what the processes said in its folder `logs`. Raises DeviceError where a process does
    not come up or a series gives no result, SourceError where `scan` is none.
    """
    began_s = time.monotonic()
    if scan is not None:
        open_scan(scan, scan_name)  # what is wrong with the file is told before the twin is waited for
    elif scan_name:
        raise SettingsError("--scan-name needs --scan FILE")
    require_writable(settings.out, "out")
    with (
        tempfile.TemporaryDirectory(prefix="braggloop-demo-") as spool,
        Children(settings.out / "logs") as children,
        report.progress() as advance,
    ):
        stage = _Stage(settings, settings_file, Path(spool), children, advance)
        results = [stage.play("a virtual crystal", source="twin")]
        if scan is not None:
            results.append(stage.play(scan.name, source="replay", path=str(scan.resolve()), scan=scan_name))
    for reconstruction, path, picture in results:
        report.table(f"series {reconstruction.series_id}", outcome_rows(reconstruction, path, picture))
    seconds = time.monotonic() - began_s
    report.note(f"done in {seconds:.0f} s; results and pictures are in {settings.out.resolve()}")
    report.finish({"seconds": seconds, "results": [result_record(*each) for each in results]})


class _Stage:
    """The processes of the demo, on ports that are free, and the two devices that run the show."""

    def __init__(
        self, settings: Settings, settings_file: Path | None, spool: Path, children: Children, advance: Advance
    ) -> None:
        self._children, self._advance = children, advance
        frames, results, requests, tango = free_ports(4)
        wiring = local_wiring(frames, results, requests)
        environment = to_environment(
            {
                "out": settings.out.resolve(),
                "spool": {"folder": spool},
                "phasing": settings.phasing.model_dump(exclude_defaults=True),
                **wiring,
            }
        )
        self._request = WorkerRequests(str(wiring["worker"]["requests"]))
        given = ["--settings", str(settings_file)] if settings_file else []
        children.start("worker", "service.cli", "worker", *given, environment=environment)
        arguments = device_server_arguments(settings, tango, settings_file)
        children.start("tango_devices", "tango_devices", *arguments, environment=environment)
        devices = device_urls(settings, tango)
        advance("starting worker and Tango devices", 0.0)
        children.wait_until(lambda: all(alive(device) for device in devices), "Tango devices", START_S)
        children.wait_until(self._worker_is_well, "the worker", START_S)
        self._streamer = TangoDevice(next(device for device in devices if "/streamer/" in device))
        self._results = TangoDevice(next(device for device in devices if "/reconstruction/" in device))

    def play(self, what: str, **source: str) -> tuple[Reconstruction, Path, Path | None]:
        """Stream one series by Tango commands, wait for its result in Tango, and read its file."""
        for attribute, value in source.items():
            self._streamer.write(attribute, value)
        self._streamer.command("Start")
        self._wait(lambda: self._streamer.state != "RUNNING", lambda: self._streaming(what))
        series = self._streamer.read("seriesUniqueId")
        self._wait(lambda: self._results.read("seriesUniqueId") == series, lambda: self._inverting(what))
        status, error = self._results.read("seriesStatus"), self._results.read("lastError")
        if status not in ("done", "incomplete"):
            raise DeviceError(f"{what}: series {status}: {error}")
        path = Path(self._results.read("lastFile"))
        return read_result(path), path, self._picture()

    def _picture(self) -> Path | None:
        until_s = time.monotonic() + PICTURE_S
        while not (picture := self._results.read("lastPicture")) and time.monotonic() < until_s:
            self._children.check()
            time.sleep(LOOK_S)
        return Path(picture) if picture else None

    def _worker_is_well(self) -> bool:
        try:
            return bool(self._request("health")["ok"])
        except DeviceError:
            return False

    def _wait(self, done: Callable[[], bool], tell: Callable[[], None]) -> None:
        until_s = time.monotonic() + SERIES_S
        while not done():
            self._children.check()
            tell()
            if time.monotonic() > until_s:
                raise DeviceError(f"nothing for {SERIES_S:g} s; see the logs beside the results")
            time.sleep(LOOK_S)
        if self._streamer.state == "FAULT":
            raise DeviceError(str(self._streamer.read("Status")))

    def _streaming(self, what: str) -> None:
        share = float(self._streamer.read("progress")) / 100.0
        self._advance(f"streaming {what}", STREAM_SHARE * share)

    def _inverting(self, what: str) -> None:
        self._advance(f"inverting {what}, {self._results.read('worker')}", STREAM_SHARE)
