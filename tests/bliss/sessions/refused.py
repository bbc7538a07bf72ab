"""What a scan of FrameStreamer's frames refuses before it moves, what it leaves as it was; what a watch refuses."""

from __future__ import annotations

import gevent
from bliss.common.counter import SamplingMode
from bliss.common.scans import ascan
from bliss.scanning.acquisition.counter import SamplingCounterAcquisitionSlave
from bliss.scanning.acquisition.motor import SoftwarePositionTriggerMaster
from bliss.scanning.chain import AcquisitionChain
from bliss.scanning.scan import Scan
from braggloop_bliss import streamer as detectors
from braggloop_bliss import watch as watching
from braggloop_bliss.watch import Results, series_of
from lab_session import opened, refusal, tell
from tango import DevState

here = opened()
braggloop, theta, x, frames, rehearsal = (here[name] for name in ("braggloop", "theta", "x", "frames", "rehearsal"))
streamer, figures = frames.device, here["reconstruction"].device
at = theta.position


def rocking(points=4, count_time_s=0.01, **how):
    return ascan(theta, 0.1, 0.2, points - 1, count_time_s, frames, **how)


def asked():
    return {name: streamer.read_attribute(name).value for name in ("triggerMode", "loop")}


def in_fault():
    """With a source that is not there."""
    source = streamer.source
    streamer.source, streamer.path = "replay", "/nowhere"
    streamer.Start()
    while streamer.state() != DevState.FAULT:
        gevent.sleep(0.05)
    refused = refusal(rocking)
    frames.abort()
    streamer.source, streamer.path = source, ""
    return refused, str(streamer.state())


def with_another_mode():
    counter = frames.counters.counts
    counter.mode = SamplingMode.MEAN
    refused = refusal(rocking)
    counter.mode = SamplingMode.SINGLE
    return refused


def that_fails():
    """An error behind the trigger mode and before the series."""
    announcement = detectors.FrameSeries._announcement
    detectors.FrameSeries._announcement = lambda series: {"frames": -1}
    refused = refusal(rocking)
    detectors.FrameSeries._announcement = announcement
    return refused, asked()


def announced(unit):
    theta._unit, former = unit, theta.unit
    told = series_of(rocking(run=False))._announcement()
    theta._unit = former
    return told


def continuous():
    chain = AcquisitionChain()
    chain.add(
        SoftwarePositionTriggerMaster(theta, 0.1, 0.2, npoints=5, time=1.0),
        SamplingCounterAcquisitionSlave(rehearsal, count_time=0.01, npoints=5),
    )
    return Scan(chain, name="continuous", save=False)


class Silent:
    """Reconstruction of a worker that is gone."""

    seriesUniqueId, workerAnswers = "before", False

    def read_attributes(self, names):
        return figures.read_attributes(names)

    def status(self):
        return "the worker has been silent"


def silent():
    results = Results(Silent())
    results.series = "one that is not shown"
    return refusal(lambda: results.final(60.0))


def watched_twice():
    """Watched, then reconstructed: once is enough."""
    scan, passed = rocking(run=False), []
    watch = braggloop.watch(scan)
    watch._awaited = lambda results: passed.append("awaited") or {"seriesStatus": "done"}
    again = refusal(lambda: braggloop.watch(scan)), refusal(lambda: braggloop.reconstruct(scan, until="explained > 0"))
    braggloop.reconstruct(scan)
    return {"again": again, "awaited": passed.count("awaited"), "points": len(scan.streams["timer:epoch"])}


def looking_twice():
    """What a watch says where looking fails."""
    watch, said = braggloop.watch(rocking(run=False)), []
    watch._now = lambda: 1 / 0
    watching.print = lambda line, **how: said.append(line)
    watch._look_once()
    watch._look_once()
    watching.print = print
    return said


fault, after_fault = in_fault()
mode = with_another_mode()
stays = theta.position == at
failed, after_failure = that_fails()
streamer.loop = True
looping = rocking(count_time_s=0.0)
after_loop, state = asked(), str(streamer.state())
streamer.loop = False
fly = continuous()
tell(
    fault=fault,
    after_fault=after_fault,
    mode=mode,
    stays=stays,
    failed=failed,
    after_failure=after_failure,
    looping=len(looping.streams["frames:sent"]),
    series_of_loop=series_of(looping).name_of_series == streamer.seriesUniqueId,
    after_loop=after_loop,
    state=state,
    announced={str(unit): announced(unit) for unit in ("deg", "mdeg", "px", None)},
    until=refusal(lambda: braggloop.watch(fly, until="explained > 0.9")),
    on_hold=refusal(lambda: braggloop.watch(fly, on_hold="pause")),
    figures_alone=refusal(lambda: braggloop.watch(fly)),
    unread=refusal(lambda: braggloop.watch(rocking(run=False), until="filledCounts < 5")),
    silent=silent(),
    twice=watched_twice(),
    looking=looking_twice(),
)
