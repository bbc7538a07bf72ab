"""The crystal of the twin brought into the beam by align(), from the starts of a JSON argument."""

from __future__ import annotations

import json
import sys
import time

from bliss.common.standard import mv
from lab_session import opened, tell

here = opened()
braggloop, axes = here["braggloop"], [here[name] for name in ("x", "y", "eta")]
found = []
for start in json.loads(sys.argv[1]):
    mv(*(item for axis in axes for item in (axis, start[axis.name])))
    result = braggloop.align()
    found.append(
        {
            "outcome": result.outcome,
            "exposures": result.exposures,
            "positions": dict(result.positions),
            "ended_s": time.monotonic(),
        }
    )
tell(found=found)
