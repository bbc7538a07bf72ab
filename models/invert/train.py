"""What the encoder learns: the crystal behind a pattern, up to its hand and its global phase."""

from __future__ import annotations

import functools

import torch
from torch import Generator, Tensor

from models.invert.latent import SUPPORT, LatentSpace
from models.invert.misfit import chi, height
from models.invert.network import build
from models.invert.view import View, grid_space, to_grid, view
from models.simulate.diffraction import AXES, far_field
from models.simulate.draws import chosen, normal
from models.simulate.scenes import Scenes
from models.training.task import Examples, Task

# Of the errors of amplitudes, beside that of the complex density: in the crystal, in its pattern.
AMPLITUDE_SHARE, PATTERN_SHARE = 0.5, 0.5
# Hidden voxels are shown as an inpainter would fill them, this far off (sigma of the logarithm).
FILLED_OFF = 0.3


def examples(scenes: Scenes, generator: Generator) -> Examples:
    """Return views of what was counted, gaps filled; targets (batch, 2, EDGE, EDGE, EDGE): real and imaginary part of
    the object.
    """
    guess = scenes.expected * (FILLED_OFF * normal(generator, *scenes.expected.shape)).exp()
    seen = view(torch.where(scenes.mask, scenes.counts, guess))
    object_ = on_grid(scenes.specimens.object_, seen)
    return Examples(
        inputs=seen.channels(),
        targets=torch.stack([object_.real, object_.imag], 1),
        weights=torch.ones_like(seen.intensity)[:, None],
    )


def on_grid(objects: Tensor, seen: View) -> Tensor:
    """Return objects complex64 (batch, z, y, x) about their centroids on the grid of their patterns."""
    shape, weight = objects.shape[1:], objects.abs()
    index = [torch.arange(n, device=objects.device, dtype=torch.float32) for n in shape]
    total = weight.sum(AXES)
    centre = torch.stack(
        [(weight.sum([a + 1 for a in range(3) if a != axis]) * index[axis]).sum(1) / total for axis in range(3)], 1
    )
    return to_grid(objects, seen.semi_axes, centre)


def turned(examples: Examples, generator: Generator) -> Examples:
    """Return the examples as other crystals would leave them: axes exchanged, and turned about, at random."""
    order = torch.randperm(3, generator=generator, device=generator.device).tolist()
    axes = [2 + axis for axis in order]
    inputs, targets = (v.permute(0, 1, *axes) for v in (examples.inputs, examples.targets))
    for axis in AXES:
        about = chosen(generator, 0.5, len(inputs), 1, 1, 1, 1)
        inputs, targets = (torch.where(about, v.flip(axis).roll(1, axis), v) for v in (inputs, targets))
    return Examples(inputs=inputs.contiguous(), targets=targets.contiguous(), weights=examples.weights)


def loss(outputs: Tensor, examples: Examples) -> Tensor:
    """Return how far the crystals of the latents are from the objects, the nearer hand counting; mean of the batch."""
    return object_loss(_space(outputs.device).objects(outputs), examples)


def object_loss(found: Tensor, examples: Examples) -> Tensor:
    """Return the same of objects complex64 (batch, EDGE, EDGE, EDGE)."""
    wanted = wanted_objects(examples)
    nearer = torch.minimum(*(_apart(found, hand) for hand in (wanted, other_hand(wanted))))
    return (nearer + PATTERN_SHARE * pattern_misfit(found, wanted)).mean()


def other_hand(objects: Tensor) -> Tensor:
    """Return the twins complex64 (batch, z, y, x) that scatter alike, origin at index n // 2."""
    return objects.flip(AXES).roll((1, 1, 1), AXES).conj()


def metrics(outputs: Tensor, examples: Examples) -> dict[str, Tensor]:
    """Return how good the nearer hand is.

    `correlation` of complex densities, `dice` of the supports, `phase` mean |error| in rad where both are, `chi` sum
    (|F| - A)^2 / sum A^2 against the noise-free pattern; and what the mean crystal, an even ball, has.
    """
    return object_metrics(_space(outputs.device).objects(outputs), examples)


def object_metrics(objects: Tensor, examples: Examples) -> dict[str, Tensor]:
    """Return the same of objects complex64 (batch, EDGE, EDGE, EDGE)."""
    wanted = wanted_objects(examples)
    space = _space(objects.device)
    ball = space.objects(space.sphere()[None]).expand(len(objects), -1, -1, -1)
    told: dict[str, Tensor] = {}
    for suffix, found in (("", objects), ("_ball", ball)):
        hands = [_figures(found, hand) for hand in (wanted, other_hand(wanted))]
        nearer = hands[0]["correlation"] >= hands[1]["correlation"]
        told |= {f"{name}{suffix}": torch.where(nearer, hands[0][name], hands[1][name]) for name in hands[0]}
        told[f"chi{suffix}"] = pattern_misfit(found, wanted)  # both hands scatter alike
    return told


def _figures(found: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    overlap = (found.conj() * wanted).sum(AXES)
    inside = [o.abs() > SUPPORT for o in (found, wanted)]
    both = (inside[0] & inside[1]).float()
    off = (found.conj() * wanted * torch.exp(-1j * overlap.angle())[:, None, None, None]).angle().abs()
    return {
        "correlation": overlap.abs() / (_power(found) * _power(wanted)).sqrt().clamp(min=1e-12),
        "dice": 2.0 * both.sum(AXES) / sum(one.float().sum(AXES) for one in inside),
        "phase": (off * both).sum(AXES) / both.sum(AXES).clamp(min=1.0),
    }


def _apart(found: Tensor, wanted: Tensor) -> Tensor:
    overlap = (found.conj() * wanted).sum(AXES).abs().square()
    coherent = 1.0 - overlap / (_power(found) * _power(wanted)).clamp(min=1e-12)
    bodies = (height(found) - height(wanted)).square().sum(AXES) / _power(wanted)
    return coherent + AMPLITUDE_SHARE * bodies


def pattern_misfit(found: Tensor, wanted: Tensor) -> Tensor:
    """Return `chi` of the amplitudes that objects (batch, z, y, x) scatter, (batch,)."""
    return chi(height(far_field(found)), height(far_field(wanted)))


def _power(field: Tensor) -> Tensor:
    return (field.real.square() + field.imag.square()).sum(AXES)


def wanted_objects(examples: Examples) -> Tensor:
    """Return the objects of the targets, complex64 (batch, EDGE, EDGE, EDGE)."""
    return torch.complex(examples.targets[:, 0], examples.targets[:, 1])


@functools.cache
def _space(device: torch.device) -> LatentSpace:
    return grid_space(device)


TASK = Task(
    name="invert",
    summary="Surface, density and phase of the crystal behind a Bragg peak, as latents",
    build=build,
    examples=examples,
    loss=loss,
    metrics=metrics,
    edge=40,
    batch=8,
    learning_rate=1e-3,
    pool=4096,
    draw=16,
    times=8,
    vary=turned,
    validation_volumes=64,
    test_volumes=256,
)
