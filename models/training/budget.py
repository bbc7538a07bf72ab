"""The minutes that a training run has, over kills and resumes, and the learning rate that fits them."""

from __future__ import annotations

import math
from collections.abc import Callable

# Share of the minutes in which the learning rate rises: while the optimizer's averages fill, large steps do harm.
WARM_UP = 0.05
# The learning rate ends at this share of its highest.
LAST = 0.01

Clock = Callable[[], float]


class Budget:
    """Counts the seconds that were used, beginning with `used_s` of an earlier life."""

    def __init__(self, given_s: float, clock: Clock, used_s: float = 0.0) -> None:
        self.given_s = given_s
        self._clock, self._zero_s = clock, clock() - used_s

    def used_s(self) -> float:
        """Return the seconds that were used so far."""
        return self._clock() - self._zero_s

    def share(self, used_s: float) -> float:
        """Return which share of the budget `used_s` is, 1 at most."""
        return min(1.0, used_s / self.given_s)


def learning_rate_factor(share: float) -> float:
    """Return the learning rate, as a share of its highest, when a share of the budget is used.

    It rises in a line and falls in half a cosine (Loshchilov and Hutter, ICLR 2017), in time instead of steps: how many
    steps there will be nobody knows.
    """
    if share < WARM_UP:
        return LAST + (1.0 - LAST) * share / WARM_UP
    fall = (share - WARM_UP) / (1.0 - WARM_UP)
    return LAST + (1.0 - LAST) * (1.0 + math.cos(math.pi * fall)) / 2.0
