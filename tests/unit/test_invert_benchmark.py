"""The figures of benchmarks.invert: what they say of a crystal that is right, and of one that is not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from benchmarks.invert.adaptive import PHASE, SURFACE, evaluations, followed, off, ours, problems
from benchmarks.invert.peers import PEERS
from benchmarks.invert.quality import CONVEX, FAMILIES, Case, cases, compared, mean_shape, quality
from models.bcdi.modes import correlation, twin
from models.invert.train import on_grid
from models.invert.view import EDGE, to_voxels, view
from models.simulate.draws import seeded
from models.simulate.families import Family
from models.simulate.scenes import training_scenes


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def case() -> Case:
    return next(cases(CONVEX))


def test_the_twin_of_the_truth_is_the_truth(case: Case) -> None:
    turned = np.roll(twin(case.truth), (2, -1, 0), (0, 1, 2)) * 3.0j
    ssim, box, dice, phase = compared(turned.astype(np.complex64), case.truth)
    assert min(ssim, box, dice) > 0.97
    assert phase < 0.02


def test_a_crystal_without_phase_is_told_by_its_phase_alone(case: Case) -> None:
    flat = quality(case, lambda given: np.abs(given.truth).astype(np.complex64))
    assert flat.dice > 0.95
    assert flat.ssim > 0.97
    assert flat.phase > 0.05
    assert flat.chi > 10.0 * quality(case, lambda given: given.truth).chi


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_mean_shape_fits_no_crystal(family: Family) -> None:
    one = next(cases(family))
    assert compared(mean_shape(family, 8), one.truth)[2] < 0.95


def test_a_perturbed_crystal_is_off_as_told_and_comes_back() -> None:
    problem = next(problems(3))
    space = problem.misfit.space
    start = off(space, problem.start, problem.object_)
    assert 0.1 < start.surface < 0.3
    assert off(space, problem.wanted, problem.object_).reached
    taken, end = evaluations(problem, ours, 4000)
    assert taken is not None
    assert end.surface <= SURFACE
    assert end.phase <= PHASE


def test_a_way_that_does_not_arrive_is_said_not_to() -> None:
    problem = next(problems(3))
    taken, end = evaluations(problem, lambda p: ((n, p.start) for n in itertools.count(1)), 5)
    assert taken is None
    assert not end.reached


def test_a_crystal_that_changes_is_followed() -> None:
    found = followed(next(problems(3)), scans=10, each=20, swing=1e-3)
    assert len(found.off) == len(found.behind) == 10
    assert found.behind[0] == 0
    assert max(found.behind) < 10


@pytest.mark.parametrize("name", PEERS)
def test_peers_learn(name: str) -> None:
    torch.manual_seed(0)
    task = PEERS[name]
    scenes = next(training_scenes("train", 2, (32, 32, 32), seed=3, device="cpu"))
    asked = task.examples(scenes, seeded(0))
    network = task.build()
    outputs = network(asked.inputs)
    assert outputs.shape == (2, 2, EDGE, EDGE, EDGE)
    before = task.loss(outputs, asked)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-4)
    for _ in range(8):
        optimiser.zero_grad()
        task.loss(network(asked.inputs), asked).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert task.loss(network(asked.inputs), asked) < 0.95 * before
    assert set(task.metrics(outputs, asked)) >= {"correlation", "dice", "phase", "chi"}


def test_what_lies_on_the_grid_of_a_crystal_comes_back_to_its_voxels(case: Case) -> None:
    seen = view(torch.from_numpy(case.counts)[None])
    told = on_grid(torch.from_numpy(case.truth)[None], seen)
    back = to_voxels(told, seen.semi_axes, case.truth.shape)[0].numpy()
    assert correlation(back, case.truth) > 0.97
