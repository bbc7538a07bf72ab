"""What the benchmark of repair compares with: networks, interpolations and filters do what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.restore import crystals, gaps, noise
from benchmarks.restore.filters import FILTERS, anscombe, inverse_anscombe
from benchmarks.restore.interpolations import biharmonic, cubic, linear, nearest
from benchmarks.restore.peers import MASTO, PEERS, VDSR
from models.engine.torch import TorchEngine
from models.inpaint.network import CHANNELS, build
from models.inpaint.predict import ITEM
from models.simulate.draws import seeded
from models.simulate.scenes import training_scenes


@pytest.mark.parametrize("fill", [nearest, linear, cubic, biharmonic])
def test_interpolations_keep_what_is_seen_and_follow_a_slope(fill: gaps.Fill) -> None:
    rows, columns = np.mgrid[:30, :34]
    counts = np.broadcast_to(np.expm1(1.0 + 0.1 * columns + 0.05 * rows), (3, 30, 34)).astype(np.float32)
    mask = gaps.gap(counts.shape, (np.intp(1), np.intp(15), np.intp(17)), 4, "cross", np.random.default_rng(0))
    filled = fill(np.where(mask, counts, np.float32(0.0)), mask)
    np.testing.assert_array_equal(filled[mask], counts[mask])
    error = np.abs(np.log1p(filled[~mask]) - np.log1p(counts[~mask]))
    assert error.max() < (0.4 if fill is nearest else 0.06)


def test_anscombe_is_inverted_without_bias() -> None:
    rng = np.random.default_rng(0)
    for mean in (1.0, 5.0, 200.0):
        told = inverse_anscombe(np.array([anscombe(rng.poisson(mean, 400_000).astype(np.float32)).mean()], np.float32))
        assert told[0] == pytest.approx(mean, rel=0.02)


@pytest.mark.parametrize("name", FILTERS)
def test_filters_take_noise_away(name: str) -> None:
    exposure = next(noise.exposures(1.0, 1, "poisson"))
    small = noise.Exposure(*(volume[16:48, 16:48, 16:48] for volume in exposure))
    found = noise.scored(iter([small]), noise.filters([name]))
    assert found[name].psnr[0] > found["counts"].psnr[0]


def test_exposures_have_the_mean_that_was_asked_for_and_their_scores_are_exact_for_the_truth() -> None:
    (case,) = noise.exposures(10.0, 1, "gaussian")
    assert case.truth[case.weak].mean() == pytest.approx(10.0, rel=1e-3)
    assert (case.counts - case.truth).std() == pytest.approx(11.0, rel=0.02)
    found = noise.scored(iter([case]), {"truth": lambda _, truth: truth})
    assert found["truth"].ms_ssim[0] == pytest.approx(1.0, abs=1e-4)
    np.testing.assert_allclose(found["truth"].bias[np.isfinite(found["truth"].bias)], 0.0, atol=1e-5)
    thin = noise.thinned(np.full((8, 8, 8), 100.0, np.float32), 0.1)
    assert thin.counts.mean() == pytest.approx(10.0, rel=0.1)
    assert (thin.truth == 10.0).all()


@pytest.mark.parametrize("name", PEERS)
def test_peers_learn(name: str) -> None:
    task = PEERS[name]
    edge = 32 if task is MASTO or "-" not in name else 16
    scenes = next(training_scenes("train", 1, (edge,) * 3, seed=3, device="cpu"))
    asked = task.examples(scenes, seeded(0))
    if len(asked.inputs) > 2:
        asked = replace(asked, inputs=asked.inputs[:2], targets=asked.targets[:2], weights=asked.weights[:2])
    outputs = task.build()(asked.inputs)
    assert outputs.shape == (*asked.inputs.shape[:1], 2, *asked.inputs.shape[2:])
    loss = task.loss(outputs, asked)
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    assert VDSR.build is not MASTO.build


def test_gaps_are_scored_beside_an_oracle_and_calibrated() -> None:
    torch.manual_seed(0)
    engine = TorchEngine(build(), ITEM, batch=(1, 16), precision="fp32")
    rows = {"ours": gaps.network(engine, False), "linear": linear}
    found = gaps.scored(gaps.simulated(1e6, 1, 3, "line"), rows, with_oracle=True)
    assert set(found) == {"ours", "linear", "oracle"}
    assert found["oracle"].truth[0] > found["linear"].truth[0] > 0.5
    assert found["linear"].counts[0] < found["linear"].ceiling[0]
    share, transforms = gaps.calibration(gaps.simulated(1e6, 1, 3, "line"), engine)
    assert 0.0 <= share <= 1.0
    assert transforms.min() >= 0.0
    assert transforms.max() <= 1.0
    assert ITEM[0] == CHANNELS


def test_errors_of_a_crystal_vanish_for_itself_its_twin_and_a_ramp() -> None:
    (case,) = gaps.simulated(1e6, 1, 3, "line")
    assert case.object_ is not None
    object_ = case.object_
    for same in (object_, np.conj(np.roll(object_[::-1, ::-1, ::-1], 1, (0, 1, 2))), object_ * np.exp(0.7j)):
        errors = crystals.compared(same.astype(np.complex64), object_)
        assert errors.amplitude < 0.02
        assert errors.phase < 0.02
    other = object_ * np.exp(0.5j * np.random.default_rng(0).standard_normal(object_.shape))
    assert crystals.compared(other.astype(np.complex64), object_).phase > 0.3
