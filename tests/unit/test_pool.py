"""The pool of examples: each is seen a few times, old ones make room."""

from __future__ import annotations

from itertools import count

import torch

from models.simulate.draws import seeded
from models.training.pool import Pool
from models.training.task import Examples


def test_examples_are_seen_a_few_times_and_the_oldest_go() -> None:
    numbers = count()

    def make() -> Examples:
        number = torch.full((4, 1), float(next(numbers)))
        return Examples(inputs=number, targets=number, weights=number)

    pool, generator = Pool(make, size=8, times=3), seeded(0)
    drawn = torch.cat([pool.draw(6, generator).inputs for _ in range(100)]).flatten()
    made = 4 * next(numbers)
    assert 600 / made <= 3
    assert 600 / made > 0.9 * 3
    newest = torch.cat([pool.draw(6, generator).inputs for _ in range(2)]).flatten()
    assert newest.min() >= drawn.max() - 1
    one = pool.draw(6, generator)
    assert torch.equal(one.inputs, one.targets)
