"""A session by script, what `braggloop bliss-demo --no-tmux` runs: a scan, its crystal, an alignment, the pictures.

    python tour.py PICTURE.png

Its last line tells the figures as JSON. Run it with the lab's Python; without a screen, QT_QPA_PLATFORM=offscreen.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from typing import Any

import gevent
from bliss.common.plot import close_flint, get_flint
from bliss.common.scans import ascan
from bliss.config.static import get_config

RANGE_DEG, POINTS, COUNT_TIME_S = 0.5, 64, 0.01  # as wide as the pattern of the crystal
RESULT_S = 300.0  # on two cores that are busy
WINDOW_PX = (1500, 900)
FIGURES = ("seriesId", "seriesStatus", "rFactor", "resolution", "strainRms", "latency")
DRAWN_S = 2.0  # what Flint was told last is on its window


def main(picture: str) -> None:
    began_s = time.monotonic()
    session = get_config().get("lab")
    session.setup()
    here = dict(session.env_dict)
    try:
        told = _tour(here, picture)
    finally:
        close_flint()
    print(json.dumps({**told, "seconds": time.monotonic() - began_s}), flush=True)


def _tour(here: dict[str, Any], picture: str) -> dict[str, Any]:
    braggloop, theta, reconstruction = here["braggloop"], here["theta"], here["reconstruction"]
    print(">>> braggloop.show()", flush=True)
    _show(braggloop)
    get_flint().run_method("braggloop", "window().resize", list(WINDOW_PX), {})
    line = f"ascan(theta, {-RANGE_DEG}, {RANGE_DEG}, {POINTS - 1}, {COUNT_TIME_S}, frames, reconstruction)"
    print(f">>> {line}", flush=True)
    scan = ascan(theta, -RANGE_DEG, RANGE_DEG, POINTS - 1, COUNT_TIME_S, here["frames"], reconstruction)
    print(">>> braggloop.reconstruct(SCANS[-1])", flush=True)
    print(braggloop.reconstruct(scan, wait_s=RESULT_S), flush=True)
    print(">>> braggloop.align()", flush=True)
    alignment = braggloop.align()
    gevent.sleep(DRAWN_S)
    braggloop.save_pictures(picture)
    return {
        "points": len(scan.streams["axis:theta"]),
        **_figures(reconstruction.device),
        "outcome": alignment.outcome,
        "exposures": alignment.exposures,
        "best": dict(alignment.best),
        "picture": picture,
    }


def _show(braggloop: Any) -> None:
    """Show pictures; a Flint that hangs as it starts, which is seen now and then, is closed and opened once more."""
    try:
        braggloop.show()
    except RuntimeError as error:
        print(error, flush=True)
        close_flint()
        braggloop.show()


def _figures(reconstruction: Any) -> dict[str, Any]:
    """The figures of the last result, None for one that it has not."""
    values = [reading.value for reading in reconstruction.read_attributes(list(FIGURES))]
    unknown = [isinstance(value, float) and math.isnan(value) for value in values]
    return {name: None if no else value for name, value, no in zip(FIGURES, values, unknown, strict=True)}


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Exception as error:  # noqa: BLE001 - whoever started it wants one line
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)  # at once: Tango's threads may abort an interpreter that winds down
