"""Starts that do not depend on their batch, the best first, progress and stopping."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from models.bcdi import search
from models.bcdi.iterate import coherent_intensity
from models.bcdi.levels import full_level
from models.bcdi.quality import FigureSet, figures
from models.bcdi.search import (
    PhasingCancelled,
    Stage,
    Watch,
    batches,
    random_starts,
    rank,
    run_stage,
    scaled,
    to_numpy,
    to_tensor,
)
from tests.helpers.patterns import bright, corner, pattern_of, poisson, strained_crystal, transform

SHAPE = (16, 16, 16)
SEEDS = tuple((0, number) for number in range(5))


@pytest.fixture(scope="module")
def pattern():
    return pattern_of(poisson(np.abs(transform(bright(strained_crystal(16), 1e4))) ** 2), held_out=0.05)


@pytest.fixture(scope="module")
def support() -> torch.Tensor:
    return corner(np.abs(strained_crystal(16)) > 0)


def stage(keep: int = 2, iterations: int = 4) -> Stage:
    return Stage(schedule=("ER",) * iterations, wrap=None, beta=0.9, level=full_level(SHAPE), keep=keep)


def figure(free: float, chi: float = 0.5) -> FigureSet:
    return FigureSet(chi=chi, r_factor=0.0, chi2=0.0, free_log_likelihood=free)


def test_starts_have_the_measured_intensity_inside_the_support(pattern, support) -> None:
    objects = random_starts(pattern, support, SEEDS)
    assert objects.shape == (5, *SHAPE)
    assert objects.dtype == torch.complex64
    assert not objects[:, ~support].any()
    totals = coherent_intensity(objects).sum(dim=(1, 2, 3))
    torch.testing.assert_close(totals, pattern.amplitude.square().sum().expand(5), rtol=1e-4, atol=0)


def test_an_empty_object_stays_empty(pattern) -> None:
    objects = torch.zeros((2, *SHAPE), dtype=torch.complex64)
    objects[1, 0, 0, 0] = 1e-3
    empty, other = scaled(objects, pattern)
    assert not empty.any()
    assert coherent_intensity(other[None]).sum() == pytest.approx(float(pattern.amplitude.square().sum()), rel=1e-4)


def test_starts_are_independent_of_one_another_and_of_their_company(pattern, support) -> None:
    objects = random_starts(pattern, support, SEEDS)
    alone = torch.cat([random_starts(pattern, support, (seed,)) for seed in SEEDS])
    torch.testing.assert_close(objects, alone)
    unit = objects.flatten(1) / torch.linalg.vector_norm(objects.flatten(1), dim=1, keepdim=True)
    overlaps = (unit @ unit.conj().T).abs() - torch.eye(5)
    assert overlaps.max() < 5 / math.sqrt(float(support.sum()))


def test_starts_run_best_first_and_the_best_are_kept(pattern, support) -> None:
    told: list[int] = []
    objects = random_starts(pattern, support, SEEDS)
    before = objects.clone()
    outcome = run_stage(pattern, None, objects, support.expand(objects.shape), stage(), told.append)
    free = [one.free_log_likelihood for one in outcome.figures]
    assert outcome.order == tuple(np.argsort(free)[:2])
    assert outcome.objects.shape == outcome.support.shape == (2, *SHAPE)
    again = figures(pattern, coherent_intensity(outcome.objects))
    assert [one.chi for one in again] == pytest.approx([outcome.figures[index].chi for index in outcome.order])
    assert sum(told) == 4 * before.numel()
    torch.testing.assert_close(objects, before)  # the caller's starts are his own


@pytest.mark.parametrize("together", [1, 2, 100])
def test_the_size_of_a_batch_does_not_change_the_result(pattern, support, together: int, monkeypatch) -> None:
    objects = random_starts(pattern, support, SEEDS)
    whole = run_stage(pattern, None, objects, support.expand(objects.shape), stage(), lambda _: None)
    monkeypatch.setitem(search.BATCH_VOXELS, "cpu", together * 16**3)
    parts = run_stage(pattern, None, objects, support.expand(objects.shape), stage(), lambda _: None)
    assert parts.order == whole.order
    torch.testing.assert_close(parts.objects, whole.objects)


@pytest.mark.parametrize(("limit", "expected"), [(1, [1] * 5), (2 * 4096, [2, 2, 1]), (4097, [1] * 5), (10**9, [5])])
def test_batches_cover_all_starts_within_the_limit(pattern, limit: int, expected: list[int], monkeypatch) -> None:
    monkeypatch.setitem(search.BATCH_VOXELS, "cpu", limit)
    slices = list(batches(5, pattern))
    assert [one.stop - one.start for one in slices] == expected
    assert [index for one in slices for index in range(5)[one]] == list(range(5))


def test_starts_are_ranked_by_free_log_likelihood_and_the_lost_come_last() -> None:
    nan = math.nan
    sorted_ = sorted([figure(nan, nan), figure(2.0), figure(math.inf), figure(1.0)], key=rank)
    assert [one.free_log_likelihood for one in sorted_[:2]] == [1.0, 2.0]
    assert rank(figure(nan, 0.3)) == 0.3
    assert rank(figure(nan, nan)) == rank(figure(math.inf)) == math.inf


def test_progress_reaches_one_exactly_when_everything_ran() -> None:
    told: list[float] = []
    watch = Watch(told.append, None)
    stages = [stage(keep=2, iterations=3), stage(keep=2, iterations=2), stage(keep=1, iterations=1)]
    watch.expect(stages, 5)
    for count, iterations in ((5, 3), (2, 2), (1, 1)):
        for _ in range(iterations):
            watch(count * 16**3)
    assert told == sorted(told)
    assert told[-2] < told[-1] == 1.0


def test_progress_never_exceeds_one_and_may_be_nobodys() -> None:
    told: list[float] = []
    for progress in (told.append, None):
        watch = Watch(progress, lambda: False)
        watch.expect([stage(), stage(keep=1)], 1)
        watch(10**9)
    assert told == [1.0]


def test_a_cancelled_run_stops() -> None:
    answers = iter([False, False, True])
    watch = Watch(None, lambda: next(answers))
    watch.expect([stage(), stage(keep=1)], 1)
    watch(1)
    watch(1)
    with pytest.raises(PhasingCancelled):
        watch(1)


def test_arrays_come_back_from_tensors() -> None:
    rng = np.random.default_rng(0)
    array = rng.normal(size=(2, 4, 5, 6))
    tensor = to_tensor(array, "cpu")
    assert tensor[0, 0, 0, 0] == array[0, 2, 2, 3]
    np.testing.assert_array_equal(to_numpy(tensor), array)
