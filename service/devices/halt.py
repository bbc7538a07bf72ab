"""How a relay is told to end, and what wakes whoever waits in it."""

from __future__ import annotations

import threading


class Halt:
    """The end of a relay: after the current frame with the end of the series, or at once, giving it up.

    `changed` is notified of it, and of whatever else the relay waits for.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._stopped = self._aborted = False

    def stop(self) -> None:
        with self.changed:
            self._stopped = True
            self.changed.notify_all()

    def abort(self) -> None:
        with self.changed:
            self._stopped = self._aborted = True
            self.changed.notify_all()

    @property
    def aborted(self) -> bool:
        return self._aborted

    def wait(self, timeout_s: float) -> bool:
        """Return True at once where told to end, else False after `timeout_s`."""
        with self.changed:
            return self.changed.wait_for(lambda: self._stopped, timeout_s)

    @property
    def called(self) -> bool:
        return self._stopped
