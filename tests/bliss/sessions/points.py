"""The exposures of alignments, as their scans have them."""

from __future__ import annotations

from bliss.common.standard import mv
from lab_session import opened, tell

here = opened()
rehearsing, theta, chi, rehearsal = (here[name] for name in ("rehearsing", "theta", "chi", "rehearsal"))

mv(theta, 0.5, chi, 90.0)
result = rehearsing.align()
scan = result.scan

drawn = rehearsal.drawn


def failing():
    failing.readings += 1
    if failing.readings == 3:
        raise OSError("the diode has no power")
    return drawn()


failing.readings = 0
rehearsal.drawn = failing
mv(theta, 0.5, chi, 90.0)
lost = rehearsing.align()

tell(
    exposures=result.exposures,
    best_value=result.best_value,
    counted=result.counted,
    peak=rehearsal.height,
    values={name: stream[:].tolist() for name, stream in scan.streams.items()},
    reason=scan.scan_info["end_reason"],
    title=scan.scan_info["title"],
    plots=scan.scan_info["plots"],
    known=scan.scan_info["instrument"]["align"],
    lost={"outcome": lost.outcome, "reason": lost.reason, "points": len(lost.scan.streams["axis:theta"])},
)
