"""What is drawn: the families of crystals and beamlines that training sees, and those that only tests see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from models.simulate.detector import Faults

Range = tuple[float, float]


class Shape(IntEnum):
    """What a crystal looks like."""

    WULFF = 0
    CUBOCTAHEDRON = 1
    POLYHEDRON = 2
    SMOOTH = 3
    HOLLOW = 4
    GRAINS = 5


class Defect(IntEnum):
    """What is wrong with a crystal; the label of a class."""

    NONE = 0
    EDGE = 1
    SCREW = 2
    MIXED = 3
    DISSOCIATED = 4
    LOOP = 5
    FAULT = 6
    TWIN = 7
    MULTIPLE = 8


# What one finds in a crystal by itself; MULTIPLE is two straight dislocations.
SINGLE = tuple(defect for defect in Defect if defect != Defect.MULTIPLE)
# Width of the stacking fault of a dissociated dislocation, nm: aluminium to silver.
RIBBON_NM = (0.5, 5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Ranges are drawn from evenly; flux, radius and background evenly in their logarithm.

    `shapes` and `defects` may repeat: what stands twice is drawn twice as often. `phase_range` rad, span of the smooth
    phase; `oversampling` per axis; `flux` total counts; `coherence_voxels` full width of the kernel; `jitter_steps` rms
    of rocking positions; `fluctuation` rms of the beam from frame to frame; `gap_chance` that a gap of one of the
    `layouts` crosses each axis of the detector; `mask_chance` of boxes that are masked for no reason; `skewed` False
    puts all crystals on an orthogonal grid. `ribbon_nm` the stacking fault of dissociated dislocations; `split_nm` that
    of all other straight ones, none where it ends at 0.
    """

    shapes: tuple[Shape, ...] = tuple(Shape)
    defects: tuple[Defect, ...] = SINGLE
    elements: tuple[str, ...] = ("Au", "Pt", "Cu", "Ni")
    radius_nm: Range = (40.0, 300.0)
    phase_range: Range = (0.0, 10.0)
    oversampling: Range = (2.0, 5.0)
    flux: Range = (1e4, 1e9)
    coherence_voxels: Range = (0.0, 0.8)
    jitter_steps: Range = (0.0, 0.1)
    fluctuation: Range = (0.0, 0.05)
    layouts: tuple[str, ...] = ("maxipix", "timepix", "eiger2")
    gap_chance: float = 0.5
    mask_chance: float = 0.1
    faults: Faults = field(default_factory=Faults)
    skewed: bool = True
    ribbon_nm: Range = RIBBON_NM
    split_nm: Range = (0.0, 0.0)


# What a detector sees of a crystal does not depend on its size: that of DEFECTS fixes what the widths of ribbons are
# shares of. Those of `ribbon_nm` are told apart in an image of some 15 voxels across, those of `split_nm` are not.
DEFECTS_RADIUS_NM = 100.0
DEFECTS = Family(
    shapes=(Shape.WULFF, Shape.CUBOCTAHEDRON, Shape.POLYHEDRON, Shape.SMOOTH) * 2 + (Shape.GRAINS,),
    defects=tuple(Defect),
    radius_nm=(DEFECTS_RADIUS_NM, DEFECTS_RADIUS_NM),
    phase_range=(0.0, 3.0),
    ribbon_nm=(0.25 * DEFECTS_RADIUS_NM, DEFECTS_RADIUS_NM),
    split_nm=(0.01 * DEFECTS_RADIUS_NM, 0.2 * DEFECTS_RADIUS_NM),
)
# Most networks learn from the first and are tested with the first three; classifiers of defects learn from `defects`,
# and `outside` is what they do not know.
FAMILIES: Mapping[str, Family] = {
    "train": Family(),
    "elements": Family(elements=("Al", "Pd")),
    "detectors": Family(layouts=("merlin",)),
    "defects": DEFECTS,
    "outside": replace(DEFECTS, shapes=(Shape.HOLLOW,), defects=(Defect.NONE,)),
}
GENERAL = ("train", "elements", "detectors")


def family(name: str) -> Family:
    """Return the family of this name; raise ValueError where there is none."""
    try:
        return FAMILIES[name]
    except KeyError:
        raise ValueError(f"no family is called {name!r}: expected one of {', '.join(FAMILIES)}") from None
