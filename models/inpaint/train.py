"""What the inpainter learns: the crystal's intensity in gaps of all kinds, from what the detector counted around."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn.functional import smooth_l1_loss

from models.inpaint.masks import random_hidden
from models.inpaint.network import EDGE, FLOOR_COUNTS, LINE, POSITIONS, build, decoded, variance
from models.inpaint.windows import cut, encoded, pattern_of
from models.simulate.draws import chosen, normal
from models.simulate.scenes import Scenes
from models.training.means import AXES, weighted_mean
from models.training.task import Examples, Task

# Gaps that each scene is shown with, and windows of each: a window costs less than a scene, and less than a guide.
GAPS, WINDOWS = 2, 12
# Share of the gaps for which there is a guide.
GUIDED = 0.5
# Share of the gaps that leave a single frame.
SINGLE = 0.06
# Hidden voxels are drawn by the logarithm of what is expected there; a dark one is this likely.
DARK = 0.3
# Windows lie about a hidden voxel, this much off (sigma, voxels).
OFF_CENTRE = 5.0
# Where the loss turns from square to straight: the relative error of a few counts.
STRAIGHT_FROM = 0.5
# Of the likelihood of the standard deviation, beside the error of the intensity.
LIKELIHOOD_SHARE = 0.1


def examples(scenes: Scenes, generator: Generator, guided: float = GUIDED) -> Examples:
    """Return windows about gaps, for a share `guided` of which there is a guide.

    Targets (windows, 2, z, y, x): log1p of the expected counts, the measured ones; weights: where they are hidden,
    where the detector counted them.
    """
    shape: tuple[int, int, int] = tuple(scenes.counts.shape[-3:])  # type: ignore[assignment]
    scene = torch.arange(len(scenes.counts), device=scenes.counts.device).repeat_interleave(GAPS)
    brightest = scenes.expected.flatten(1).argmax(1)[scene]
    asked = random_hidden(generator, torch.stack(torch.unravel_index(brightest, shape), -1), shape)
    announced = scenes.announced[scene]
    shown = _shown_frames(generator, len(scene), shape)
    seen = announced & ~asked & shown
    counts = scenes.counts[scene] * seen
    pattern = pattern_of(counts, seen, chosen(generator, guided, len(scene)).tolist())
    items = torch.arange(len(scene), device=scene.device).repeat_interleave(WINDOWS)
    off = (OFF_CENTRE * normal(generator, len(items), 3)).round().long()
    likely = (DARK + scenes.expected.log1p())[scene] * (shown & ~seen)
    starts = _some_voxels(generator, likely) - EDGE // 2 + off
    of_scenes = [cut(volumes, scene[items], starts) for volumes in (scenes.expected.log1p(), scenes.counts)]
    of_gaps = [cut(masks, items, starts).float() for masks in (shown & ~seen, shown & asked & announced)]
    return Examples(
        inputs=encoded(pattern, items, starts), targets=torch.stack(of_scenes, 1), weights=torch.stack(of_gaps, 1)
    )


def _shown_frames(generator: Generator, batch: int, shape: tuple[int, int, int]) -> Tensor:
    """Draw bool (batch, z, 1, 1): all frames, or one of the middle half alone."""
    length = shape[0]
    only = torch.randint(length // 4, 3 * length // 4, (batch, 1), generator=generator, device=generator.device)
    alone = torch.arange(length, device=generator.device) == only
    return (alone | ~chosen(generator, SINGLE, batch, 1))[..., None, None]


def _some_voxels(generator: Generator, weights: Tensor) -> Tensor:
    """Draw the indices (batch * WINDOWS, 3) of voxels, each as likely as its weight (batch, z, y, x).

    Efraimidis and Spirakis, Inf. Process. Lett. 97 (2006) 181: the largest of u^(1 / weight), u even.
    """
    score = torch.rand(weights.shape, generator=generator, device=weights.device).log() / weights.clamp(min=1e-9)
    places = score.flatten(1).topk(WINDOWS).indices.flatten()
    return torch.stack(torch.unravel_index(places, weights.shape[1:]), -1)


def mirrored(examples: Examples, generator: Generator) -> Examples:
    """Return the windows as other crystals would leave them: each turned about at random along each axis."""
    inputs, targets, weights = examples.inputs, examples.targets, examples.weights
    for number, axis in enumerate(AXES):
        turned = chosen(generator, 0.5, len(inputs), 1, 1, 1, 1)
        inputs, targets, weights = (torch.where(turned, v.flip(axis), v) for v in (inputs, targets, weights))
        inputs[:, POSITIONS.start + number] *= torch.where(turned[:, 0], -1.0, 1.0)
    return Examples(inputs=inputs, targets=targets, weights=weights)


def loss(outputs: Tensor, examples: Examples) -> Tensor:
    """Return smooth L1 of the logarithms and the likelihood of the amplitudes, over what is hidden in each window."""
    hidden, wanted = examples.weights[:, 0], examples.targets[:, 0]
    error = smooth_l1_loss(outputs[:, 0], wanted, reduction="none", beta=STRAIGHT_FROM)
    intensity, sigma = decoded(outputs)
    amplitude = (intensity.detach() + FLOOR_COUNTS).sqrt()
    sigma = sigma / (intensity + FLOOR_COUNTS).sqrt() * amplitude
    away = ((wanted.expm1() + FLOOR_COUNTS).sqrt() - amplitude) / sigma
    unlikely = (sigma / amplitude).log() + away.square() / 2.0
    return weighted_mean(error + LIKELIHOOD_SHARE * unlikely, hidden).mean()


def metrics(outputs: Tensor, examples: Examples) -> dict[str, Tensor]:
    """Return how well hidden voxels are told, beside lines between the nearest seen ones.

    `pearson` of log1p against the noise-free intensity, `log` mean of |log1p found - log1p true|; `within_sigma` share
    of the measured counts within a standard deviation, where 10 or more are expected.
    """
    hidden, truth = examples.weights[:, 0], examples.targets[:, 0]
    line = examples.inputs[:, LINE]
    found = {}
    for suffix, guess in (("", outputs[:, 0].clamp(min=0.0)), ("_line", line)):
        found[f"pearson{suffix}"] = _pearson(guess, truth, hidden)
        found[f"log{suffix}"] = weighted_mean((guess - truth).abs(), hidden)
    intensity, sigma = decoded(outputs)
    measured = examples.weights[:, 1] * (intensity >= 10.0)
    within = (examples.targets[:, 1] - intensity).square() <= variance(intensity, sigma)
    return found | {"within_sigma": weighted_mean(within.float(), measured)[measured.sum(AXES) > 0]}


def _pearson(one: Tensor, other: Tensor, weights: Tensor) -> Tensor:
    first, second = (values - weighted_mean(values, weights).view(-1, 1, 1, 1) for values in (one, other))
    spread = weighted_mean(first.square(), weights) * weighted_mean(second.square(), weights)
    return weighted_mean(first * second, weights) / spread.clamp(min=1e-12).sqrt()


TASK = Task(
    name="inpaint",
    summary="Intensity in detector gaps of 1 to 16 pixels, with its standard deviation",
    build=build,
    examples=examples,
    loss=loss,
    metrics=metrics,
    edge=64,
    multiple=8,
    batch=1,
    learning_rate=2e-3,
    pool=512,
    draw=6,
    times=8,
    vary=mirrored,
    validation_volumes=8,
    test_volumes=8,
)
