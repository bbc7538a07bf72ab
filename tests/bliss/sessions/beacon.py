"""An alignment of slow axes in whose middle Beacon and its Redis go, and what the session can do when they are back."""

from __future__ import annotations

import os
import socket

import gevent
from bliss.common.standard import mv, sync
from lab_session import opened, refusal, tell

HEARTBEAT_S = 3.0

here = opened()
rehearsing, axes = here["rehearsing"], [here["theta"], here["chi"]]
host, port = os.environ["BEACON_HOST"].split(":")
for axis in axes:
    axis.velocity = 0.05


def say_when_moving():
    while not any(axis.is_moving for axis in axes):
        gevent.sleep(0.01)
    print("moving", flush=True)


def back():
    with socket.socket() as beacon:
        return beacon.connect_ex((host, int(port))) == 0


def ended():
    result = rehearsing.align(heartbeat_s=HEARTBEAT_S, most_exposures=3)
    raise RuntimeError(str(result))


gevent.spawn(say_when_moving)
how = refusal(ended)
meanwhile = refusal(ended)
print(how, "ended", sep="\n", flush=True)
while not back():
    gevent.sleep(0.1)
gevent.sleep(1.0)  # it listens before it answers

sync(*axes)  # they went on while nobody could note where
for axis in axes:
    axis.velocity = 5.0
mv(here["theta"], 0.25)
moved = here["theta"].position
tell(how=how, meanwhile=meanwhile, moved=moved, afterwards=refusal(ended))
