"""Is a stream there, and what is in it? Looks for a stated time, then lets go."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import zmq

from service.adapters.zmq import FRAMES_QUEUED, ZmqFrameSource
from service.commands.report import Report
from service.errors import SettingsError, WireError
from service.ports import EndOfStream, FrameSource
from service.records import Frame, Message, SeriesEnd, SeriesStart

WARNING = (
    "PUSH deals frames out among its receivers: what is taken here, and up to "
    f"{FRAMES_QUEUED} frames in the queue behind it, never reaches a worker on the same endpoint. "
    "Check before the worker starts, or between scans."
)
OPEN_REQUESTS = (
    "warning: worker.requests {} is not bound to this machine alone: whoever reaches it may change the settings and "
    "write files, there is no password. Bind it to 127.0.0.1, or to a network that you trust."
)
POLL_S = 0.2
CONNECT_S = 1.0


def check_endpoint(endpoint: str, seconds: float, report: Report) -> bool:
    """Listen at `endpoint` for `seconds`, tell `report` what came, return whether any of it was stream v2.

    Raises SettingsError where ZeroMQ refuses the endpoint.
    """
    require_endpoint(endpoint)
    report.note(f"listening at {endpoint} for {seconds:g} s. {WARNING}")
    answers = somebody_answers(endpoint)
    source = ZmqFrameSource(endpoint)
    try:
        with report.progress() as advance:
            findings = look(source, endpoint, seconds, advance)
    finally:
        source.close()
    findings.answers = answers
    report.table(findings.verdict, findings.rows())
    report.finish({"ok": findings.found, **findings.record()})
    return findings.found


def require_endpoint(endpoint: str) -> None:
    """Raise SettingsError where ZeroMQ would refuse the endpoint; takes no frame from it."""
    with zmq.Context() as context, context.socket(zmq.SUB) as probe:  # a PUSH does not deal to a SUB
        try:
            probe.connect(endpoint)
        except zmq.ZMQError as error:
            raise SettingsError(
                f"endpoint {endpoint}: {error}; expected something like tcp://detector:31001"
            ) from error


def require_address(endpoint: str) -> None:
    """Raise SettingsError where ZeroMQ could never bind `endpoint`; one that is taken now may be free in a moment."""
    if endpoint.startswith("ipc://"):
        return  # binding would take the file away from whom it belongs to
    with zmq.Context() as context, context.socket(zmq.SUB) as probe:
        try:
            probe.bind(endpoint)
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE:
                raise SettingsError(
                    f"endpoint {endpoint}: {error}; expected an address of this machine like tcp://0.0.0.0:31002"
                ) from error


def only_here(endpoint: str) -> bool:
    """Whether no other machine reaches an endpoint that is bound here."""
    host = endpoint.removeprefix("tcp://").rpartition(":")[0]
    return endpoint.startswith("ipc://") or host.startswith("127.") or host in ("localhost", "lo", "[::1]")


def somebody_answers(endpoint: str) -> bool | None:
    """Whether a process has the port of a tcp endpoint open, None where that cannot be asked."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    if not (endpoint.startswith("tcp://") and host and port.isdigit()):
        return None
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except (OSError, OverflowError):
        return False
    return True


@dataclass(kw_only=True)
class Findings:
    """What was seen on an endpoint."""

    endpoint: str
    answers: bool | None = None
    listened_s: float = 0.0
    messages: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    series: dict[str, Any] = field(default_factory=dict)
    frame: dict[str, Any] = field(default_factory=dict)
    first_s: float = 0.0
    last_s: float = 0.0

    @property
    def found(self) -> bool:
        """Whether a message of stream v2 came."""
        return self.messages.total() > len(self.unreadable)

    @property
    def verdict(self) -> str:
        if self.found:
            return "stream found"
        return "something speaks there, but not stream v2" if self.unreadable else "no stream"

    @property
    def rate_hz(self) -> float:
        """Frames a second between the first and the last frame."""
        frames, span_s = self.messages["image"], self.last_s - self.first_s
        return (frames - 1) / span_s if frames > 1 and span_s > 0 else 0.0

    def record(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        return {
            "endpoint": self.endpoint,
            "answers": self.answers,
            "stream": self.found,
            "verdict": self.verdict,
            "listened_s": round(self.listened_s, 3),
            "taken": dict(self.messages),
            "unreadable": self.unreadable,
            "rate_hz": round(self.rate_hz, 3),
            "series": self.series,
            "frame": self.frame,
            "warning": WARNING,
        }

    def rows(self) -> list[tuple[str, str]]:
        """Return the same for people."""
        taken = ", ".join(f"{count} {kind}" for kind, count in sorted(self.messages.items())) or "nothing"
        rows = [("endpoint", self.endpoint), ("listened", f"{self.listened_s:.1f} s"), ("taken", taken)]
        rows += [("nobody", "has this port open: is the sender up, and is it bound?")] if self.answers is False else []
        rows += [("rate", f"{self.rate_hz:.1f} frames/s")] if self.rate_hz else []
        rows += [("unreadable", self.unreadable[0])] if self.unreadable else []
        return rows + [(name.replace("_", " "), str(value)) for name, value in {**self.series, **self.frame}.items()]


def look(source: FrameSource, endpoint: str, seconds: float, advance: Callable[[str, float], None]) -> Findings:
    """Read whatever comes within `seconds` and say what it was; an unreadable message is told, not raised."""
    findings, began_s = Findings(endpoint=endpoint), time.monotonic()
    while (elapsed_s := time.monotonic() - began_s) < seconds:
        advance(f"listening, {findings.messages['image']} frames", elapsed_s / seconds)
        try:
            message = source.receive(min(POLL_S, seconds - elapsed_s))
        except WireError as error:
            findings.messages["unreadable"] += 1
            findings.unreadable.append(str(error))
            continue
        except EndOfStream:
            break
        if message is not None:
            _note(findings, message, time.monotonic() - began_s)
    findings.listened_s = time.monotonic() - began_s
    return findings


def _note(findings: Findings, message: Message, at_s: float) -> None:
    if isinstance(message, SeriesStart):
        findings.messages["start"] += 1
        findings.series = _series_facts(message)
    elif isinstance(message, SeriesEnd):
        findings.messages["end"] += 1
    else:
        findings.first_s = findings.first_s if findings.messages["image"] else at_s
        findings.last_s = at_s
        findings.messages["image"] += 1
        findings.frame = _frame_facts(message)


def _series_facts(start: SeriesStart) -> dict[str, Any]:
    return {
        "series_id": start.series_id,
        "series_unique_id": start.series_unique_id,
        "announced_frames": start.number_of_images,
        "shape": list(start.shape),
        "dtype": start.dtype,
        "instrument": start.user_data.get("instrument"),
        "rocking_axis": start.user_data.get("rocking_axis"),
        "energy_kev": start.user_data.get("energy_kev"),
    }


def _frame_facts(frame: Frame) -> dict[str, Any]:
    return {
        "last_series_id": frame.series_id,
        "last_image_id": frame.image_id,
        "channels": {name: f"{data.dtype} {'x'.join(map(str, data.shape))}" for name, data in frame.data.items()},
        "positions": dict(frame.positions),
        "counts_in_last_frame": sum(int(data.sum(dtype="int64")) for data in frame.data.values()),
    }
