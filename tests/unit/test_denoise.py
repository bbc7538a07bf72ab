"""The denoiser: what it is shown, what it is asked for, what it is compared with."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from models.denoise.network import build
from models.denoise.predict import denoise, item_shape
from models.denoise.train import TASK, examples, loss, metrics
from models.engine.port import Engine
from models.engine.torch import TorchEngine
from models.registry import build as trained
from models.registry import network
from models.simulate.scenes import Scenes, training_scenes

SHAPE = (16, 16, 16)
# Enough for every decade of flux: bright patterns alone need no denoising.
DRAWN = 16


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return next(training_scenes("train", DRAWN, SHAPE, seed=7, device="cpu"))


def test_truth_is_without_loss_and_error(scenes: Scenes) -> None:
    asked = examples(scenes)
    assert asked.inputs.shape == (DRAWN, 2, *SHAPE)
    assert loss(asked.targets, asked) == 0.0
    assert loss(asked.targets + ~scenes.announced[:, None] * 9.0, asked) == 0.0
    found = metrics(asked.targets, scenes)
    assert all(values.shape == (DRAWN,) for values in found.values())
    assert found["log"].max() < 1e-5
    assert found["amplitude"].max() < 1e-5


def test_baselines_are_what_they_say(scenes: Scenes) -> None:
    found = metrics(examples(scenes).inputs[:, :1], scenes)
    torch.testing.assert_close(found["log"], found["log_counts"])
    torch.testing.assert_close(found["amplitude"], found["amplitude_counts"])
    assert found["log_filter"].mean() < found["log_counts"].mean()
    assert found["amplitude_filter"].mean() < found["amplitude_counts"].mean()


def test_network_takes_any_edge_that_can_be_halved() -> None:
    assert build()(torch.zeros(1, 2, 16, 24, 32)).shape == (1, 1, 16, 24, 32)


def test_shipped_network_does_better_than_the_counts_and_says_so(scenes: Scenes) -> None:
    found = network("denoise")
    assert found.card.name == TASK.name
    for family in TASK.tested_on:
        assert found.card.metrics[family]["log"] < found.card.metrics[family]["log_filter"]
    with torch.no_grad():
        outputs = trained(found)(examples(scenes).inputs)
    values = metrics(outputs, scenes)
    assert values["log"].mean() < values["log_counts"].mean()


@pytest.fixture(scope="module")
def engine() -> Engine:
    return TorchEngine(trained(network("denoise")), item_shape(SHAPE), precision="fp32")


def test_predicting_takes_and_gives_arrays(scenes: Scenes, engine: Engine) -> None:
    counts, mask = scenes.counts[0].numpy(), scenes.announced[0].numpy()
    expected = denoise(counts, mask, engine)
    assert (expected.shape, expected.dtype) == (SHAPE, np.float32)
    assert expected.min() >= 0.0
    filled = np.where(mask, counts, 1e6).astype(np.float32)
    np.testing.assert_array_equal(denoise(filled, mask, engine), expected)


def test_edges_that_cannot_be_halved_end_in_pixels_that_are_not_announced(scenes: Scenes, engine: Engine) -> None:
    counts, mask = scenes.counts[0].numpy(), scenes.announced[0].numpy()
    inside = np.s_[:16, :13, :9]
    cut = denoise(counts[inside], mask[inside], engine)
    beyond = np.zeros(SHAPE, bool)
    beyond[inside] = mask[inside]
    assert item_shape(cut.shape) == (2, *SHAPE)
    np.testing.assert_array_equal(cut, denoise(counts, beyond, engine)[inside])
    message = r"counts of \(8, 16, 16\) need an engine of items \(2, 8, 16, 16\), got one of \(2, 16, 16, 16\)"
    with pytest.raises(ValueError, match=message):
        denoise(counts[:8], mask[:8], engine)


def test_task_is_named_after_its_folder() -> None:
    assert dataclasses.asdict(TASK)["name"] == "denoise"
