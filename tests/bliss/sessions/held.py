"""Scans that something stops: a defect that is looked for, Ctrl-C; one whose frames come from elsewhere.

held.py WHAT
"""

from __future__ import annotations

import sys

import gevent
from bliss.common.scans import ascan, loopscan
from braggloop_bliss.watch import Results
from lab_session import opened, refusal, tell

here = opened()
braggloop, theta, frames = (here[name] for name in ("braggloop", "theta", "frames"))
streamer = frames.device


def rocking(points, **how):
    return ascan(theta, -0.5, 0.5, points - 1, 0.01, frames, **how)


def outcome(scan):
    return {
        "ended": scan.scan_info["instrument"]["braggloop"].get("ended", ""),
        "status": scan.scan_info["instrument"]["braggloop"].get("seriesStatus", ""),
        "points": len(scan.streams["timer:epoch"]),
        "reason": scan.scan_info["end_reason"],
    }


def with_a_defect(latest):
    def told(results):
        if series := str(streamer.seriesUniqueId) if results.series == streamer.seriesUniqueId else "":
            known = {
                "seriesUniqueId": series,
                "fluxCounts": 0.0,
                "hold": True,
                "defectClass": "edge",
                "defectProbability": 0.95,
            }
            return {"doubt": "", "seriesStatus": "preliminary", **(latest(results) or known), **known}
        return {}

    return told


def on_hold(what):
    scan = rocking(100, run=False)
    braggloop.watch(scan, on_hold=what, wait_s=1.0)
    scan.run()
    return outcome(scan)


def held():
    latest = Results.latest
    Results.latest = with_a_defect(latest)
    ended = on_hold("end")
    gevent.spawn_later(6.0, braggloop.resume)
    paused = on_hold("pause")
    Results.latest = latest
    tell(ended=ended, paused=paused)


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
    tell(how=how, trigger=streamer.read_attribute("trigger").value, state=str(streamer.state()), **outcome(scan))


def elsewhere():
    streamer.rate, at = 30.0, theta.position
    scan = loopscan(30, 0.1, here["rehearsal"], run=False)
    braggloop.watch(scan)
    streamer.Start()
    busy = refusal(lambda: rocking(10))
    scan.run()
    idle = refusal(lambda: frames.read_all(*frames.counters))
    tell(busy=busy, idle=idle, stays=theta.position == at, **outcome(scan))


{"held": held, "interrupted": interrupted, "elsewhere": elsewhere}[sys.argv[1]]()
