"""Exposures that are asked for one by one, as the points of one scan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gevent
import numpy as np
from gevent.event import AsyncResult
from gevent.queue import Queue

from braggloop_bliss.bliss_api import (
    DEFAULT_CHAIN,
    AcquisitionMaster,
    Axis,
    AxisAcquisitionChannel,
    Counter,
    Scan,
    ScanInfo,
    ScanPreset,
    error_of,
    metadata_of,
)
from braggloop_bliss.lines import one_line

END_S = 10.0


class Points:
    """A scan without a known end: begun with the first exposure, one point each, positions of the axes and a counter.

    Where one fails the scan fails with it, and the next exposure begins another.
    """

    def __init__(self, name: str, axes: Sequence[Axis], counter: Counter, count_time_s: float) -> None:
        self._name, self._axes, self._counter, self._count_time_s = name, axes, counter, count_time_s
        self._asked: Queue = Queue()
        self._point: AsyncResult = AsyncResult()
        self._run: Any = None
        self._metadata: dict[str, Any] = {}
        self.scan: Scan | None = None

    def count(self) -> float:
        """Expose once where the axes stand, and return what was counted. Raises RuntimeError where that fails."""
        if self._running and not self._point.ready():
            gevent.wait([self._point, self._run], count=1)  # one that was overtaken, and that nobody waits for
        self._point = AsyncResult()
        if not self._running:
            self._begin()
        self._asked.put(True)
        gevent.wait([self._point, self._run], count=1)
        if not self._point.ready():
            raise RuntimeError(one_line(self._run.value or "the scan ended"))
        return float(self._point.get())

    def end(self, known: Mapping[str, Any]) -> None:
        """End the scan after its last point, with what is known of it as metadata."""
        if self._running:
            self._metadata.update(known)
            self._asked.put(False)
            self._run.join(END_S)
        self.give_up()

    def give_up(self) -> None:
        """End the scan at once, as Ctrl-C does."""
        if self._running:
            self._run.kill(KeyboardInterrupt, timeout=END_S)

    @property
    def _running(self) -> bool:
        return self._run is not None and not self._run.ready()

    def _begin(self) -> None:
        self._asked = Queue()
        how = {"type": self._name, "npoints": 0, "count_time": self._count_time_s}
        master = _Asked(self._axes, self._asked.get)
        names = [axis.name for axis in self._axes]
        info = ScanInfo()
        info.update({**how, "title": f"{self._name} {' '.join(names)} {self._counter.name}"})
        _plot(info, [f"axis:{name}" for name in names], self._counter.fullname)
        chain = DEFAULT_CHAIN.get(how, [self._counter], top_master=master)
        self.scan = Scan(chain, name=self._name, scan_info=info)
        self.scan.add_preset(_Listener(self._counter, self._came))
        self._metadata = metadata_of(self.scan, self._name)
        self._run = gevent.spawn(error_of, self.scan.run)

    def _came(self, value: float) -> None:
        if not self._point.ready():
            self._point.set(value)


class _Asked(AcquisitionMaster):
    """Goes on for as long as `asked` says True; the axes stand already where they are to."""

    def __init__(self, axes: Sequence[Axis], asked: Callable[[], bool]) -> None:
        super().__init__(*axes, npoints=0)
        self._axes, self._asked = axes, asked
        self.channels.extend(AxisAcquisitionChannel(axis) for axis in axes)

    def __iter__(self) -> Iterator[_Asked]:
        while self._asked():
            yield self

    def prepare(self) -> None:
        pass

    def start(self) -> None:
        self.trigger()

    def trigger(self) -> None:
        self.trigger_slaves()
        self.channels.update_from_iterable([axis.position for axis in self._axes])
        self.wait_slaves()

    def stop(self) -> None:
        pass


class _Listener(ScanPreset):
    """Hears each value of the counter as it comes."""

    def __init__(self, counter: Counter, came: Callable[[float], None]) -> None:
        super().__init__()
        self._counter, self._came = counter, came

    def prepare(self, scan: Scan) -> None:
        self.connect_data_channels([self._counter], self._heard)

    def _heard(self, counter: Counter, channel: str, values: Any) -> None:
        if channel == counter.fullname:
            self._came(float(np.ravel(values)[-1]))


def _plot(info: ScanInfo, axes: Sequence[str], counter: str) -> None:
    if len(axes) == 1:
        info.add_curve_plot(x=axes[0], yleft=counter)
    else:
        info.add_scatter_plot(x=axes[0], y=axes[1], value=counter)
