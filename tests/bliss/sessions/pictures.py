"""Pictures in a Flint without a screen: of a scan and an alignment, and again in the Flint after one that was killed.

pictures.py FOLDER: where before.png and after.png go
"""

from __future__ import annotations

import os
import sys
import time

import gevent
from bliss.common.plot import close_flint, get_flint
from bliss.common.scans import ascan
from lab_session import opened, refusal, tell

os.environ.update(QT_QPA_PLATFORM="offscreen", DISPLAY=":offscreen")  # Bliss opens no Flint without a name
FOLDER = sys.argv[1]
WINDOW_PX = (1500, 900)
PATIENCE_S = 60.0
PLOTS = ("amplitude", "phase", "strain", "measured", "repaired", "path")

here = opened()
braggloop, theta = here["braggloop"], here["theta"]


def until(ready):
    until_s = time.monotonic() + PATIENCE_S
    while not ready():
        assert time.monotonic() < until_s, str(braggloop.status())
        gevent.sleep(0.2)


def pictures():
    return braggloop.status().known["pictures"]


def titles():
    return {name: get_flint().run_method(f"braggloop:{name}", "getGraphTitle", [], {}) for name in PLOTS}


def enlarged():
    get_flint().run_method("braggloop", "window().resize", list(WINDOW_PX), {})


try:
    early = refusal(lambda: braggloop.save_pictures("nothing.png"))
    braggloop.show()
    enlarged()
    empty = titles()
    scan = ascan(theta, -0.6, 0.6, 63, 0.01, here["frames"], save=False)
    braggloop.reconstruct(scan)
    braggloop.align()
    until(lambda: "done" in titles()["amplitude"] and "aligned" in titles()["path"])
    drawn = titles()
    braggloop.save_pictures(f"{FOLDER}/before.png")

    get_flint().kill()
    until(lambda: "Flint is closed" in pictures())
    closed, counted = pictures(), here["reconstruction"].read_all(here["reconstruction"].counters.rFactor)[0]
    get_flint()
    until(lambda: get_flint().plot_exists("braggloop") and pictures() == "shown in Flint")
    enlarged()
    gevent.sleep(1.0)  # it is laid out anew
    again = titles()
    braggloop.save_pictures(f"{FOLDER}/after.png")
    braggloop.hide()
    hidden = not get_flint().plot_exists("braggloop")
finally:
    close_flint()

tell(early=early, empty=empty, drawn=drawn, closed=closed, counted=counted, again=again, hidden=hidden)
