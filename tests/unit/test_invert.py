"""Inversion in one step, with a network that has learned nothing: the ellipsoid that the size of the pattern tells."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from models.engine.torch import TorchEngine
from models.invert.latent import SUPPORT
from models.invert.network import build
from models.invert.predict import ITEM, invert
from models.invert.trust import doubt, unexplained
from models.invert.view import SEMI_AXIS
from tests.helpers.patterns import bright, poisson, strained_crystal, transform

EDGE = 40
TRUTH = bright(strained_crystal(EDGE), 1e5)
COUNTS = poisson(np.abs(transform(TRUTH)) ** 2)


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    return TorchEngine(build().eval(), ITEM)


def test_the_crystal_explains_the_counts_as_far_as_it_says(engine: TorchEngine) -> None:
    found = invert(COUNTS, engine=engine)
    told, counted = np.abs(transform(found.object_)), np.sqrt(COUNTS)
    assert found.object_.shape == found.support.shape == COUNTS.shape
    assert found.chi == pytest.approx(((told - counted) ** 2).sum() / COUNTS.sum(), rel=1e-3)
    assert 0.0 < found.chi < 1.0
    assert len(found.latent) == found.space.size
    inside = np.abs(TRUTH) > SUPPORT * np.abs(TRUTH).max()
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        widths = [mask.any(others).sum() for mask in (found.support, inside)]
        assert widths[0] == pytest.approx(widths[1], rel=0.35)


def test_counting_noise_is_not_held_against_a_crystal() -> None:
    truth = torch.from_numpy(TRUTH)[None]
    seen = torch.ones(COUNTS.shape, dtype=torch.bool)
    for share in (1.0, 1e-2, 1e-4):  # the last leaves a few thousand photons
        dim = poisson(share * np.abs(transform(TRUTH)) ** 2)
        told = truth * math.sqrt(share)
        assert abs(float(unexplained(told, torch.from_numpy(dim), seen)[0])) < 0.02
        assert float(unexplained(told * 0.0, torch.from_numpy(dim), seen)[0]) > 0.9
    assert doubt(0.02) == ""
    assert "0.50 of the amplitudes" in doubt(0.5)


def test_attenuated_frames_and_background_are_not_held_against_a_crystal() -> None:
    truth = torch.from_numpy(TRUTH)[None] * math.sqrt(1e-3)
    seen = torch.ones(COUNTS.shape, dtype=torch.bool)
    scale = np.ones((EDGE, 1, 1), np.float32)
    scale[EDGE // 2 - 2 : EDGE // 2 + 3] = 0.01
    expected = scale * 1e-3 * np.abs(transform(TRUTH)) ** 2 + 0.5
    counted = poisson(expected)
    light = torch.from_numpy(scale), 0.5
    intensity = (torch.from_numpy(counted) - 0.5).clamp(min=0.0) / light[0]
    assert abs(float(unexplained(truth, intensity, seen, *light)[0])) < 0.03
    assert float(unexplained(truth, intensity, seen)[0]) > 0.1


def test_a_gap_is_filled_first_and_does_not_count(engine: TorchEngine) -> None:
    seen = np.ones(COUNTS.shape, bool)
    seen[:, 24:27] = False
    whole, gapped = invert(COUNTS, engine=engine), invert(np.where(seen, COUNTS, np.float32(1e6)), seen, engine=engine)
    np.testing.assert_allclose(gapped.space.semi_axes, whole.space.semi_axes, rtol=0.2)
    assert gapped.chi == pytest.approx(whole.chi, rel=0.5)


def test_a_crystal_as_large_as_the_field_of_view_still_fits(engine: TorchEngine) -> None:
    noise = np.random.default_rng(0).poisson(50.0, (24, 24, 24)).astype(np.float32)
    noise[12, 12, 12] = 1e4
    found = invert(noise, engine=engine)
    assert max(found.space.semi_axes) <= 11.0 < SEMI_AXIS * 24


@pytest.mark.parametrize(
    ("counts", "mask", "match"),
    [
        (np.zeros((8, 8, 8), np.float32), None, "zero counts"),
        (np.full((8, 8, 8), np.nan, np.float32), None, "not finite"),
        (np.full((8, 8, 8), -1.0, np.float32), None, "negative"),
        (np.ones((8, 8), np.float32), None, "needs a volume"),
        (np.ones((8, 8, 8), np.float32), np.zeros((8, 8, 8), bool), "masked"),
        (np.ones((8, 8, 8), np.float32), np.ones((8, 8), bool), "expected the same"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    counts: np.ndarray, mask: np.ndarray | None, match: str, engine: TorchEngine
) -> None:
    with pytest.raises(ValueError, match=match) as raised:
        invert(counts, mask, engine=engine)
    assert "\n" not in str(raised.value)
