"""An alignment of slow axes that is ended from outside: by Ctrl-C, by a Stop, with the session or the devices killed.

slow.py [AXIS COUNTER]: another axis, and the counter over it
"""

from __future__ import annotations

import sys

import gevent
from bliss.config.static import get_config
from lab_session import opened, tell

HEARTBEAT_S = 3.0
SETTINGS = {"width": 0.2, "tolerance": 0.01, "largest_step": 0.5}

here = opened()
rehearsing, counters = here["rehearsing"], list(here["alignment"].counters)
if sys.argv[1:]:
    axes, counter = ([get_config().get(name)] for name in sys.argv[1:])
    said = {"counter": counter[0], "settings": {axes[0].name: SETTINGS}}
else:
    axes, said = [here["theta"], here["chi"]], {}
for axis in axes:
    axis.velocity = 0.05


def say_when_moving():
    while not any(axis.is_moving for axis in axes):
        gevent.sleep(0.01)
    print("moving", flush=True)


gevent.spawn(say_when_moving)
how, result = "", ""
try:
    result = str(rehearsing.align(*axes, heartbeat_s=HEARTBEAT_S, **said))
except KeyboardInterrupt:
    how = "Ctrl-C"
except RuntimeError as error:
    how = str(error)
tell(
    how=how,
    result=result,
    at={axis.name: axis.position for axis in axes},
    moving=any(axis.is_moving for axis in axes),
    # The session lives and counts, NaN where nobody answers.
    value=here["alignment"].read_all(*counters)[0],
)
