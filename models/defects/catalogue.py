"""One simulated crystal of each class as a reflection shows it, to compare a measurement with by eye."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.defects.classes import CLASSES, OF_DEFECT, shown
from models.defects.report import DefectClass
from models.simulate.detector import Faults
from models.simulate.draws import seeded
from models.simulate.families import DEFECTS, Shape
from models.simulate.metals import LATTICE_NM
from models.simulate.scenes import random_scenes

EDGE, BATCH, MOST_BATCHES = 48, 6, 40
# What a detector adds looks like a feature of a class.
NO_FAULTS = Faults(dead=(0, 0), hot=(0, 0), streak_chance=0.0, saturation_chance=0.0)
SHOWN = tuple(name for name in CLASSES if name != DefectClass.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """Central slices [y, x] across the rocking axis: `counts` float32 and `phase` float32 in rad, NaN outside."""

    counts: Tensor
    phase: Tensor


def example(name: DefectClass, element: str, reflection: tuple[float, float, float], seed: int = 0) -> Example | None:
    """Return a crystal of the class `name` as a reflection, one of REFLECTIONS, shows it, None where it never does.

    Q points along the columns, 1e7 counts. Raises ValueError for an element whose lattice is not known.
    """
    if element not in LATTICE_NM:
        raise ValueError(f"no lattice of {element!r} is known: expected one of {', '.join(LATTICE_NM)}")
    kinds = tuple(kind for kind, one in OF_DEFECT.items() if one == name)
    family = replace(
        DEFECTS,
        elements=(element,),
        shapes=(Shape.WULFF,),
        defects=kinds,
        phase_range=(0.0, 0.5),
        oversampling=(2.5, 2.5),
        flux=(1e7, 1e7),
        gap_chance=0.0,
        mask_chance=0.0,
        faults=NO_FAULTS,
        skewed=False,
    )
    generator, wanted = seeded(seed), torch.tensor(reflection)
    for _ in range(MOST_BATCHES):
        scenes = random_scenes(generator, family, BATCH, (EDGE,) * 3)
        those = (shown(scenes.specimens) == CLASSES.index(name)) & (scenes.specimens.labels.reflection == wanted).all(
            -1
        )
        if bool(those.any()):
            first = int(those.nonzero()[0])
            object_ = scenes.specimens.object_[first, EDGE // 2]
            phase = torch.where(object_.abs() > 0.3, object_.angle(), torch.nan)
            return Example(counts=scenes.counts[first, EDGE // 2], phase=phase)
    return None
