"""What the classifier of volumes learns: which defect a reflection shows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from models.defects.classes import CLASSES, shown
from models.defects.network import build
from models.defects.report import DefectClass
from models.defects.view import skewed, upright
from models.simulate.draws import chosen, normal
from models.simulate.scenes import Scenes
from models.simulate.specimens import REFLECTIONS
from models.training.task import Examples, Task

# Hidden voxels are shown as an inpainter would fill them, this far off (sigma of the logarithm).
FILLED_OFF = 0.3
# Shares of the crystals whose geometry is known, and of those the share whose reflection is known too.
KNOWN_SHARE, INDEXED_SHARE = 0.75, 0.75
# The axes about Q, behind batch and channels.
ACROSS = (3, 4)
THREE = tuple(CLASSES.index(name) for name in (DefectClass.PERFECT, DefectClass.EDGE, DefectClass.SCREW))


def examples(scenes: Scenes, generator: Generator) -> Examples:
    """Return views of what was counted, gaps filled, of most with their geometry; targets int64 (batch,): the class."""
    known, indexed = (chosen(generator, share, len(scenes.counts)) for share in (KNOWN_SHARE, INDEXED_SHARE))
    return _examples(scenes, generator, known, indexed)


def tests(scenes: Scenes, generator: Generator) -> Examples:
    """Return the same with the geometry and the reflection of all."""
    everyone = torch.ones(len(scenes.counts), dtype=torch.bool, device=generator.device)
    return _examples(scenes, generator, everyone, everyone)


def _examples(scenes: Scenes, generator: Generator, known: Tensor, indexed: Tensor) -> Examples:
    counts, specimens = filled(generator, scenes.counts, scenes.mask, scenes.expected), scenes.specimens
    reflection = torch.where(indexed, number_of(specimens.labels.reflection), len(REFLECTIONS))
    views = upright(counts, specimens.grid.basis_nm, specimens.q, reflection)
    if not bool(known.all()):
        views[~known] = skewed(counts[~known])
    targets = shown(specimens)
    return Examples(inputs=views, targets=targets, weights=torch.ones_like(targets, dtype=torch.float32))


def filled(generator: Generator, counts: Tensor, mask: Tensor, expected: Tensor) -> Tensor:
    """Return `counts` with what `mask` hides as an inpainter would fill it; all of one shape."""
    guess = expected * (FILLED_OFF * normal(generator, *expected.shape)).exp()
    return torch.where(mask, counts, guess)


def number_of(reflection: Tensor) -> Tensor:
    """Return the number in REFLECTIONS of each `reflection` (batch, 3), or len(REFLECTIONS), int64 (batch,)."""
    same = (reflection[:, None] == torch.tensor(REFLECTIONS, device=reflection.device)).all(-1)
    return torch.where(same.any(1), same.int().argmax(1), len(REFLECTIONS))


def turned(examples: Examples, generator: Generator) -> Examples:
    """Return the examples turned about Q and mirrored, at random: other crystals with the same defect.

    A mirror along Q takes the displacement to its negative, which is one of the other sign.
    """
    views = examples.inputs
    if bool(chosen(generator, 0.5)):
        views = views.transpose(*ACROSS)
    views = mirrored(views, (2, *ACROSS), generator)
    return Examples(inputs=views.contiguous(), targets=examples.targets, weights=examples.weights)


def mirrored(views: Tensor, axes: Sequence[int], generator: Generator) -> Tensor:
    """Return `views` (batch, channels, z, y, x), half of them mirrored along each of `axes`, about index n // 2."""
    for axis in axes:
        about = chosen(generator, 0.5, len(views), 1, 1, 1, 1)
        views = torch.where(about, views.flip(axis).roll(1, axis), views)
    return views


def loss(outputs: Tensor, examples: Examples) -> Tensor:
    """Return the cross entropy, mean of the batch."""
    return cross_entropy(outputs, examples.targets)


def metrics(outputs: Tensor, examples: Examples) -> dict[str, Tensor]:
    """Return, for each crystal that is asked about, whether the likeliest class is right.

    `accuracy` among all classes; `three` among perfect, edge and screw for those that are one of them, and by each of
    these; `unknown` for those that no class is made for; `cross_entropy` of all.
    """
    targets = examples.targets
    right = (outputs.argmax(1) == targets).float()
    among = torch.tensor(THREE, device=outputs.device)
    three = (among[outputs[:, among].argmax(1)] == targets).float()
    unknown = targets == CLASSES.index(DefectClass.UNKNOWN)
    return {
        "accuracy": right,
        "three": three[torch.isin(targets, among)],
        **{CLASSES[number].value: three[targets == number] for number in THREE},
        "unknown": right[unknown],
        "cross_entropy": cross_entropy(outputs, targets, reduction="none"),
    }


TASK = Task(
    name="defects",
    summary="Which defect of a crystal its Bragg peak shows",
    build=build,
    examples=examples,
    loss=loss,
    metrics=metrics,
    tests=tests,
    edge=48,
    batch=16,
    learning_rate=1e-3,
    pool=3072,
    draw=32,
    times=10,
    vary=turned,
    validation_volumes=256,
    test_volumes=1024,
    trained_on="defects",
    tested_on=("defects", "outside"),
)
