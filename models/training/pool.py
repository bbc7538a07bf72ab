"""Examples that are seen more than once, where making them costs more than learning from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import torch
from torch import Generator, Tensor

from models.training.task import Examples


class Pool:
    """The last `size` examples that `make` made; `draw` takes some at random, and has new ones made when due: each is
    seen `times`, on average.

    What lies in it is not in a checkpoint: a run that goes on fills it anew.
    """

    def __init__(self, make: Callable[[], Examples], size: int, times: int) -> None:
        self._make, self._size, self._times = make, size, times
        self._kept: dict[str, Tensor] = {}
        self._drawn, self._made = 0, 0

    def draw(self, count: int, generator: Generator) -> Examples:
        """Return `count` of them, each as likely as another."""
        while self._drawn >= self._times * self._made:
            self._add(self._make())
        self._drawn += count
        filled = min(self._made, self._size)
        among = torch.randint(filled, (count,), generator=generator, device=generator.device)
        return Examples(**{name: kept[among] for name, kept in self._kept.items()})

    def _add(self, examples: Examples) -> None:
        new: dict[str, Tensor] = {field.name: getattr(examples, field.name) for field in fields(Examples)}
        count = len(examples.inputs)
        places = torch.arange(self._made, self._made + count, device=examples.inputs.device) % self._size
        for name, values in new.items():
            kept = self._kept.setdefault(name, values.new_zeros((self._size, *values.shape[1:])))
            kept[places] = values
        self._made += count
