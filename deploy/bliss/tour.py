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

RANGE_DEG, POINTS, COUNT_TIME_S = 0.4, 20, 0.01
RESULT_S = 300.0
WINDOW_PX = (1500, 900)
FIGURES = ("seriesId", "seriesStatus", "rFactor", "resolution", "strainRms", "latency")
DRAWN_S = 1.0  # what Flint was told last is on its window


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
    braggloop, theta = here["braggloop"], here["theta"]
    print(">>> braggloop.show()", flush=True)
    braggloop.show()
    get_flint().run_method("braggloop", "window().resize", list(WINDOW_PX), {})
    print(f">>> ascan(theta, {-RANGE_DEG}, {RANGE_DEG}, {POINTS}, ...)", flush=True)
    scan = ascan(
        theta, -RANGE_DEG, RANGE_DEG, POINTS, COUNT_TIME_S, here["rehearsal"], here["reconstruction"], here["alignment"]
    )
    crystal = _crystal(here["reconstruction"].device)
    print(braggloop.status(), flush=True)
    print(">>> braggloop.align()", flush=True)
    alignment = braggloop.align()
    gevent.sleep(DRAWN_S)
    braggloop.save_pictures(picture)
    return {
        "points": len(scan.streams["axis:theta"]),
        **crystal,
        "outcome": alignment.outcome,
        "exposures": alignment.exposures,
        "best": dict(alignment.best),
        "picture": picture,
    }


def _crystal(reconstruction: Any) -> dict[str, Any]:
    """Have a rocking scan streamed and return the figures of its crystal; raise RuntimeError where none comes."""
    from bliss.common.tango import DeviceProxy

    streamer, before = DeviceProxy("braggloop/streamer/1"), reconstruction.sequence
    streamer.Start()
    until_s = time.monotonic() + RESULT_S
    while reconstruction.sequence == before:
        if time.monotonic() > until_s:
            raise RuntimeError(f"no result within {RESULT_S:g} s: {reconstruction.status()}")
        gevent.sleep(0.2)
    values = zip(FIGURES, (reading.value for reading in reconstruction.read_attributes(list(FIGURES))), strict=True)
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values}


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Exception as error:  # noqa: BLE001 - whoever started it wants one line
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)  # at once: Tango's threads may abort an interpreter that winds down
