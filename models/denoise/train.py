"""What the denoiser learns: the expected counts behind one exposure, and how sure of them it can be."""

from __future__ import annotations

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from models.denoise.network import MULTIPLE, build, decoded
from models.denoise.schemes import SCHEMES
from models.training.means import AXES, weighted_mean
from models.training.task import Examples, Task

# Widths (sigma, voxels) of the Gaussian filters among which the baseline has its choice.
FILTERS = (0.3, 0.5, 0.7, 1.0, 1.4, 2.0)
# A voxel of e counts weighs 1 / ((e + FLOOR) (1 + OVER e)): as Poisson noise does, but where it is bright, as a share.
FLOOR, OVER = 0.01, 0.001
# Of the likelihood of the standard deviation, beside the error of the intensity.
LIKELIHOOD_SHARE = 0.1


def loss(outputs: Tensor, examples: Examples) -> Tensor:
    """Return a quasi-likelihood of the expected counts and one of their standard deviation, mean over what is asked
    for.

    The first (Wedderburn, Biometrika 61 (1974) 439) is linear in the target, so that its mean has the same minimum
    whether the target has noise or not, and the minimum is the mean: no bias. It is taken relative to its value where
    the target is met.
    """
    expected, sigma = decoded(outputs)
    target, variance = examples.targets[:, 0], examples.targets[:, 1]
    missed = _quasi(expected, target) - _quasi(target.clamp(min=0.0), target)
    level = expected.detach() + 1.0
    relative = sigma / (expected + 1.0)
    square = ((target - expected.detach()).square() - variance) / level.square()
    unlikely = relative.log() + square / (2.0 * relative.square())
    weights = examples.weights[:, 0]
    return ((missed + LIKELIHOOD_SHARE * unlikely) * weights).sum() / weights.sum().clamp(min=1.0)


def _quasi(expected: Tensor, target: Tensor) -> Tensor:
    """Integral of (expected - target) / ((expected + FLOOR) (1 + OVER expected)) over expected."""
    rest = 1.0 - OVER * FLOOR
    dim = (target + FLOOR) / rest * (expected + FLOOR).log()
    bright = (1.0 + OVER * target) / (OVER * rest) * (OVER * expected).log1p()
    return bright - dim


def metrics(outputs: Tensor, examples: Examples) -> dict[str, Tensor]:
    """Return errors against the noise-free truth, each beside what the counts and a Gaussian filter have.

    `log`: mean of |log1p found - log1p true|; `amplitude`: sum (sqrt found - sqrt true)^2 / sum true; both over the
    announced voxels. The filter has the width that is best for the volume, told from the truth: a real one does worse.
    `total`: all counts found, as a share of the true ones; `within_sigma`: share of the voxels with one count or more
    whose truth is no farther from what was found than the standard deviation told.
    """
    found, sigma = decoded(outputs)
    shown, seen = examples.inputs[:, 0], examples.inputs[:, 1]
    truth = examples.targets[:, 0]
    counts = (shown.sign() * shown.abs().expm1()).clamp(min=0.0)
    guesses = {
        "": found[None],
        "_counts": counts[None],
        "_filter": torch.stack([_filtered(counts, seen, width) for width in FILTERS]),
    }
    errors = {}
    for suffix, guess in guesses.items():
        errors[f"log{suffix}"] = weighted_mean((guess.log1p() - truth.log1p()).abs(), seen).amin(0)
        amplitude = (guess.sqrt() - truth.sqrt()).square()
        errors[f"amplitude{suffix}"] = (weighted_mean(amplitude, seen) / weighted_mean(truth, seen)).amin(0)
    bright = seen * (truth >= 1.0)
    inside = weighted_mean(((found - truth).abs() <= sigma).float(), bright)
    return errors | {
        "total": weighted_mean(found, seen) / weighted_mean(truth, seen),
        "within_sigma": inside[bright.sum(AXES) > 0],
    }


def _filtered(counts: Tensor, seen: Tensor, width: float) -> Tensor:
    """Return the counts smoothed over the announced voxels, (batch, z, y, x)."""
    sigma = (0.0, width, width, width)
    smooth, share = (torch.from_numpy(gaussian_filter(a.numpy(), sigma, mode="constant")) for a in (counts, seen))
    return smooth / share.clamp(min=1e-6)


TASK = Task(
    name="denoise",
    summary="Expected counts from one noisy exposure around a Bragg peak, with their standard deviation",
    build=build,
    examples=SCHEMES["noise2truth", "poisson"],
    loss=loss,
    metrics=metrics,
    tests=SCHEMES["noise2truth", "poisson"],
    multiple=MULTIPLE,
    batch=4,
    learning_rate=2e-3,
)
