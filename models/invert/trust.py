"""Whether a crystal that was told in one step may be believed: is the pattern one that the network knows?

A network answers to any pattern. What its crystal leaves unexplained, beside what counting leaves, tells how far it is
from the truth, over crystals of all kinds: their rank correlation is -0.9.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.invert.misfit import chi, height
from models.simulate.diffraction import far_field
from models.simulate.draws import seeded

# Of 192 crystals (the family of training, whole and highly strained ones, 1e4 to 1e9 counts, seeds of their own) this
# doubts 99 % of those that correlate with the truth by less than 0.86, and a third of the others.
MOST_UNEXPLAINED = 0.11


def unexplained(
    objects: Tensor, intensity: Tensor, seen: Tensor, scale: Tensor | float = 1.0, background: Tensor | float = 0.0
) -> Tensor:
    """Return how much more of the amplitudes crystals leave unexplained than counting noise does, float32 (batch,).

    `objects` complex64 (batch, z, y, x), `intensity` float32, (counts - background) / scale, and `seen` bool
    (z, y, x); `scale` and `background` broadcast against the counts. `chi` of what was counted, less that of counts
    drawn from the crystals themselves: 0 for the truth, 1 for nothing at all.
    """
    told = height(far_field(objects)) * seen
    drawn = torch.poisson(told.square() * scale + background, generator=seeded(0, told.device))
    noisy = ((drawn - background).clamp(min=0.0) / scale * seen).sqrt()
    counted = torch.where(seen, intensity, 0.0).sqrt().expand_as(told)
    return chi(told, counted) - chi(told, noisy).nan_to_num()  # of nothing, nothing is drawn


def doubt(left: float) -> str:
    """Return why a crystal that leaves so much `unexplained` must not be trusted, in one line; empty where nothing
    speaks against it.
    """
    if left <= MOST_UNEXPLAINED:
        return ""
    return (
        f"the network's crystal leaves {left:.2f} of the amplitudes unexplained (expected {MOST_UNEXPLAINED:g} or"
        " less): the pattern is not of a kind that it knows; wait for a better one"
    )
