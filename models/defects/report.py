"""What is told of a crystal's defects; without torch, for those who only read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.defects.vortices import Vortex

# Of Q against a line, the part across over that along: between these, so much less well is the screw part known.
LEAST_STEEP, MOST_STEEP = 0.5, 5.0


class DefectClass(StrEnum):
    """The classes, in the order of the network's outputs."""

    PERFECT = "perfect"
    EDGE = "edge"
    SCREW = "screw"
    MIXED = "mixed"
    PARTIAL = "partial"
    LOOP = "loop"
    STACKING_FAULT = "stacking_fault"
    TWIN = "twin"
    MULTIPLE = "multiple"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scattering:
    """How a crystal was measured: `basis_nm` float64 (3, 3), columns the laboratory steps of a voxel of the object
    along z, y, x; `q` (3,) the momentum transfer, 1/nm, in the same frame; `reflection` its h, k, l up to the symmetry
    of the cube, None where nobody knows. Raises ValueError where these are none.
    """

    basis_nm: NDArray[np.float64]
    q: NDArray[np.float64]
    reflection: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        basis_nm, q = np.asarray(self.basis_nm), np.asarray(self.q)
        if basis_nm.shape != (3, 3) or not np.isfinite(basis_nm).all() or not np.linalg.det(basis_nm):
            raise ValueError(f"the steps of a voxel are {basis_nm.tolist()} nm: expected three that span space")
        if q.shape != (3,) or not np.isfinite(q).all() or not q.any():
            raise ValueError(f"the momentum transfer is {q.tolist()} 1/nm: expected three numbers, not all zero")
        if self.reflection is not None:
            require_fcc(self.reflection)

    @property
    def burgers_length_nm(self) -> float | None:
        """The length of a/2<110> of the fcc lattice whose `reflection` this is; None where nobody knows it."""
        if self.reflection is None:
            return None
        squares = sum(index**2 for index in self.reflection)
        return float(2.0 * np.pi * np.sqrt(squares / 2.0) / np.linalg.norm(self.q))

    @property
    def lattice_nm(self) -> float | None:
        """The lattice constant; None where nobody knows the reflection."""
        length_nm = self.burgers_length_nm
        return None if length_nm is None else length_nm * 2.0**0.5


def require_fcc(reflection: tuple[int, int, int]) -> None:
    """Raise ValueError where an fcc crystal has no such reflection: its h, k, l are all odd or all even."""
    if not any(reflection):
        raise ValueError("reflection 0 0 0 is the direct beam: give h, k, l of the peak")
    if len({index % 2 for index in reflection}) > 1:
        named = " ".join(map(str, reflection))
        raise ValueError(f"reflection {named} is none of an fcc crystal: h, k, l are all odd or all even")


class Split(NamedTuple):
    """Of the best fit: `angle_rad` between line and Burgers vector, 0 to pi/2, `glide_rad` from the direction of Q
    across the line to that of the edge part, `sense` of the screw part along the line; `width` of the ribbon, share of
    the diameter of a sphere as large as the crystal, and in nm. Of each of split.WIDTHS the `losses`, means of 1 - cos
    of the phase that is left, and `angles_rad`.
    """

    angle_rad: float
    glide_rad: float
    sense: int
    width: float
    width_nm: float
    losses: tuple[float, ...]
    angles_rad: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Character:
    """Of one line, in the frame of the Scattering.

    `turns` of 2 pi around its direction, right-handed in that frame; `edge_nm` the length of the Burgers vector across
    the line, NaN where Q is along it, `edge` (3,) its direction; `screw_nm` the part along the line, signed, NaN where
    Q is across it; `steepness` of Q against the line, part across over part along; `misfit` rms of the phase, rad,
    about what elasticity and a smooth field explain; `split`: into how wide a ribbon it falls, None where the length of
    the Burgers vector is not known, or none of that length turns so often.
    """

    turns: int
    edge_nm: float
    edge: NDArray[np.float64]
    screw_nm: float
    steepness: float
    misfit: float
    split: Split | None = None

    def angle_deg(self, length_nm: float | None = None) -> float:
        """Return the angle between line and Burgers vector, 0 (screw) to 90 (edge) degrees.

        Where its length in nm is known each part tells the angle, else both are needed: NaN where they are not there.
        """
        if length_nm is None:
            return float(np.degrees(np.arctan2(self.edge_nm, abs(self.screw_nm))))
        angle = np.radians(np.linspace(0.0, 90.0, 181))
        off = (self.edge_nm / length_nm - np.sin(angle)) ** 2
        # What the harmonic is off by, the screw part is off by more.
        along = (abs(self.screw_nm) / length_nm - np.cos(angle)) / max(min(self.steepness, MOST_STEEP), LEAST_STEEP)
        return float(np.degrees(angle[(np.nan_to_num(off) + np.nan_to_num(along) ** 2).argmin()]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a line lies, in the frame of the Scattering.

    `middle_nm` float64 (3,) from index n // 2 of the object; `direction` (3,) unit, about which the phase of the object
    gains 2 pi `turns`, right-handed in that frame; of a loop the normal, about which its line runs right-handed, while
    `turns` are about the line. `length_nm`, of a loop its longest width; `error_nm` rms distance from a straight line;
    `burgers_nm` the projection of the Burgers vector along Q, in the sense that closes the right-handed circuit about
    the direction from start to finish. `character`: what its phase tells of the whole Burgers vector where it is the
    only line.
    """

    middle_nm: NDArray[np.float64]
    direction: NDArray[np.float64]
    turns: int
    length_nm: float
    error_nm: float
    burgers_nm: float
    character: Character | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DefectReport:
    """What is wrong with a crystal, as one reflection shows it.

    `label`: the likeliest class, unknown where none is likelier than `sure`; `probabilities` of all classes, which add
    up to 1; `lines` of the object, longest first, none where only a pattern was given, and the `places` of those where
    the scattering is known; `count` of defects, at least, none in what is called perfect. Of the two hands of an
    object, which scatter alike, the other one has its lines inverted through the middle.
    A dislocation with g.b = 0 leaves the pattern of a perfect crystal and is called so.
    """

    label: DefectClass
    probabilities: Mapping[DefectClass, float]
    sure: float
    lines: tuple[Vortex, ...]
    places: tuple[Place, ...]
    count: int

    @property
    def likeliest(self) -> DefectClass:
        """The class of the highest probability, however low that is."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def abstained(self) -> bool:
        """Whether no class is likelier than `sure`."""
        return self.probabilities[self.likeliest] < self.sure

    @property
    def probability(self) -> float:
        """Of the label; where it abstained that the likeliest class is wrong."""
        return 1.0 - self.probabilities[self.likeliest] if self.abstained else self.probabilities[self.label]
