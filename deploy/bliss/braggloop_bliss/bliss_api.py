"""All that is used of Bliss, and how: written on Bliss 2.1, compared with the sources of 2.2, 2.3 and 2.4.

Where versions part ways, it is settled here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bliss.common.axis import Axis
from bliss.common.counter import Counter, SamplingCounter, SamplingMode
from bliss.common.logtools import log_warning
from bliss.common.motor_group import Group
from bliss.common.scans import DEFAULT_CHAIN
from bliss.common.tango import DevFailed, DeviceProxy
from bliss.controllers.counter import SamplingCounterController
from bliss.scanning.scan import Scan

from braggloop_bliss.lines import one_line

__all__ = [
    "Axis",
    "Counter",
    "DevFailed",
    "DeviceProxy",
    "SamplingCounter",
    "SamplingCounterController",
    "SamplingMode",
    "counted",
    "flint_of_session",
    "limits_of",
    "log_warning",
    "move",
    "stop",
]


def counted(counter: Counter, count_time_s: float) -> float:
    """Count for so long, as `ct` does but without a word, and return the counter's value; nothing is saved."""
    how = {"type": "ct", "npoints": 1, "count_time": count_time_s}
    scan = Scan(
        DEFAULT_CHAIN.get(how, [counter]), name="align", scan_info={**how, "title": f"align {counter.name}"}, save=False
    )
    scan.run()
    return float(scan.streams[counter.fullname][-1])


def flint_of_session(*, creation_allowed: bool) -> Any:
    """Return Flint's proxy, opened where it is not open and that is allowed; None where it is neither.

    Raises ImportError where Flint is not installed (from Bliss 2.2 on it is a package of its own), RuntimeError where
    it cannot be opened.
    """
    from bliss.common.plot import get_flint  # late: a session without Flint counts and aligns

    return get_flint(creation_allowed=creation_allowed, mandatory=creation_allowed)


def limits_of(axis: Axis) -> tuple[float, float]:
    """Return low and high limit in user units, infinite where there is none."""
    _ = axis.position  # an axis learns its limits from its controller when it is first used
    low, high = sorted(axis.limits)
    return low, high


def move(targets: Mapping[Axis, float]) -> None:
    """Move axes together and wait; Bliss refuses what is beyond a limit, and stops all where one fails."""
    Group(*targets).move(dict(targets))


def stop(axes: Iterable[Axis]) -> None:
    """Stop axes, all at once, and wait until they stand; raise RuntimeError once all were told, where one does not."""
    axes, failed = list(axes), []
    for act in (lambda axis: axis.stop(wait=False), lambda axis: axis.wait_move()):
        for axis in axes:
            try:
                act(axis)
            except Exception as error:  # noqa: BLE001 - the others must be stopped whatever this one says
                failed.append(f"{axis.name}: {one_line(error)}")
    if failed:
        raise RuntimeError(f"not stopped: {'; '.join(failed)}")
