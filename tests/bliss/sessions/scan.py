"""A step scan of a virtual axis with all counters of both devices."""

from __future__ import annotations

import os

from bliss.common.scans import ascan
from lab_session import opened, tell

POINTS = 20

here = opened()
devices = {name: here[name] for name in ("reconstruction", "alignment")}
scan = ascan(here["theta"], -0.5, 0.5, POINTS, 0.01, here["rehearsal"], *devices.values())
# What a device was asked is read before anything else asks it; sessions before this one asked too.
mine = f"PID {os.getpid()})"
tell(
    asked={
        name: [line for line in counters.device.black_box(50) if mine in line] for name, counters in devices.items()
    },
    points=POINTS + 1,
    values={name: stream[:].tolist() for name, stream in scan.streams.items()},
    units={counter.name: counter.unit for counters in devices.values() for counter in counters.counters},
    info={name: here[name].__info__() for name in (*devices, "braggloop")},
    counter=here["reconstruction"].counters.rFactor.__info__(),
)
