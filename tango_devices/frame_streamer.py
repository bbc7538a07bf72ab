"""FrameStreamer: streams frames of the twin, of a file or of LImA over ZeroMQ."""

from __future__ import annotations

from tango.server import command

from service.devices.streamer import StreamerStatus
from tango_devices.attributes import rendered
from tango_devices.controlled import ControlledDevice, refusals


class FrameStreamer(rendered(StreamerStatus, ControlledDevice)):  # type: ignore[misc]
    """Streams frames of the twin, of a file or of LImA over ZeroMQ PUSH, as DECTRIS stream v2."""

    status_class = StreamerStatus

    @command
    def Prepare(self) -> None:
        """Open source and endpoint; ON when done."""
        with refusals(self):
            self.controller.prepare()

    @command(doc_in="JSON: frames, count_time_s, positions (axis -> one, or one a frame), title, sample; all optional")
    def Announce(self, series: str) -> None:
        """Tell what is known of the next series, and of no other; refused while frames flow."""
        with refusals(self):
            self.controller.announce(series)

    @command
    def Start(self) -> None:
        """Stream; prepares where that was not done. RUNNING until the end of the source."""
        with refusals(self):
            self.controller.start()

    @command
    def Trigger(self) -> None:
        """Send one frame now; it has left or was dropped when this returns. Refused unless `trigger` is software."""
        with refusals(self):
            self.controller.trigger()

    @command
    def Stop(self) -> None:
        """End the series after the current frame; the receiver is told."""
        with refusals(self):
            self.controller.stop()

    @command
    def Abort(self) -> None:
        """Send no further frame and give the series up; the next one has a new name."""
        with refusals(self):
            self.controller.abort()

    @command
    def Reset(self) -> None:
        """Acknowledge a fault: let go of source and endpoint, STANDBY."""
        with refusals(self):
            self.controller.reset()
