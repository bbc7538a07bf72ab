"""An alignment by a figure of Reconstruction whose worker dies. worker.py DEVICE"""

from __future__ import annotations

import sys

import gevent
from bliss.common.scans import ct
from braggloop_bliss.counters import TangoCounters
from lab_session import opened, tell

SETTINGS = {"theta": {"width": 0.2, "tolerance": 0.01, "largest_step": 0.5}}

here = opened()
braggloop, theta = here["braggloop"], here["theta"]
figures = TangoCounters({"name": "figures", "device": sys.argv[1], "valid_if": "workerAnswers"})
flux = figures.counters.fluxCounts
theta.velocity = 0.1


def counted():
    scan = ct(0.01, figures)
    return {name: float(scan.streams[f"figures:{name}"][-1]) for name in ("fluxCounts", "sequence")}


def say_when_moving():
    while not theta.is_moving:
        gevent.sleep(0.01)
    print("moving", flush=True)


before = counted()
gevent.spawn(say_when_moving)
result = braggloop.align(theta, counter=flux, settings=SETTINGS, follow=True)
tell(
    before=before,
    outcome=result.outcome,
    reason=result.reason,
    moving=theta.is_moving,
    after=counted(),
    status=figures.device.status(),
)
