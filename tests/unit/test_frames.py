"""Frames of a rocking curve with doses and places of their own: their far field, its inverse, and what counts tell."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.bcdi.coherence import Kernel
from models.bcdi.frames import FARTHEST, Frames
from models.bcdi.pattern import Pattern, measured_pattern
from models.simulate.diffraction import far_field_of_frames
from tests.helpers.patterns import bright, poisson, strained_crystal

EDGE = 32
CPU = torch.device("cpu")
CRYSTAL = bright(strained_crystal(EDGE), 1e5)
RNG = np.random.default_rng(4)
PLACE = torch.from_numpy(RNG.normal(0.0, 0.08, EDGE)).float().clamp(-FARTHEST, FARTHEST)
DOSE = torch.from_numpy(np.exp(RNG.normal(0.0, 0.04, EDGE))).float()


def corner(array: torch.Tensor) -> torch.Tensor:
    return torch.fft.ifftshift(array, dim=(-3, -2, -1)[: array.ndim][-array.ndim :])


def object_() -> torch.Tensor:
    return corner(torch.from_numpy(CRYSTAL))


def moved() -> Frames:
    frames = Frames(EDGE, CPU)
    frames.take(torch.fft.ifftshift(DOSE), torch.fft.ifftshift(PLACE))
    return frames


def counted(seen: np.ndarray) -> Pattern:
    """What a fluctuating beam counts at places beside the announced ones, of the same crystal, by the simulator."""
    far = far_field_of_frames(torch.from_numpy(CRYSTAL)[None], PLACE[None])[0]
    counts = poisson((far.abs().square() * DOSE[:, None, None]).numpy())
    nothing = np.zeros_like(seen)
    one, dark = np.ones((1, 1, 1), np.float32), np.zeros((1, 1, 1), np.float32)
    return measured_pattern(counts * seen, seen, nothing, scale=one, background=dark, device="cpu")


def test_frames_at_their_places_are_a_transform() -> None:
    field = object_()[None]
    torch.testing.assert_close(
        Frames(EDGE, CPU).far_field(field), torch.fft.fftn(field, dim=(-3, -2, -1)), rtol=1e-3, atol=1.0
    )


def test_the_far_field_is_the_simulators_and_has_an_inverse() -> None:
    frames, field = moved(), object_()[None]
    far = frames.far_field(field)
    wanted = far_field_of_frames(torch.from_numpy(CRYSTAL)[None], PLACE[None])
    torch.testing.assert_close(torch.fft.fftshift(far, dim=(-3, -2, -1)), wanted, rtol=1e-3, atol=1.0)
    torch.testing.assert_close(frames.objects(far), field, rtol=1e-3, atol=1e-3 * float(field.abs().max()))


@pytest.mark.parametrize("gap", [False, True])
def test_doses_and_places_are_told_by_the_counts(gap: bool) -> None:
    seen = np.ones((EDGE, EDGE, EDGE), bool)
    seen[:, :, EDGE // 2 - 2 : EDGE // 2 + 2] = not gap
    pattern = counted(seen)
    frames, kernel = Frames(EDGE, CPU), Kernel("gaussian", pattern)
    kernel.transfer = torch.ones_like(kernel.transfer)  # full coherence
    crystal = object_()
    for _ in range(3):
        crystal = frames.refine(crystal, pattern, kernel)
    places, doses = (torch.fft.fftshift(values) for values in (frames.place, frames.dose))
    weight = torch.fft.fftshift((pattern.counts * pattern.seen).sum((1, 2)))
    told = weight > 1e4
    assert int(told.sum()) > 8
    assert float((places - PLACE)[told].std()) < 0.2 * float(PLACE[told].std())
    assert float((doses * DOSE.median() - DOSE)[told].std()) < 0.3 * float(DOSE[told].std())


def test_a_crystal_that_explains_little_moves_no_frame_far() -> None:
    pattern = counted(np.ones((EDGE, EDGE, EDGE), bool))
    frames = Frames(EDGE, CPU)
    wrong = torch.polar(object_().abs(), 3.0 * torch.randn(object_().shape, generator=torch.Generator().manual_seed(0)))
    frames.refine(wrong, pattern, Kernel("gaussian", pattern))
    assert float(frames.place.abs().mean()) < 0.15
    assert bool((frames.place.abs() <= FARTHEST).all())
