"""The denoiser: what it is shown, what it is asked for, what it is compared with, what it refuses."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from models.denoise.network import build, decoded, encoded
from models.denoise.pairs import HIGH_S, LOW_S, Pairs, simulate, task_of
from models.denoise.predict import denoise, item_shape
from models.denoise.schemes import SCHEMES, Noise, Scheme
from models.denoise.train import TASK
from models.engine.port import Engine
from models.engine.torch import TorchEngine
from models.registry import build as trained
from models.registry import network
from models.simulate.draws import seeded
from models.simulate.scenes import Scenes, training_scenes
from models.simulate.small_angle import random_small_angle
from models.training.task import Examples

SHAPE = (16, 16, 16)
# Enough for every decade of flux: bright patterns alone need no denoising.
DRAWN = 16
CERTAIN = -3.0  # logarithm of a relative standard deviation


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return next(training_scenes("train", DRAWN, SHAPE, seed=7, device="cpu"))


@pytest.fixture(scope="module")
def asked(scenes: Scenes) -> Examples:
    return TASK.examples(scenes, seeded(0))


def telling(expected: torch.Tensor) -> torch.Tensor:
    """Return outputs that are decoded to `expected`."""
    wanted = expected.double().log1p().clamp(min=1e-4)
    above_zero = wanted + torch.log(-torch.expm1(-10.0 * wanted)) / 10.0  # the inverse of a softplus
    return torch.stack([above_zero.float(), torch.full_like(expected, CERTAIN)], 1)


def test_network_begins_with_the_counts_and_takes_any_edge_that_can_be_halved() -> None:
    volume = torch.rand(1, 2, 16, 24, 32) * 5.0
    outputs = build()(volume)
    assert outputs.shape == (1, 2, 16, 24, 32)
    torch.testing.assert_close(outputs[:, 0], volume[:, 0])


def test_what_is_told_is_never_negative_and_counts_stay_counts() -> None:
    counts = torch.tensor([0.0, 3.0, 1e3, 1e6]).view(1, 1, 2, 2)
    shown = encoded(counts, torch.ones(1, 1, 2, 2, dtype=torch.bool))
    expected, sigma = decoded(torch.cat([shown[:, :1], 0.0 * shown[:, 1:]], 1))
    torch.testing.assert_close(expected.flatten()[1:], counts.flatten()[1:], rtol=1e-4, atol=1e-3)
    assert 0.0 <= expected.flatten()[0] < 0.1
    torch.testing.assert_close(sigma, expected + 1.0)
    negative = encoded(-counts, torch.ones(1, 1, 2, 2, dtype=torch.bool))
    torch.testing.assert_close(negative[:, 0], -shown[:, 0])


@pytest.mark.parametrize(("scheme", "noise"), SCHEMES)
def test_every_scheme_asks_for_the_expected_counts_on_average(scheme: Scheme, noise: Noise, scenes: Scenes) -> None:
    drawn = [SCHEMES[scheme, noise](scenes, seeded(seed)) for seed in range(4)]
    assert {tuple(one.inputs.shape) for one in drawn} == {(DRAWN, 2, *SHAPE)}
    truth = [SCHEMES["noise2truth", noise](scenes, seeded(seed)).targets[:, 0] for seed in range(4)]
    off = [((one.targets[:, 0] - true) * one.weights[:, 0]) for one, true in zip(drawn, truth, strict=True)]
    asked = torch.stack([one.weights[:, 0] for one in drawn]).bool()
    variance = torch.stack([one.targets[:, 1] for one in drawn])[asked]
    spread = torch.stack(off)[asked]
    if scheme == "noise2truth":
        assert spread.abs().max() == 0.0
        return
    if noise == "gaussian" or scheme == "noise2noise":  # counts of noise2void have the faults of a detector
        assert spread.mean().abs() < 5.0 * spread.std() / len(spread) ** 0.5
        assert float(spread.square().mean()) == pytest.approx(float(variance.mean()), rel=0.1)


def test_noise2void_never_shows_what_it_asks_for(scenes: Scenes) -> None:
    one = SCHEMES["noise2void", "poisson"](scenes, seeded(0))
    other = SCHEMES["noise2void", "poisson"](scenes, seeded(0))
    blind = one.weights[:, 0] > 0
    assert 0.02 < blind.float().mean() < 0.04
    target = one.targets[:, 0]
    same = encoded(target, torch.ones_like(blind))[:, 0][blind] == one.inputs[:, 0][blind]
    bright = target[blind] > 50
    assert same[bright].float().mean() < 0.1
    assert torch.equal(one.inputs, other.inputs)


def test_the_loss_has_its_minimum_at_the_mean_whatever_the_noise() -> None:
    generator = seeded(1)
    for mean in (0.3, 5.0, 300.0):
        counts = torch.poisson(torch.full((1, 40, 40, 40), mean), generator=generator)
        shown = torch.stack([counts, counts], 1)
        asked = Examples(inputs=shown, targets=shown, weights=torch.ones_like(shown[:, :1]))
        losses = {
            share: float(TASK.loss(telling(torch.full_like(counts, share * mean)), asked)) for share in (0.9, 1.0, 1.1)
        }
        assert losses[1.0] < min(losses[0.9], losses[1.1])


def test_truth_is_without_error_and_baselines_are_what_they_say(asked: Examples) -> None:
    truth = TASK.metrics(telling(asked.targets[:, 0]), asked)
    assert truth["log"].max() < 1e-3
    assert truth["amplitude"].max() < 1e-4
    torch.testing.assert_close(truth["total"], torch.ones(DRAWN), rtol=1e-2, atol=1e-2)
    assert truth["within_sigma"].min() == 1.0
    shown = asked.inputs[:, 0].clamp(min=0.0).expm1()
    counts = TASK.metrics(telling(shown), asked)
    torch.testing.assert_close(counts["log"], counts["log_counts"], rtol=1e-2, atol=1e-3)
    assert counts["log_filter"].mean() < counts["log_counts"].mean()
    assert counts["amplitude_filter"].mean() < counts["amplitude_counts"].mean()


def test_small_angle_patterns_have_their_flux_fall_off_and_drift() -> None:
    flux = torch.tensor([1e4, 1e6, 1e8])
    pattern = random_small_angle(seeded(0), 3, (8, 64, 48), flux)
    torch.testing.assert_close(pattern.sum((1, 2, 3)), flux, rtol=1e-3, atol=0)
    assert pattern.min() >= 0.0
    assert (pattern.amax((2, 3)) > 20.0 * pattern.flatten(2).median(-1).values).all()
    assert (pattern[:, 0] - pattern[:, -1]).abs().amax((1, 2)).min() > 0.0


# The network that is shipped.


def test_shipped_network_does_better_than_the_counts_and_says_so(asked: Examples) -> None:
    found = network("denoise")
    assert found.card.name == TASK.name
    for family in TASK.tested_on:
        metrics = found.card.metrics[family]
        assert metrics["log"] < metrics["log_filter"]
        assert metrics["amplitude"] < metrics["amplitude_filter"]
    with torch.no_grad():
        values = TASK.metrics(trained(found)(asked.inputs), asked)
    assert values["log"].mean() < values["log_counts"].mean()
    assert values["amplitude"].mean() < values["amplitude_counts"].mean()


@pytest.fixture(scope="module")
def engine() -> Engine:
    return TorchEngine(trained(network("denoise")), item_shape(SHAPE), precision="fp32")


def test_predicting_takes_and_gives_arrays(scenes: Scenes, engine: Engine) -> None:
    counts, mask = scenes.counts[0].numpy(), scenes.announced[0].numpy()
    found = denoise(counts, mask, engine=engine)
    assert (found.frames.shape, found.frames.dtype) == (SHAPE, np.float32)
    assert found.frames.min() >= 0.0
    assert found.std.min() > 0.0
    hidden = np.where(mask, counts, np.nan).astype(np.float32)
    np.testing.assert_array_equal(denoise(hidden, mask, engine=engine).frames, found.frames)


def test_edges_that_cannot_be_halved_end_in_pixels_that_are_not_announced(scenes: Scenes, engine: Engine) -> None:
    counts, mask = scenes.counts[0].numpy(), scenes.announced[0].numpy()
    inside = np.s_[:16, :13, :9]
    cut = denoise(counts[inside], mask[inside], engine=engine)
    beyond = np.zeros(SHAPE, bool)
    beyond[inside] = mask[inside]
    assert item_shape(cut.frames.shape) == (2, *SHAPE)
    np.testing.assert_array_equal(cut.frames, denoise(counts, beyond, engine=engine).frames[inside])


def test_a_single_frame_and_its_own_engine() -> None:
    frame = np.random.default_rng(0).poisson(4.0, (20, 30)).astype(np.float32)
    found = denoise(frame)
    assert found.frames.shape == found.std.shape == (20, 30)
    assert found.frames.std() < frame.std()


def test_background_is_subtracted_in_proportion_to_the_monitor(scenes: Scenes, engine: Engine) -> None:
    counts, mask = scenes.counts[0].numpy(), scenes.announced[0].numpy()
    background = np.full(SHAPE[1:], 2.0, np.float32)
    monitor = np.linspace(0.5, 1.5, SHAPE[0], dtype=np.float32)
    plain = denoise(counts, mask, engine=engine).frames
    less = denoise(counts, mask, engine=engine, background=background, monitor=monitor).frames
    np.testing.assert_allclose(plain - less, np.broadcast_to(2.0 * monitor[:, None, None], SHAPE), atol=1e-3)
    by_voxel = np.broadcast_to(monitor[:, None, None], SHAPE)
    np.testing.assert_array_equal(
        denoise(counts, mask, engine=engine, background=background, monitor=by_voxel).frames, less
    )


def test_shipped_network_looks_farther_than_its_finest_level() -> None:
    counts = np.random.default_rng(0).poisson(30.0, (32, 48, 48)).astype(np.float32)
    more = counts.copy()
    more[16, 24, 24:28] += 300.0
    changed = np.abs(denoise(more).frames - denoise(counts).frames)
    assert changed[16, 24, 36:44].max() > 1e-3


def test_something_large_is_told_tile_by_tile_as_if_it_were_one(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (21, 150, 100)
    rate = 30.0 * np.exp(-np.hypot(*np.ogrid[-75:75, -50:50]) / 20.0)
    counts = np.random.default_rng(0).poisson(np.broadcast_to(rate, shape)).astype(np.float32)
    whole = denoise(counts)
    monkeypatch.setattr("models.denoise.predict.LARGEST", (64, 64, 64))
    assert item_shape(shape) == (2, 24, 64, 64)
    tiled = denoise(counts)
    off = np.abs(tiled.frames - whole.frames)
    assert np.quantile(off / whole.std, 0.999) < 0.3
    assert abs(tiled.frames.sum() / whole.frames.sum() - 1.0) < 1e-3


@pytest.mark.parametrize(
    ("frames", "mask", "options", "said"),
    [
        (np.ones((8, 16, 16)), np.ones((8, 16, 16), bool), {}, r"need an engine of items \(2, 8, 16, 16\), got one of"),
        (np.ones(SHAPE), np.zeros(SHAPE, bool), {}, "all voxels are masked: nothing is seen"),
        (np.full(SHAPE, np.nan), np.ones(SHAPE, bool), {}, "4096 voxels that the mask calls good are not finite"),
        (np.ones(SHAPE), np.ones((2, 2, 2), bool), {}, r"mask has shape \(2, 2, 2\), counts"),
        (np.ones(4), np.ones(4, bool), {}, r"counts have shape \(4,\): expected \[rocking, row, column\]"),
        (np.ones(SHAPE), None, {"background": np.ones((2, 2), np.float32)}, r"background of shape \(2, 2\): expected"),
        (
            np.ones(SHAPE),
            None,
            {"background": np.ones((16, 16), np.float32), "monitor": np.full(16, np.nan, np.float32)},
            r"monitor of shape \(16,\): expected \(16,\) or \(16, 16, 16\), finite",
        ),
    ],
)
def test_bad_input_is_told_in_one_line(
    frames: np.ndarray, mask: np.ndarray | None, options: dict, said: str, engine: Engine
) -> None:
    with pytest.raises(ValueError, match=said):
        denoise(frames.astype(np.float32), mask, engine=engine, **options)


# Pairs.


def test_pairs_of_exposures_are_drawn_alike_and_scaled(tmp_path: Path) -> None:
    simulate(tmp_path / "pairs.h5", crystals=4, edge=24)
    pairs = Pairs(tmp_path / "pairs.h5")
    asked = pairs.examples(seeded(0), batch=24, edge=16)
    assert asked.inputs.shape == (24, 2, 16, 16, 16)
    low = asked.inputs[:, 0].clamp(min=0.0).expm1() * asked.weights[:, 0]
    high = asked.targets[:, 0] * asked.weights[:, 0]
    assert float(high.sum()) == pytest.approx(float(low.sum()), rel=0.05)
    assert torch.corrcoef(torch.stack([low.sum((1, 2, 3)), high.sum((1, 2, 3))]))[0, 1] > 0.99
    torch.testing.assert_close(asked.targets[:, 1], asked.targets[:, 0] * LOW_S / HIGH_S)
    wide = pairs.examples(seeded(0), batch=2, edge=32)  # the file has frames of 24 x 24
    assert not wide.weights[..., 24:].any()
    task = task_of(tmp_path / "pairs.h5")
    assert task.tests is TASK.tests
    assert task.name == TASK.name


def test_files_without_pairs_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty.h5").touch()
    with pytest.raises(ValueError, match=r"holds no pairs of exposures: .*; expected low_count and high_count"):
        Pairs(tmp_path / "empty.h5")
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        for name, shape in (("low_count", (4, 8, 8)), ("high_count", (4, 8, 9))):
            file.create_dataset(name, data=np.ones(shape)).attrs["count_time_s"] = 1.0
    with pytest.raises(ValueError, match=r"exposures and mask of shapes \(4, 8, 8\), \(4, 8, 9\) and \(8, 8\)"):
        Pairs(tmp_path / "odd.h5")
