"""A source whose next series is the one that was announced."""

from __future__ import annotations

from service.announcement import Announcement
from service.ports import Announceable, FrameSource
from service.records import Frame, Message, SeriesEnd, SeriesStart


class Announced:
    """Tells the next series of a source as it was announced, and the ones after it as the source has them.

    Frames beyond those that were announced are left out. One thread may receive.
    """

    def __init__(self, source: FrameSource, announcement: Announcement) -> None:
        self._source = source
        self._announcement: Announcement | None = announcement
        self._begun = False
        if isinstance(source, Announceable):
            source.announce(announcement)

    def receive(self, timeout_s: float) -> Message | None:
        message = self._source.receive(timeout_s)
        if isinstance(message, SeriesEnd) or (isinstance(message, SeriesStart) and self._begun):
            self._announcement = None
        if self._announcement is None:
            return message
        match message:
            case SeriesStart():
                self._begun = True
                return self._announcement.of_start(message)
            case Frame():
                return self._placed(self._announcement, message)
        return message

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _placed(self, announcement: Announcement, frame: Frame) -> Frame | None:
        frames = announcement.number_of_images
        return None if frames is not None and frame.image_id >= frames else announcement.of_frame(frame)
