"""Whole measurements of simulated crystals: what networks are trained on and tested with.

A family says what is drawn, a seed names the draw. Everything is made where the generator lives, so that training
batches never leave the device that trains.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Generator, Tensor

from models.layouts import LAYOUTS
from models.simulate.detector import Detector, expose, random_detectors, random_gaps, random_masks, saturated
from models.simulate.diffraction import far_field_of_frames, intensity, partially_coherent, scaled_to_flux
from models.simulate.draws import choice, chosen, log_uniform, normal, seeded, uniform
from models.simulate.families import FAMILIES, Family, family
from models.simulate.grid import Triple
from models.simulate.specimens import Specimens, random_specimens

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record", bound="DataclassInstance")
# Seeds of the frozen sets of the first family, two more for each that follows; those of training begin above, so that
# no crystal is in two sets. Torch's generator on the CPU looks at the lower 32 bits of a seed only.
FROZEN_SEEDS = {"validation": 1, "test": 2}
TRAINING_SEEDS_FROM = 1000
# Batches that may be refused one after another: more is no chance.
DRAWS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenes:
    """A batch of measurements, each array (batch, z, y, x).

    `counts` float32 as measured, 0 where nothing is; `announced` bool, what the detector tells of itself, True is good;
    `mask` bool, True where a voxel counts photons of the crystal and nothing else (neither hot nor saturated);
    `expected` float32, the crystal's photons without noise, gaps and faults; `flux` (batch,) their sum.
    """

    specimens: Specimens
    counts: Tensor
    announced: Tensor
    mask: Tensor
    expected: Tensor
    flux: Tensor


def training_scenes(name: str, batch: int, shape: Triple, seed: int, device: torch.device | str) -> Iterator[Scenes]:
    """Yield batches of the family `name` for ever; a seed yields the same ones on the same kind of device."""
    generator = seeded(TRAINING_SEEDS_FROM + seed, device)
    while True:
        yield random_scenes(generator, family(name), batch, shape)


def frozen_scenes(name: str, purpose: str, count: int, shape: Triple, batch: int = 8) -> Iterator[Scenes]:
    """Yield `count` scenes of a family in batches, on the CPU, the same at each call; `purpose` of FROZEN_SEEDS.

    Fewer are the first of more: whole batches are drawn, and the last one is cut.
    """
    drawn_from = family(name)
    generator = seeded(FROZEN_SEEDS[purpose] + len(FROZEN_SEEDS) * list(FAMILIES).index(name))
    for start in range(0, count, batch):
        yield first_of(random_scenes(generator, drawn_from, batch, shape), count - start)


def first_of(record: Record, count: int) -> Record:
    """Return the first `count` of a batch, all where there are no more: of Scenes and of what they are made of."""
    cut: dict[str, Any] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, Tensor):
            cut[field.name] = value[:count]
        elif is_dataclass(value) and not isinstance(value, type):
            cut[field.name] = first_of(value, count)
    return replace(record, **cut)


def random_scenes(generator: Generator, family: Family, batch: int, shape: Triple) -> Scenes:
    """Draw crystals of a family on volumes of `shape` [z, y, x] and measure them.

    Draws until crystals come out: among thousands one is too thin for its voxels or dark in all of its grains, and that
    must not end a run. Raises ValueError after DRAWS batches with such a one.
    """
    for _ in range(DRAWS):
        try:
            return measured(generator, family, random_specimens(generator, family, batch, shape))
        except ValueError as error:
            refusal = error
    raise refusal


def measured(generator: Generator, family: Family, specimens: Specimens) -> Scenes:
    """Measure crystals as the beamlines of a family would."""
    batch, shape = specimens.grid.batch, specimens.grid.shape
    jitter = uniform(generator, *family.jitter_steps, batch, 1) * normal(generator, batch, shape[0])
    pattern = intensity(far_field_of_frames(specimens.object_, jitter))
    if family.coherence_voxels[1] > 0:
        pattern = partially_coherent(pattern, uniform(generator, *family.coherence_voxels, batch, 3))
    beam = uniform(generator, *family.fluctuation, batch, 1) * normal(generator, batch, shape[0])
    flux = log_uniform(generator, *family.flux, batch)
    expected = scaled_to_flux(pattern * beam.exp()[..., None, None], flux)
    detector = _detectors(generator, family, expected)
    boxes = random_masks(generator, batch, shape) | ~chosen(generator, family.mask_chance, batch, 1, 1, 1)
    counts = expose(generator, expected, detector) * boxes
    return Scenes(
        specimens=specimens,
        counts=counts,
        announced=detector.announced_mask[:, None] & boxes,
        mask=detector.true_mask[:, None] & boxes & ~saturated(counts, detector),
        expected=expected,
        flux=flux,
    )


def _detectors(generator: Generator, family: Family, expected: Tensor) -> Detector:
    batch, rows, columns = len(expected), *expected.shape[-2:]
    gaps = torch.zeros((batch, rows, columns), dtype=torch.bool, device=expected.device)
    if family.layouts:
        numbers = choice(generator, torch.arange(len(family.layouts), device=expected.device), batch)
        layouts = [LAYOUTS[family.layouts[n]] for n in numbers.tolist()]
        gaps = random_gaps(generator, layouts, (rows, columns), family.gap_chance)
    return random_detectors(generator, gaps, family.faults, expected.amax((-3, -2, -1)))
