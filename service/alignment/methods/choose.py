"""The method that a plan asks for."""

from __future__ import annotations

from functools import partial

import numpy as np

from service.alignment.methods.bayesian import Bayesian
from service.alignment.methods.goto import Goto
from service.alignment.methods.lines import Lines, golden, parabola, scan
from service.alignment.methods.paraboloid import Paraboloid
from service.alignment.methods.peak import PeakFit
from service.alignment.methods.port import Method, Point, logarithm, unchanged
from service.alignment.methods.rocking import rocking
from service.alignment.methods.search import spiral, sweep
from service.alignment.methods.seeking import Seeking
from service.alignment.methods.until import Until
from service.alignment.plan import Plan

ONE_AXIS = {"scan": scan, "golden": golden}
SEARCHES = {"spiral": spiral, "sweep": sweep}


def chosen(plan: Plan, start: Point) -> Method:
    """Return the plan's method, begun at `start`, float64 (axes,) in the order of the plan."""
    method = _method(plan, start)
    return Until(method, plan.follow_exposures, plan.follow_s) if plan.follow else method


def _method(plan: Plan, start: Point) -> Method:
    axes = plan.sought()
    levelled = logarithm if plan.counts else unchanged
    if plan.method == "peak":
        return PeakFit(axes, start, background=plan.background, follow=plan.follow, seed=plan.seed)
    if plan.method == "seeking":
        return Seeking(axes, start, follow=plan.follow, seed=plan.seed, levelled=levelled)
    if plan.method == "bayesian":
        return Bayesian(axes, start, seed=plan.seed, levelled=levelled)
    if plan.method == "goto":
        return Goto(np.array(plan.goto))
    if plan.method == "rocking":
        return rocking(axes, start, plan.background, plan.reach, plan.points)
    if plan.method in SEARCHES:
        return SEARCHES[plan.method](axes, start, plan.background, plan.reach)
    if plan.method == "paraboloid":
        return Paraboloid(axes, start, levelled)
    if plan.method == "parabola":
        return Lines(axes, start, partial(parabola, levelled=levelled))
    return Lines(axes, start, ONE_AXIS[plan.method])
