"""What the autoencoder learns: to tell a crystal by few numbers, spread evenly."""

from __future__ import annotations

import dataclasses

import torch
from torch import Generator, Tensor

from models.autoencoder.network import build, split
from models.invert.train import TASK as INVERT
from models.invert.train import examples as views_of
from models.invert.train import object_metrics, wanted_objects
from models.simulate.diffraction import AXES
from models.simulate.scenes import Scenes
from models.training.task import Examples, Task

# Weight of how far latents are from a normal distribution, nats each, beside the share of the power that is missed.
SPREAD_SHARE = 3e-4


def examples(scenes: Scenes, generator: Generator) -> Examples:
    """Return crystals (batch, 2, EDGE, EDGE, EDGE) on the grids of their patterns, as input and as target, the phase of
    their sum zero.
    """
    drawn = views_of(scenes, generator)
    objects = wanted_objects(drawn)
    turned = objects * torch.exp(-1j * objects.sum(AXES).angle())[:, None, None, None]
    both = torch.stack([turned.real, turned.imag], 1)
    return Examples(inputs=both, targets=both, weights=drawn.weights)


def loss(outputs: Tensor, examples: Examples) -> Tensor:
    """Return the share of the power that is missed, and how far the latents are from a normal distribution."""
    found, mean, log_variance = split(outputs)
    wanted = wanted_objects(examples)
    missed = (found - wanted).abs().square().sum(AXES) / wanted.abs().square().sum(AXES)
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(1)
    return (missed + SPREAD_SHARE * divergence).mean()


def metrics(outputs: Tensor, examples: Examples) -> dict[str, Tensor]:
    """Return how near the crystals come, see `models.invert.train.metrics`."""
    return object_metrics(split(outputs)[0], examples)


TASK: Task = dataclasses.replace(
    INVERT,
    name="autoencoder",
    summary="Crystals as 96 learned latents, and back",
    build=build,
    examples=examples,
    loss=loss,
    metrics=metrics,
    batch=16,
    draw=32,
)
