"""What the denoiser learns: the crystal's photons without noise, background and faults, from one exposure."""

from __future__ import annotations

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from models.denoise.network import MULTIPLE, build, decoded, encoded
from models.simulate.scenes import Scenes
from models.training.task import Examples, Task

# Widths (sigma, voxels) of the Gaussian filters among which the baseline has its choice.
FILTERS = (0.3, 0.5, 0.7, 1.0, 1.4, 2.0)
# Where the loss turns from square to straight: the relative error of a few counts.
STRAIGHT_FROM = 0.5


def examples(scenes: Scenes) -> Examples:
    """Return log1p of counts beside the announced mask, and log1p of the expected counts, asked for where announced."""
    return Examples(
        inputs=encoded(scenes.counts, scenes.announced),
        targets=scenes.expected.log1p()[:, None],
        weights=scenes.announced.float()[:, None],
    )


def loss(outputs: Tensor, examples: Examples) -> Tensor:
    """Return smooth L1 of the logarithms, mean over the voxels asked for."""
    error = smooth_l1_loss(outputs, examples.targets, reduction="none", beta=STRAIGHT_FROM)
    return (error * examples.weights).sum() / examples.weights.sum()


def metrics(outputs: Tensor, scenes: Scenes) -> dict[str, Tensor]:
    """Return errors against the noise-free truth, each beside what the counts and a Gaussian filter have.

    `log`: mean of |log1p found - log1p true|; `amplitude`: sum (sqrt found - sqrt true)^2 / sum true; both over the
    announced voxels. The filter has the width that is best for the volume, told from the truth: a real one does worse.
    """
    guesses = {
        "": decoded(outputs)[None],
        "_counts": scenes.counts[None],
        "_filter": torch.stack([_filtered(scenes, width) for width in FILTERS]),
    }
    found = {}
    for suffix, guess in guesses.items():
        found[f"log{suffix}"] = _log_error(guess, scenes).amin(0)
        found[f"amplitude{suffix}"] = _amplitude_error(guess, scenes).amin(0)
    return found


def _filtered(scenes: Scenes, width: float) -> Tensor:
    """Return the counts smoothed over the announced voxels, (batch, z, y, x)."""
    sigma = (0.0, width, width, width)
    counts, seen = (
        torch.from_numpy(gaussian_filter(array.float().numpy(), sigma, mode="constant"))
        for array in (scenes.counts, scenes.announced)
    )
    return counts / seen.clamp(min=1e-6)


def _log_error(guess: Tensor, scenes: Scenes) -> Tensor:
    error = (guess.log1p() - scenes.expected.log1p()).abs() * scenes.announced
    return error.sum((-3, -2, -1)) / scenes.announced.sum((-3, -2, -1))


def _amplitude_error(guess: Tensor, scenes: Scenes) -> Tensor:
    error = (guess.sqrt() - scenes.expected.sqrt()).square() * scenes.announced
    return error.sum((-3, -2, -1)) / (scenes.expected * scenes.announced).sum((-3, -2, -1))


TASK = Task(
    name="denoise",
    summary="Expected counts from one noisy exposure around a Bragg peak",
    build=build,
    examples=examples,
    loss=loss,
    metrics=metrics,
    multiple=MULTIPLE,
    batch=4,
    learning_rate=3e-3,
)
