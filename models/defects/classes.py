"""What a classifier calls a crystal, and which of it a reflection shows of the defects that are in one."""

from __future__ import annotations

import torch
from torch import Tensor

from models.defects.report import DefectClass
from models.simulate.families import Defect, Shape
from models.simulate.fcc import shockley_partials
from models.simulate.specimens import Specimens

# g.b nearer than this to a whole number is one: phases jump by a whole turn there.
WHOLE = 0.05


CLASSES = tuple(DefectClass)
OF_DEFECT = {
    Defect.NONE: DefectClass.PERFECT,
    Defect.EDGE: DefectClass.EDGE,
    Defect.SCREW: DefectClass.SCREW,
    Defect.MIXED: DefectClass.MIXED,
    Defect.DISSOCIATED: DefectClass.PARTIAL,
    Defect.LOOP: DefectClass.LOOP,
    Defect.FAULT: DefectClass.STACKING_FAULT,
    Defect.TWIN: DefectClass.TWIN,
    Defect.MULTIPLE: DefectClass.MULTIPLE,
}
# Crystals that no class is made for.
ODD = (Shape.HOLLOW, Shape.GRAINS)


def shown(specimens: Specimens) -> Tensor:
    """Return the class of each crystal as its reflection shows it, int64 (batch,), number in CLASSES.

    A defect with g.b = 0 is called perfect: nobody can see it there. Hollow crystals and those of several grains are
    unknown, whatever else is wrong with them.
    """
    defect = specimens.labels.defect
    numbers = torch.tensor([CLASSES.index(OF_DEFECT[kind]) for kind in Defect], device=defect.device)
    told = torch.where(visible(specimens), numbers[defect], CLASSES.index(DefectClass.PERFECT))
    odd = torch.isin(specimens.kind, torch.tensor(ODD, device=defect.device))
    return torch.where(odd, CLASSES.index(DefectClass.UNKNOWN), told)


def visible(specimens: Specimens) -> Tensor:
    """Return whether the reflection shows anything of the defects of each crystal, bool (batch,).

    A line shows where g.b is not 0; a ribbon of fault also where its first partial's g.b is not whole; a plane where
    g.b is not whole, a twin where it is dark.
    """
    labels = specimens.labels
    gb, defect = labels.visibility, labels.defect
    shows = gb.abs() > WHOLE
    shows |= (defect == Defect.DISSOCIATED) & _broken(_first_partial(specimens))
    return torch.where(defect == Defect.FAULT, _broken(gb), shows) & (defect != Defect.NONE)


def _broken(gb: Tensor) -> Tensor:
    return (gb - gb.round()).abs() > WHOLE


def _first_partial(specimens: Specimens) -> Tensor:
    labels = specimens.labels
    return (shockley_partials(labels.glide, labels.burgers)[:, 0] * labels.reflection).sum(-1)
