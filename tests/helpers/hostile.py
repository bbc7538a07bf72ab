"""What may come in instead of a series: more than five hundred named sequences of payloads.

Every case is followed by an honest series in the tests: nothing may crash, and that series must come through whole.
The cases name their series 'hostile', so that nothing of theirs can belong to the honest one.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from service.wire import messages as wire
from tests.helpers.hostile_bytes import byte_cases
from tests.helpers.hostile_case import Case
from tests.helpers.hostile_scans import scan_cases
from tests.helpers.series import bragg_peak, series_of

__all__ = ["Case", "good_series", "hostile_cases"]


def hostile_cases() -> list[Case]:
    """Every case, always the same and in the same order."""
    return [*byte_cases(), *scan_cases()]


def good_series(name: str = "good", series_id: int = 1, counts: NDArray[Any] | None = None) -> list[bytes]:
    """An honest series as payloads, bslz4; `counts` [rocking, row, column] are its images."""
    return [
        wire.encode(message, "bslz4")
        for message in series_of(bragg_peak() if counts is None else counts, name, series_id)
    ]
