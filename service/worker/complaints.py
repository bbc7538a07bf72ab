"""One line in the log for what is refused: the first of each kind at once, the others as a count now and then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from service.errors import one_line

EVERY_S = 5.0  # between two lines of one kind: a detector refuses as many messages a second as it sends


@dataclass(slots=True)
class _Kind:
    told_s: float
    reason: str
    untold: int = 0


class Complaints:
    """Warns of refused messages, each kind at most once in `EVERY_S`; used by one thread."""

    def __init__(self, log: logging.Logger, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._log, self._clock_s = log, clock_s
        self._kinds: dict[str, _Kind] = {}

    def tell(self, kind: str, reason: str) -> None:
        """Warn now where nothing of this kind was said lately, else count."""
        reason = one_line(reason)
        if kind not in self._kinds:
            self._log.warning("%s: %s", kind, reason)
            self._kinds[kind] = _Kind(self._clock_s(), reason)
            return
        known = self._kinds[kind]
        known.reason, known.untold = reason, known.untold + 1
        self._settle(kind, known)

    def catch_up(self) -> None:
        """Tell what was only counted, where it is time."""
        for kind, known in self._kinds.items():
            self._settle(kind, known)

    def _settle(self, kind: str, known: _Kind) -> None:
        now_s = self._clock_s()
        if known.untold and now_s - known.told_s >= EVERY_S:
            self._log.warning("%s: %d more, the last: %s", kind, known.untold, known.reason)
            known.told_s, known.untold = now_s, 0
