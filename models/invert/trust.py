"""Whether a crystal that was told in one step may be believed: is the pattern one that the network knows?

A network answers to any pattern. What its crystal leaves unexplained, beside what counting leaves, tells how far it is
from the truth, over crystals of all kinds (docs/measurements.md: rank correlation -0.9), and needs no other network.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.invert.misfit import chi, height
from models.simulate.diffraction import far_field
from models.simulate.draws import seeded

# Crystals that leave less correlate with the truth by 0.86 or more, as those do that a search has found.
MOST_UNEXPLAINED = 0.1


def unexplained(objects: Tensor, counts: Tensor, seen: Tensor) -> Tensor:
    """Return how much more of the amplitudes crystals leave unexplained than counting noise does, float32 (batch,).

    `objects` complex64 (batch, z, y, x) in counts, `counts` float32 and `seen` bool (z, y, x): `chi` of what was
    counted, less that of counts drawn from the crystals themselves; 0 for the truth, 1 for nothing at all.
    """
    told = height(far_field(objects)) * seen
    drawn = torch.poisson(told.square(), generator=seeded(0, told.device))
    counted = torch.where(seen, counts, 0.0).sqrt().expand_as(told)
    return chi(told, counted) - chi(told, drawn.sqrt()).nan_to_num()  # of nothing, nothing is drawn


def doubt(share: float) -> str:
    """Return why a crystal that leaves that `share` unexplained must not be trusted, in one line; empty where nothing
    speaks against it.
    """
    if share <= MOST_UNEXPLAINED:
        return ""
    return (
        f"the network's crystal leaves {share:.2f} of the amplitudes unexplained (expected {MOST_UNEXPLAINED:g} or"
        " less): the pattern is not of a kind that it knows; wait for a better one"
    )
