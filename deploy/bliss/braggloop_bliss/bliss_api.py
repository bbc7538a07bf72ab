"""All that is used of Bliss, and how: written on Bliss 2.1, compared with the sources of 2.2, 2.3 and 2.4.

Where versions part ways, it is settled here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import gevent
import redis
from bliss import current_session
from bliss.common import event
from bliss.common.axis import Axis
from bliss.common.counter import Counter, SamplingCounter, SamplingMode
from bliss.common.logtools import log_warning
from bliss.common.motor_group import Group
from bliss.common.scans import DEFAULT_CHAIN
from bliss.common.tango import DevFailed, DeviceProxy
from bliss.config.settings import SimpleSetting
from bliss.controllers.counter import SamplingCounterController
from bliss.scanning.acquisition.counter import SamplingCounterAcquisitionSlave
from bliss.scanning.acquisition.timer import SoftwareTimerMaster
from bliss.scanning.chain import (
    AcquisitionMaster,
    AcquisitionObject,
    ChainIterationPreset,
    ChainPreset,
    StopChain,
)
from bliss.scanning.channel import AxisAcquisitionChannel
from bliss.scanning.scan import Scan, ScanPreset
from bliss.scanning.scan_info import ScanInfo
from bliss.scanning.scan_meta import get_user_scan_meta
from bliss.scanning.scan_state import ScanState

from braggloop_bliss.lines import one_line

__all__ = [
    "DEFAULT_CHAIN",
    "METADATA",
    "AcquisitionMaster",
    "Axis",
    "AxisAcquisitionChannel",
    "ChainIterationPreset",
    "ChainPreset",
    "Counter",
    "DevFailed",
    "DeviceProxy",
    "RedisError",
    "SamplingCounter",
    "SamplingCounterAcquisitionSlave",
    "SamplingCounterController",
    "SamplingMode",
    "Scan",
    "ScanInfo",
    "ScanPreset",
    "ScanState",
    "SimpleSetting",
    "StopChain",
    "by_points",
    "error_of",
    "event",
    "flint_of_session",
    "limits_of",
    "log_warning",
    "metadata_of",
    "move",
    "planned",
    "reason",
    "stop",
    "title_of",
]

METADATA = "instrument"  # the category of a scan's metadata; a writer of NeXus makes a group of the same name
_METADATA: MutableMapping[Scan, dict[str, dict[str, Any]]] = WeakKeyDictionary()
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


def planned(acquisition: AcquisitionObject) -> dict[Axis, list[float]]:
    """Return where a step scan will bring its axes, axis -> a position for each point, in its user unit."""
    found: dict[Axis, list[float]] = {}
    master = acquisition.parent
    while master is not None:
        for axis, positions in getattr(master, "_motor_pos", {}).items():  # every master of step scans has them
            found[axis] = [float(position) for position in positions]
        master = master.parent
    return found


def by_points(scan: Scan) -> bool:
    """Whether each iteration of a scan is one point: no continuous scan, whose axes move through many of them."""
    (master, *_) = scan.acq_chain.top_masters
    return hasattr(master, "_motor_pos") or isinstance(master, SoftwareTimerMaster)


def title_of(acquisition: AcquisitionObject) -> str:
    """Return the title of the scan that it is part of; empty for one that the session does not keep, as a `ct`."""
    for scan in reversed(current_session.scans):
        if acquisition in scan.acq_chain.nodes_list:
            return str(scan.scan_info.get("title", ""))
    return ""


def metadata_of(scan: Scan, name: str) -> dict[str, Any]:
    """Return what will be in the metadata of a scan that did not run yet, for others to fill until it ends.

    It comes to scan_info[METADATA][name], to Redis and to the file, as far as one is written: Bliss takes metadata as a
    scan begins and as it ends, and none between.
    """
    get_user_scan_meta().instrument.set(name, lambda scan: _METADATA.get(scan, {}).get(name) and _METADATA[scan])
    return _METADATA.setdefault(scan, {}).setdefault(name, {})


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
    axes, failed = list(axes), {}
    for axis in axes:
        if error := error_of(partial(axis.stop, wait=False)):
            failed[axis] = error
    waits = {axis: gevent.spawn(error_of, axis.wait_move) for axis in axes}
    gevent.joinall(list(waits.values()), timeout=STOP_S)
    for axis, wait in waits.items():
        if error := wait.value if wait.ready() else RuntimeError(f"it moves for {STOP_S:g} s"):
            failed.setdefault(axis, error)
        wait.kill(block=False)
        # Bliss takes an axis for standing whose device does not answer.
        if axis not in failed and (error := error_of(partial(getattr, axis, "hw_state"))):
            failed[axis] = error
    # That Bliss failed does not tell where the motor is: without Redis it stops motors and then fails.
    moving = {axis.name: said for axis, error in failed.items() if (said := _unstopped(axis, error))}
    if moving:
        raise RuntimeError(f"not stopped: {'; '.join(f'{name}: {said}' for name, said in moving.items())}")


def error_of(call: Callable[[], object]) -> BaseException | None:
    """What a call raises, returned: the others must go on, and gevent would print what a greenlet raises."""
    try:
        call()
    except BaseException as error:  # noqa: BLE001 - a kill too, which arrives as KeyboardInterrupt
        return error
    return None


def _unstopped(axis: Axis, error: BaseException) -> str:
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
