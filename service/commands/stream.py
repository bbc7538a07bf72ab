"""`braggloop stream`: the streamer without Tango, until its source ends or Ctrl-C."""

from __future__ import annotations

from service.commands.check import require_address
from service.commands.children import ending
from service.commands.report import Report
from service.compose import streamer as make_streamer
from service.devices.status import State
from service.devices.streamer import StreamerStatus
from service.errors import SettingsError, StopError
from service.settings import Settings

LOOK_S = 0.2


def stream(settings: Settings, report: Report) -> None:
    """Stream one pass (or many, with `streamer.loop`) and tell how many frames left.

    Ctrl-C or SIGTERM ends the series after the current frame. Raises StopError where the streamer fails,
    SettingsError where a path is missing, the endpoint is no address or frames would wait for triggers.
    """
    if settings.streamer.source != "twin" and not settings.streamer.path:
        raise SettingsError(f"--source {settings.streamer.source} needs --path")
    if settings.streamer.trigger != "internal":
        raise SettingsError("streamer.trigger software: only FrameStreamer takes triggers; `braggloop serve` has one")
    require_address(settings.streamer.endpoint)
    report.note(f"{settings.streamer.source} to {settings.streamer.endpoint}, {settings.streamer.rate_hz:g} frames/s")
    streamer = make_streamer(settings)
    try:
        with ending() as ended, report.progress() as advance:
            streamer.start()
            status = streamer.status
            while status.state is State.RUNNING:
                advance(status.message, status.progress_percent / 100.0)
                if ended.is_set():
                    streamer.stop()
                status = streamer.wait(status, LOOK_S)
    finally:
        streamer.close()
    if status.state is State.FAULT:
        raise StopError(status.message.removesuffix("; Reset acknowledges"))  # there is no device to reset
    report.table("streamed", _rows(status))
    report.finish(_record(status))


def _rows(status: StreamerStatus) -> list[tuple[str, str]]:
    return [
        ("endpoint", status.endpoint),
        ("series", f"{status.series_id} ({status.series_unique_id})"),
        ("frames", f"{status.sent} sent, {status.dropped} dropped"),
        ("rate", f"{status.measured_rate_hz:.1f} frames/s"),
    ]


def _record(status: StreamerStatus) -> dict[str, object]:
    names = ("endpoint", "source", "series_id", "series_unique_id", "sent", "dropped", "measured_rate_hz")
    return {name: getattr(status, name) for name in names}
