"""align() from several starts; what it refuses; where it restores; a limit in the way."""

from __future__ import annotations

from bliss.common.standard import mv
from bliss.config.static import get_config
from lab_session import opened, refusal, tell

STARTS = ((0.5, 90.0), (0.1, 89.2), (0.6, 89.3))

here = opened()
rehearsing, theta, chi, rehearsal = (here[name] for name in ("rehearsing", "theta", "chi", "rehearsal"))


def ended(result):
    return {"outcome": result.outcome, "exposures": result.exposures, "at": dict(result.positions), "said": str(result)}


found = []
for place in STARTS:
    mv(theta, place[0], chi, place[1])
    found.append(ended(rehearsing.align()))

mv(theta, 0.5, chi, 90.0)
alone = ended(rehearsing.align(chi, most_exposures=60))
kept = theta.position
rehearsing.restore("start")
restored = {"theta": theta.position, "chi": chi.position}

wide = refusal(lambda: rehearsing.align(settings={"theta": {"high": 1e3}}))
strange = refusal(lambda: rehearsing.align(theta, settings={"chi": {"width": 1.0}}))
wrong = refusal(lambda: rehearsing.align(theta, restore="home"))
unknown = refusal(lambda: rehearsing.align(theta, method="guess"))

early = get_config().get("early")
roi = refusal(early.align)

drawn, limits = rehearsal.drawn, theta.limits


def narrowing():
    narrowing.readings += 1
    if narrowing.readings == 3:
        theta.limits = theta.position - 0.001, theta.position + 0.001
    return drawn()


narrowing.readings = 0
rehearsal.drawn = narrowing
mv(theta, 0.5, chi, 90.0)
limited = ended(rehearsing.align(restore="start"))
theta.limits, rehearsal.drawn = limits, drawn

tell(
    found=found,
    alone=alone,
    kept=kept,
    restored=restored,
    wide=wide,
    strange=strange,
    wrong=wrong,
    unknown=unknown,
    limited=limited,
    roi=roi,
    info=early.__info__(),
    status=str(rehearsing.status()),
    defects=str(rehearsing.defects()),
)
