"""A step scan of a virtual axis with all counters of both devices."""

from __future__ import annotations

import os
import time

from bliss.common.scans import ascan
from lab_session import opened, tell

POINTS = 20

here = opened()
devices = {name: here[name] for name in ("reconstruction", "alignment")}
spent_s: list[float] = []


def timed(read_all):
    def read(*counters):
        begun_s = time.perf_counter()
        readings = read_all(*counters)
        spent_s.append(time.perf_counter() - begun_s)
        return readings

    return read


for counters in devices.values():
    counters.read_all = timed(counters.read_all)

scan = ascan(here["theta"], -0.5, 0.5, POINTS, 0.01, here["rehearsal"], *devices.values())
# What a device was asked is read before anything else asks it; sessions before this one asked too.
mine = f"PID {os.getpid()})"
tell(
    asked={
        name: [line for line in counters.device.black_box(50) if mine in line] for name, counters in devices.items()
    },
    points=POINTS + 1,
    spent_s=list(spent_s),
    values={name: stream[:].tolist() for name, stream in scan.streams.items()},
    units={counter.name: counter.unit for counters in devices.values() for counter in counters.counters},
    info={name: here[name].__info__() for name in (*devices, "braggloop")},
    counter=here["reconstruction"].counters.rFactor.__info__(),
)
