"""What the lab's Python does: session.py align STARTS.json | cost ROUNDS POINTS | early UNTIL; then a line of JSON."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path

from bliss.common.scans import ascan
from bliss.common.standard import mv
from bliss.config.static import get_config

ROCKED_DEG, ROCKED_POINTS, ROCKED_S = (-0.5, 2.1), 200, 0.01  # the crystal reflects about 0
SETTLING_S = 0.25  # of each point: as slow as scans are

config = get_config()
session = config.get("lab")
session.setup()


def align(starts_file: str) -> list[dict[str, object]]:
    """Align from every start, with the plan that the file gives; seconds are those of this machine."""
    asked = json.loads(Path(starts_file).read_text(encoding="utf-8"))
    braggloop, counter = session.env_dict["braggloop"], config.get("crystal")
    axes = [config.get(name) for name in asked["axes"]]
    told = []
    for start in asked["starts"]:
        mv(*(item for axis in axes for item in (axis, start[axis.name])))
        began_s = time.monotonic()
        with contextlib.redirect_stdout(io.StringIO()):
            result = braggloop.align(
                *axes, counter=counter, count_time=asked["exposure_s"], settings=asked["axes"], **asked["plan"]
            )
        ended_s = time.monotonic()
        told.append(
            {
                "outcome": result.outcome, "positions": dict(result.positions), "exposures": result.exposures,
                "began_s": began_s, "ended_s": ended_s,
            }
        )  # fmt: skip
        print(
            f"{len(told)} of {len(asked['starts'])}: {result.outcome} ({result.reason}), {result.exposures} exposures",
            flush=True,
        )
    return told


def cost(rounds: str, points: str) -> dict[str, list[float]]:
    """Milliseconds between two points of scans of theta: with the twin's counter alone, and with all counters."""
    theta, crystal = (config.get(name) for name in ("theta", "crystal"))
    devices = [session.env_dict[name] for name in ("reconstruction", "alignment")]
    spent: dict[str, list[float]] = {"alone": [], "all": []}
    for _ in range(int(rounds)):
        for name, counters in (("alone", [crystal]), ("all", [crystal, *devices])):
            with contextlib.redirect_stdout(io.StringIO()):
                scan = ascan(theta, -0.1, 0.1, int(points), 0.01, *counters)
            epochs_s = scan.streams["timer:epoch"][:]
            spent[name] += (1e3 * (epochs_s[1:] - epochs_s[:-1])).tolist()
    return spent


def early(until: str) -> dict[str, dict[str, object]]:
    """What is kept of a rocking scan of 200 points, and of one that may end before."""
    told = {}
    for name, how in (("whole", {}), ("early", {"until": until})):
        scan = ascan(
            config.get("theta"), *ROCKED_DEG, ROCKED_POINTS - 1, ROCKED_S, config.get("frames"), run=False,
            sleep_time=SETTLING_S,
        )  # fmt: skip
        session.env_dict["braggloop"].reconstruct(scan, **how)
        told[name] = {**scan.scan_info["instrument"]["braggloop"], "points": len(scan.streams["axis:theta"])}
    return told


if __name__ == "__main__":
    found = {"align": align, "cost": cost, "early": early}[sys.argv[1]](*sys.argv[2:])
    print(json.dumps({"found": found}), flush=True)
    os._exit(0)  # Tango's threads may abort an interpreter that winds down
