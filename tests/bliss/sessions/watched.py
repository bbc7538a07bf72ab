"""Rocking scans with FrameStreamer as the detector: a plain one, and one that ends early, by what its frames show."""

from __future__ import annotations

import time

from bliss.common.scans import ascan
from lab_session import opened, refusal, tell

RANGE_DEG = (-0.5, 2.1)  # the crystal reflects at 0, and nothing is left of it beyond 0.5
POINTS = 200
COUNT_TIME_S = 0.01

here = opened()
braggloop, theta, frames, reconstruction = (here[name] for name in ("braggloop", "theta", "frames", "reconstruction"))


def rocking(**how):
    return ascan(theta, *RANGE_DEG, POINTS - 1, COUNT_TIME_S, frames, **how)


begun_s = time.monotonic()
whole = rocking()
spent_s = time.monotonic() - begun_s
told = braggloop.reconstruct(whole)
values = {counter.name: reconstruction.read_all(counter)[0] for counter in reconstruction.counters}

early = rocking(run=False)
watch = braggloop.watch(early, until="explained > 0.8, agreement > 0.5")
info = watch.__info__()
early.run()

tell(
    points=POINTS,
    spent_s=spent_s,
    at=whole.streams["axis:theta"][:].tolist(),
    counts=whole.streams["frames:counts"][:].tolist(),
    sent=whole.streams["frames:sent"][:].tolist(),
    title=whole.scan_info["title"],
    told=dict(told.known),
    values=values,
    early=early.scan_info["instrument"]["braggloop"],
    lengths={name: len(stream) for name, stream in early.streams.items()},
    end_reason=early.scan_info["end_reason"],
    info=[info, frames.__info__()],
    inverted_again=dict(braggloop.reprocess().known),
    refused={
        "ran": refusal(lambda: braggloop.watch(early)),
        "until": refusal(lambda: braggloop.watch(rocking(run=False), until="sharpness > 3")),
        "condition": refusal(lambda: braggloop.watch(rocking(run=False), until="resolution about 20")),
        "on_hold": refusal(lambda: braggloop.watch(rocking(run=False), on_hold="wait")),
        "unknown": refusal(lambda: braggloop.reconstruct(ascan(theta, 0, 0.1, 2, 0.01, here["rehearsal"]))),
    },
)
