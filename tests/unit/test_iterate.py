"""One step against the published equations, and what the iterations promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from models.bcdi.coherence import Kernel
from models.bcdi.iterate import Batch, ShrinkWrap, coherent_intensity, run
from models.bcdi.pattern import gaussian_transfer
from tests.helpers.patterns import bright, centred, corner, gaps, pattern_of, poisson, strained_crystal, transform

SHAPE = (12, 13, 14)
BETA = 0.7


def noise(count: int = 2, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, *shape)) + 1j * rng.normal(size=(count, *shape))).astype(np.complex64)


def measured(seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Counts of another random object and a mask."""
    return (np.abs(transform(noise(1, seed=seed)[0])) ** 2).astype(np.float32), gaps(SHAPE)


def projection(objects: np.ndarray, counts: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """P_M of the literature: measured amplitudes, own phases; unseen voxels as they are."""
    field = transform(objects)
    field = np.where(mask, np.sqrt(counts) * field / np.abs(field), field)
    axes = (-3, -2, -1)
    return np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(field, axes=axes), axes=axes), axes=axes)


def step_by_the_book(algorithm: str, o: np.ndarray, p: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Fienup, Appl. Opt. 21 (1982) 2758; Luke, Inverse Problems 21 (2005) 37, with R = 2P - 1:
    RAAR = beta / 2 (R_S R_M + 1) + (1 - beta) P_M."""
    if algorithm == "ER":
        return np.where(support, p, 0)
    if algorithm == "HIO":
        return np.where(support, p, o - BETA * p)
    reflected = 2 * p - o
    twice = 2 * np.where(support, reflected, 0) - reflected
    return BETA / 2 * (twice + o) + (1 - BETA) * p


@pytest.mark.parametrize("algorithm", ["ER", "HIO", "RAAR"])
def test_a_step_is_that_of_the_paper(algorithm: str) -> None:
    counts, mask = measured()
    objects, support = noise(), np.random.default_rng(1).random((2, *SHAPE)) < 0.4
    batch = Batch(pattern_of(counts, mask), corner(objects), corner(support), beta=BETA)
    expected = objects
    for _ in range(3):
        batch.step(algorithm)
        expected = step_by_the_book(algorithm, expected, projection(expected, counts, mask), support)
    np.testing.assert_allclose(centred(batch.objects), expected, atol=2e-4)


def test_algorithms_may_follow_one_another() -> None:
    counts, mask = measured()
    objects, support = noise(), np.random.default_rng(1).random(SHAPE) < 0.4
    batch = Batch(pattern_of(counts, mask), corner(objects), corner(support), beta=BETA)
    expected = objects
    for algorithm in ("HIO", "ER", "RAAR", "RAAR", "HIO", "ER"):
        batch.step(algorithm)
        expected = step_by_the_book(algorithm, expected, projection(expected, counts, mask), support)
    np.testing.assert_allclose(centred(batch.objects), expected, atol=5e-4)


def test_projection_has_measured_amplitudes_where_seen_and_its_own_elsewhere() -> None:
    counts, mask = measured()
    objects = noise()
    batch = Batch(pattern_of(counts, mask), corner(objects), torch.ones(SHAPE, dtype=torch.bool), beta=BETA)
    before, after = transform(objects), transform(centred(batch.project()))
    np.testing.assert_allclose(
        np.abs(after[:, mask]), np.broadcast_to(np.sqrt(counts[mask]), (2, mask.sum())), atol=1e-3
    )
    np.testing.assert_allclose(np.angle(after[:, mask] / before[:, mask]), 0.0, atol=1e-3)
    np.testing.assert_allclose(after[:, ~mask], before[:, ~mask], atol=1e-3)


def test_held_out_voxels_are_not_projected() -> None:
    counts, _ = measured()
    pattern = pattern_of(counts, held_out=0.1)
    objects = corner(noise())
    batch = Batch(pattern, objects, torch.ones(SHAPE, dtype=torch.bool), beta=BETA)
    after, before = torch.fft.fftn(batch.project(), dim=(1, 2, 3)), torch.fft.fftn(objects, dim=(1, 2, 3))
    assert pattern.held_out.any()
    torch.testing.assert_close(after[:, pattern.held_out], before[:, pattern.held_out], atol=1e-3, rtol=0)


def test_projecting_twice_is_projecting_once() -> None:
    counts, mask = measured()
    batch = Batch(pattern_of(counts, mask), corner(noise()), torch.ones(SHAPE, dtype=torch.bool), beta=BETA)
    once = batch.objects = batch.project()
    torch.testing.assert_close(batch.project(), once.clone(), atol=1e-4, rtol=0)


def test_projection_with_partial_coherence_scales_by_the_blurred_amplitude() -> None:
    """Clark et al., Nat. Commun. 3 (2012) 993: F times sqrt(measured / (|F|^2 convolved with the kernel))."""
    counts, mask = measured()
    pattern, objects = pattern_of(counts, mask), noise()
    batch = Batch(
        pattern, corner(objects), torch.ones(SHAPE, dtype=torch.bool), beta=BETA, kernel=Kernel("gaussian", pattern)
    )
    field, blurred = transform(objects), centred(batch.intensities())
    assert np.abs(blurred / np.abs(field) ** 2 - 1).max() > 0.1
    expected = np.where(mask, field * np.sqrt(counts / blurred), field)
    np.testing.assert_allclose(transform(centred(batch.project())), expected, atol=0.01)


def test_intensities_are_those_of_the_objects() -> None:
    objects = noise()
    pattern = pattern_of(measured()[0])
    batch = Batch(pattern, corner(objects), torch.ones(SHAPE, dtype=torch.bool), beta=BETA)
    np.testing.assert_allclose(centred(batch.intensities()), np.abs(transform(objects)) ** 2, rtol=1e-3, atol=0.1)
    torch.testing.assert_close(batch.intensities(), coherent_intensity(batch.objects))


@pytest.mark.parametrize("seed", range(3))
def test_error_reduction_never_increases_the_error_with_a_fixed_support(seed: int) -> None:
    """Fienup, Appl. Opt. 21 (1982) 2758: the distance to the measured amplitudes cannot grow."""
    object_ = bright(strained_crystal(24, seed), 1e5)
    mask = gaps((24, 24, 24))
    counts = poisson(np.abs(transform(object_)) ** 2)
    support = ndimage.binary_dilation(np.abs(object_) > 0)
    pattern = pattern_of(counts, mask, held_out=0.02)
    batch = Batch(pattern, corner(noise(2, counts.shape, seed) * support), corner(support), beta=BETA)
    errors = []
    for _ in range(25):
        batch.step("ER")
        off = (batch.intensities().sqrt() - pattern.amplitude) * pattern.seen
        errors.append(off.double().square().sum(dim=(1, 2, 3)).numpy())
    assert (np.diff(errors, axis=0) <= 1e-5 * errors[0]).all()
    assert (errors[-1] < 0.5 * errors[0]).all()


def test_a_true_object_stays_where_it_is() -> None:
    object_ = bright(strained_crystal(24), 1e5)
    pattern = pattern_of(np.abs(transform(object_)) ** 2)
    for algorithm in ("ER", "HIO", "RAAR"):
        batch = Batch(pattern, corner(object_[None]), corner(np.abs(object_) > 0), beta=BETA)
        for _ in range(5):
            batch.step(algorithm)
        np.testing.assert_allclose(centred(batch.objects)[0], object_, atol=1e-3 * np.abs(object_).max())


def test_removing_the_twin_empties_all_but_a_quarter() -> None:
    batch = Batch(pattern_of(measured()[0]), corner(noise()), torch.ones(SHAPE, dtype=torch.bool), beta=BETA)
    before = batch.objects.clone()
    batch.remove_twin()
    kept = batch.objects != 0
    assert kept.sum() == 2 * 12 * 6 * 7
    torch.testing.assert_close(batch.objects[kept], before[kept])


def test_redrawn_supports_hold_from_the_next_step() -> None:
    object_ = strained_crystal(24)
    pattern = pattern_of(np.abs(transform(object_)) ** 2)
    batch = Batch(pattern, corner(object_[None]), torch.ones((24, 24, 24), dtype=torch.bool), beta=BETA)
    batch.step("ER")
    batch.objects = corner((object_ + 0.01 * noise(1, (24, 24, 24))[0])[None].astype(np.complex64))
    batch.wrap(gaussian_transfer((24, 24, 24), 1.0, torch.device("cpu")), 0.1)
    batch.step("ER")
    assert 0 < batch.support.sum() < 24**3 / 4
    assert not batch.objects[~batch.support].any()
    assert batch.objects[batch.support].abs().min() > 0


def test_sigma_falls_linearly_and_settles() -> None:
    wrap = ShrinkWrap(first_sigma=3.0, last_sigma=1.0, threshold=0.1, period=5, settling=0.5)
    assert [wrap.sigma(done) for done in (0.0, 0.25, 0.5, 0.9, 1.0)] == pytest.approx([3.0, 2.0, 1.0, 1.0, 1.0])


class Recorder(Batch):
    """Notes what it is told to do."""

    told: list[str]

    def step(self, algorithm: str) -> None:
        self.told.append(algorithm)

    def wrap(self, transfer: torch.Tensor, threshold: float) -> None:
        self.told.append("wrap")

    def remove_twin(self) -> None:
        self.told.append("twin")


@pytest.fixture
def recorder() -> Recorder:
    batch = Recorder(pattern_of(measured()[0]), corner(noise()), torch.ones(SHAPE, dtype=torch.bool), beta=BETA)
    batch.told = []
    return batch


def test_a_schedule_runs_in_order_with_shrink_wrap_between(recorder: Recorder) -> None:
    wrap = ShrinkWrap(first_sigma=2.0, last_sigma=1.0, threshold=0.1, period=2)
    run(recorder, ("ER", "ER", "HIO", "HIO", "RAAR"), wrap, twin_iteration=3)
    assert recorder.told == ["ER", "ER", "wrap", "HIO", "twin", "HIO", "wrap", "RAAR"]


def test_each_iteration_is_told_and_may_stop_the_run(recorder: Recorder) -> None:
    told: list[int] = []

    def each(voxels: int) -> None:
        told.append(voxels)
        if len(told) == 3:
            raise KeyError("enough")

    with pytest.raises(KeyError):
        run(recorder, ("ER",) * 9, None, each=each)
    assert told == [2 * 12 * 13 * 14] * 3
    assert recorder.told == ["ER"] * 3
