"""What the classifier of frames learns: which defect one frame through a peak shows."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from models.defects.classes import shown
from models.defects.train import KNOWN_SHARE, filled, loss, metrics, mirrored, number_of
from models.defects_slice.network import build
from models.defects_slice.view import skewed, upright
from models.simulate.draws import choice, chosen
from models.simulate.scenes import Scenes
from models.training.task import Examples, Task

# In training the frames on either side of the peak's are seen too: nobody stops on the maximum.
OFF_PEAK = (-1, 0, 1)


def examples(scenes: Scenes, generator: Generator) -> Examples:
    """Return views of three frames of each volume through the peak or beside it, gaps filled, of most with their
    geometry; targets int64 (batch,): the class.

    One is as the detector has it, the others cut the rocking scan along it: frames of other detectors.
    """
    batch, steps = len(scenes.counts), torch.tensor(OFF_PEAK, device=generator.device)
    parts = []
    for axis in range(3):
        off = choice(generator, steps, batch)
        parts.append(_examples(scenes, generator, axis, off, chosen(generator, KNOWN_SHARE, batch)))
    inputs, targets, weights = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("inputs", "targets", "weights")
    )
    return Examples(inputs=inputs, targets=targets, weights=weights)


def tests(scenes: Scenes, generator: Generator) -> Examples:
    """Return the same of the frame through the peak, with the geometry of all."""
    batch, device = len(scenes.counts), generator.device
    off = torch.zeros(batch, dtype=torch.int64, device=device)
    return _examples(scenes, generator, 0, off, torch.ones(batch, dtype=torch.bool, device=device))


def _examples(scenes: Scenes, generator: Generator, axis: int, off: Tensor, known: Tensor) -> Examples:
    """Frames across an axis of the volume, each `off` from the middle."""
    frame = scenes.counts.shape[1 + axis] // 2 + off
    order = [axis, *(other for other in range(3) if other != axis)]
    measured = (
        volume.movedim(1 + axis, 1)[torch.arange(len(off)), frame]
        for volume in (scenes.counts, scenes.mask, scenes.expected)
    )
    counts, specimens = filled(generator, *measured), scenes.specimens
    basis_nm = specimens.grid.basis_nm[..., order]
    views = upright(counts, basis_nm, specimens.q, number_of(specimens.labels.reflection))
    if not bool(known.all()):
        views[~known] = skewed(counts[~known])
    targets = shown(specimens)
    return Examples(inputs=views, targets=targets, weights=torch.ones_like(targets, dtype=torch.float32))


def turned(examples: Examples, generator: Generator) -> Examples:
    """Return the examples mirrored along each axis of the frame, at random: other crystals with the same defect.

    A mirror along the part of Q in the plane takes Q to the other side of the plane, at the same angle.
    """
    views = mirrored(examples.inputs, (3, 4), generator)
    return Examples(inputs=views, targets=examples.targets, weights=examples.weights)


TASK = Task(
    name="defects_slice",
    summary="Which defect of a crystal one frame through its Bragg peak shows",
    build=build,
    examples=examples,
    loss=loss,
    metrics=metrics,
    tests=tests,
    edge=48,
    batch=16,
    learning_rate=1e-3,
    pool=8192,
    draw=32,
    times=4,  # a volume is seen three times as often
    vary=turned,
    validation_volumes=256,
    test_volumes=1024,
    trained_on="defects",
    tested_on=("defects", "outside"),
)
