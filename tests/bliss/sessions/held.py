"""Scans that something stops: a defect that is looked for, Ctrl-C; those whose frames come from elsewhere.

held.py WHAT
"""

from __future__ import annotations

import sys

import gevent
from bliss.common.scans import ascan, loopscan
from bliss.scanning.scan import ScanPreset
from braggloop_bliss import watch
from braggloop_bliss.watch import Results
from lab_session import opened, refusal, tell

here = opened()
braggloop, theta, frames = (here[name] for name in ("braggloop", "theta", "frames"))
streamer, figures = frames.device, here["reconstruction"].device


def rocking(points, **how):
    return ascan(theta, -0.5, 0.5, points - 1, 0.01, frames, **how)


def outcome(scan):
    return {
        "ended": scan.scan_info["instrument"]["braggloop"].get("ended", ""),
        "status": scan.scan_info["instrument"]["braggloop"].get("seriesStatus", ""),
        "points": len(scan.streams["timer:epoch"]),
        "reason": scan.scan_info["end_reason"],
    }


class Told:
    """Results of the series that runs as this session is to have them: a defect, until a person has looked."""

    def __init__(self):
        self.status, self.doubt, self.paused = "preliminary", "", 0

    def latest(self, results):
        if results.series != streamer.seriesUniqueId:
            return {}
        known = {"seriesUniqueId": results.series, "seriesStatus": self.status, "doubt": self.doubt, "sequence": 0}
        return {**known, "fluxCounts": 0.0, "hold": True, "defectClass": "edge", "defectProbability": 0.95}


def on_hold(what, afterwards="preliminary", doubt=""):
    """A scan that somebody resumes as soon as it says that it is paused; from then on its series is in that status."""
    told = Told()
    told.doubt = doubt

    def heard(line, **how):
        print(line, **how)
        if "paused after" in line:
            told.paused, told.status = told.paused + 1, afterwards
            braggloop.resume()

    latest, watch.print = Results.latest, heard
    Results.latest = lambda results: told.latest(results)
    scan = rocking(100, run=False)
    braggloop.watch(scan, on_hold=what, wait_s=1.0)
    scan.run()
    Results.latest, watch.print = latest, print
    return {"paused": told.paused, **outcome(scan)}


def held():
    tell(
        ended=on_hold("end"),
        paused=on_hold("pause"),
        closed=on_hold("pause", "incomplete"),
        doubted=on_hold("end", doubt="few counts"),
    )


def say_when_counting():
    former = streamer.seriesUniqueId
    while streamer.seriesUniqueId == former or streamer.sent < 5:
        gevent.sleep(0.1)
    print("counting", flush=True)


def interrupted():
    scan = rocking(400, run=False)
    braggloop.watch(scan)
    gevent.spawn(say_when_counting)
    how = ""
    try:
        scan.run()
    except BaseException as error:  # noqa: BLE001 - Ctrl-C, as Bliss tells it
        how = type(error).__name__
    tell(how=how, trigger=streamer.triggerMode, state=str(streamer.state()), **outcome(scan))


class Begins(ScanPreset):
    """Begins a series of a detector that the scan knows nothing of."""

    def start(self, scan):
        streamer.Start()


def until(true):
    while not true():
        gevent.sleep(0.1)


def counted(points):
    return loopscan(points, 0.1, here["rehearsal"], run=False)


def elsewhere():
    streamer.rate, at = 1.0, theta.position
    streamer.Start()
    until(lambda: figures.workerBusy)
    busy = refusal(lambda: rocking(10))
    of_another = counted(3)
    braggloop.watch(of_another, on_hold="end")
    of_another.run()
    frames.abort()
    until(lambda: figures.seriesUniqueId == streamer.seriesUniqueId and not figures.workerBusy)
    streamer.rate, scan = 30.0, counted(30)
    braggloop.watch(scan)
    scan.add_preset(Begins())
    scan.run()
    idle = refusal(lambda: frames.read_all(*frames.counters))
    tell(
        busy=busy,
        idle=idle,
        stays=theta.position == at,
        of_another=outcome(of_another),
        unknown=refusal(lambda: braggloop.reconstruct(of_another)),
        **outcome(scan),
    )


def waited_for():
    """A watched scan whose result never comes."""
    scan = counted(3)
    braggloop.watch(scan, wait_s=60.0)
    how = ""
    try:
        scan.run()
    except BaseException as error:  # noqa: BLE001 - Ctrl-C, as Bliss tells it
        how = type(error).__name__
    tell(how=how, **outcome(scan))


{"held": held, "interrupted": interrupted, "elsewhere": elsewhere, "waited for": waited_for}[sys.argv[1]]()
