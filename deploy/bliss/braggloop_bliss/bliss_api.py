"""All that is used of Bliss, and how: written on Bliss 2.1, compared with the sources of 2.2, 2.3 and 2.4.

Where versions part ways, it is settled here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import gevent
import redis
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
    "RedisError",
    "SamplingCounter",
    "SamplingCounterController",
    "SamplingMode",
    "counted",
    "limits_of",
    "log_warning",
    "move",
    "reason",
    "stop",
]

RedisError = redis.RedisError
STOP_S = 10.0  # an axis that brakes for longer than that is told of
POLL_S = 0.05


def reason(error: BaseException) -> str:
    """Return why Bliss failed, in one line: where it was for want of Beacon's Redis, that comes first."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, redis.ConnectionError):
            return f"Beacon's Redis does not answer ({one_line(cause)})"
        if isinstance(cause, redis.ResponseError) and "Function not found" in str(cause):
            return "Beacon's Redis has lost what it held, Bliss cannot count: leave the session and start it again"
        cause = cause.__cause__ or cause.__context__
    return one_line(error)


def counted(counter: Counter, count_time_s: float) -> float:
    """Count for so long, as `ct` does but without a word, and return the counter's value; nothing is saved."""
    how = {"type": "ct", "npoints": 1, "count_time": count_time_s}
    scan = Scan(
        DEFAULT_CHAIN.get(how, [counter]), name="align", scan_info={**how, "title": f"align {counter.name}"}, save=False
    )
    scan.run()
    return float(scan.streams[counter.fullname][-1])


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
    axes, failed = list(axes), {}
    for act in (lambda axis: axis.stop(wait=False), lambda axis: axis.wait_move()):
        for axis in axes:
            try:
                act(axis)
            except Exception as error:  # noqa: BLE001 - the others must be stopped whatever this one says
                failed[axis] = error
    # That Bliss failed does not tell where the motor is: without Redis it stops motors and then fails.
    moving = {axis.name: said for axis, error in failed.items() if (said := _unstopped(axis, error))}
    if moving:
        raise RuntimeError(f"not stopped: {'; '.join(f'{name}: {said}' for name, said in moving.items())}")


def _unstopped(axis: Axis, error: Exception) -> str:
    """Stop an axis by its controller alone, and return why it is not known to stand; empty where it is."""
    try:
        if axis.hw_state.MOVING:
            axis.controller.stop(axis)
        with gevent.Timeout(STOP_S, False):
            while axis.hw_state.MOVING:
                gevent.sleep(POLL_S)
            return ""
    except Exception:  # noqa: BLE001 - what failed first tells more
        return reason(error)
    return f"still moving after {STOP_S:g} s; {reason(error)}"
