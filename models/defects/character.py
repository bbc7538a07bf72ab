"""Edge or screw: what the phase around a line of a reconstructed crystal tells of its Burgers vector.

Around a screw the phase turns evenly. An edge adds a second harmonic (Hirth and Lothe, Theory of Dislocations, 1982,
eq. 3-45): with b_e across the line, Q_p the part of Q across it and beta the angle from Q_p to b_e,

    -Q.u = -(b_e Q_p / 2 pi) (theta cos(beta) + sin(2 theta - beta) / (4 (1 - nu)) + ...),

so its amplitude is b_e, its phase the direction of b_e, and what that leaves of the turns is the screw part. One
reflection thus shows the whole Burgers vector of a straight line, as far as elasticity is isotropic, surfaces far.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from models.bcdi.strain import unwrap
from models.defects.body import body_of
from models.defects.report import Character, Scattering, Split
from models.defects.split import Surroundings, split
from models.defects.vortices import Vortex
from models.simulate.dislocations import POISSON_RATIO

# Nearer to the line the image is too coarse, beyond this share of the farthest voxel the surface is near.
NEAREST_VOXELS, FARTHEST = 2.0, 0.9
# The core itself, where phases cannot be unwrapped.
CORE_VOXELS = 1.0
# Phases that are off by more than this count little, rad.
ROBUST_RAD = 0.3
ROUNDS = 4
FEWEST_VOXELS = 100
# A line that bends more is not straight, and a phase that is off by more is not that of one line.
MOST_SPREAD_VOXELS, MOST_MISFIT_RAD = 2.0, 0.8
# A part of Q across or along the line that is smaller than this share of it does not tell the edge or the screw part.
LEAST_PART = 0.2


def character(
    object_: NDArray[np.complex64], line: Vortex, scattering: Scattering, body: NDArray[np.bool_] | None = None
) -> Character | None:
    """Return what the phase of `object_` complex64 [z, y, x] around an open `line`, which must be the only one, tells.

    `body` bool, where the crystal is; found from the amplitude where None. None of loops and bent lines, where too few
    voxels are around the line, and where elasticity does not explain their phase.
    """
    if line.closed or line.spread > MOST_SPREAD_VOXELS:
        return None
    around = _Around.of(object_, body_of(object_) if body is None else body, line, scattering)
    counted = line.turns * round(float(np.sign(np.linalg.det(scattering.basis_nm))))
    # Two lines next to each other may be counted as one, and one that wavers as two.
    tried = {turns: around.fitted(turns) for turns in (counted - 1, counted, counted + 1) if turns}
    fits = {turns: fit for turns, fit in tried.items() if fit is not None and fit.misfit <= MOST_MISFIT_RAD}
    if not fits:
        return None
    turns = min(fits, key=lambda one: fits[one].misfit)
    fit = fits[turns]
    cosine, sine = fit.found[-2:].tolist()
    # -(b_e Q_p / 2 pi) / (4 (1 - nu)) sin(2 theta - beta)
    edge_turns = 4.0 * (1.0 - POISSON_RATIO) * float(np.hypot(cosine, sine))
    beta = float(np.arctan2(cosine, -sine))
    across, along = (abs(part) > LEAST_PART * float(np.linalg.norm(scattering.q)) for part in around.q_parts)
    q_across, q_along = around.q_parts
    screw_turns = turns + edge_turns * np.cos(beta) * across
    told = Character(
        turns=turns,
        edge_nm=2.0 * np.pi * edge_turns / q_across if across else float("nan"),
        edge=np.cos(beta) * around.first + np.sin(beta) * around.second,
        screw_nm=-2.0 * np.pi * float(screw_turns) / q_along if along else float("nan"),
        steepness=abs(q_across / q_along) if along else float("inf"),
        misfit=fit.misfit,
    )
    length_nm = scattering.burgers_length_nm
    if length_nm is None:
        return told
    found = split(around.surroundings(fit, turns), turns, length_nm)
    return told if found is None else _as_split(told, found, around, length_nm)


def _as_split(told: Character, found: Split, around: _Around, length_nm: float) -> Character:
    """Return what was `told` by the harmonic as the fit in closed form tells it, where that explains the phase."""
    misfit = float(np.sqrt(2.0 * min(found.losses)))
    if misfit > MOST_MISFIT_RAD:
        return replace(told, split=found)
    return replace(
        told,
        misfit=misfit,
        edge_nm=length_nm * np.sin(found.angle_rad) if np.isfinite(told.edge_nm) else told.edge_nm,
        edge=np.cos(found.glide_rad) * around.first + np.sin(found.glide_rad) * around.second,
        screw_nm=found.sense * length_nm * np.cos(found.angle_rad) if np.isfinite(told.screw_nm) else told.screw_nm,
        split=found,
    )


class _Fit(NamedTuple):
    """Amplitudes `found` (terms,), the last two those of cos(2 angle) and sin(2 angle), within `reach` nm; `misfit` rms
    of what is left of the phase, rad.
    """

    found: NDArray[np.float64]
    reach: float
    misfit: float


@dataclass(frozen=True, slots=True)
class _Around:
    """Voxels of the `body` bool [z, y, x] about a line: `field` complex (n,), cylinder coordinates `radius`, `angle`,
    `along` (n,) in nm and rad, the angle from unit `first`, the direction of Q across the line, towards `second`;
    `q_parts` of Q across and along the line, 1/nm.
    """

    field: NDArray[np.complex64]
    body: NDArray[np.bool_]
    radius: NDArray[np.float64]
    angle: NDArray[np.float64]
    along: NDArray[np.float64]
    voxel_nm: float
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    q_parts: tuple[float, float]

    @classmethod
    def of(
        cls, object_: NDArray[np.complex64], body: NDArray[np.bool_], line: Vortex, scattering: Scattering
    ) -> _Around:
        basis_nm, q = scattering.basis_nm, scattering.q
        places = np.argwhere(body)
        box = tuple(slice(int(low), int(high) + 1) for low, high in zip(places.min(0), places.max(0), strict=True))
        direction = basis_nm @ line.direction
        direction = direction / np.linalg.norm(direction)
        across = q - (q @ direction) * direction
        first = _perpendicular_to(direction) if np.linalg.norm(across) < 1e-6 * np.linalg.norm(q) else across
        first = first / np.linalg.norm(first)
        second = np.cross(direction, first)
        offset_nm = (places - line.middle) @ basis_nm.T
        x, y = offset_nm @ first, offset_nm @ second
        return cls(
            field=object_[body],
            body=body[box],
            radius=np.hypot(x, y),
            angle=np.arctan2(y, x),
            along=offset_nm @ direction,
            voxel_nm=float(abs(np.linalg.det(basis_nm)) ** (1.0 / 3.0)),
            first=first,
            second=second,
            q_parts=(float(np.linalg.norm(across)), float(q @ direction)),
        )

    def fitted(self, turns: int) -> _Fit | None:
        """Return the second harmonic beside so many turns and a smooth field; None where too few voxels are there."""
        outside_core = self.body.copy()
        outside_core[self.body] = self.radius > CORE_VOXELS * self.voxel_nm
        if np.count_nonzero(outside_core) < FEWEST_VOXELS:
            return None
        flat = np.zeros(self.body.shape, np.complex64)
        flat[self.body] = self.field * np.exp(-1j * turns * self.angle)
        phase = unwrap(np.angle(flat), outside_core)[self.body]
        reach = FARTHEST * self.radius.max()
        used = (self.radius > NEAREST_VOXELS * self.voxel_nm) & (self.radius < reach) & np.isfinite(phase)
        if np.count_nonzero(used) < FEWEST_VOXELS:
            return None
        terms = self._terms(used, reach)
        bright = np.abs(self.field[used])
        weight = bright
        for _ in range(ROUNDS):
            found = np.linalg.lstsq(terms * weight[:, None], phase[used] * weight, rcond=None)[0]
            left = phase[used] - terms @ found
            weight = bright / (1.0 + (left / ROBUST_RAD) ** 2)
        misfit = float(np.sqrt(np.average(left**2, weights=np.maximum(bright, 1e-12))))
        return _Fit(found, reach, misfit)

    def surroundings(self, fit: _Fit, turns: int) -> Surroundings:
        """Return all voxels with the phase that was fitted."""
        terms = self._terms(np.ones(len(self.radius), bool), fit.reach)
        points_nm = np.stack([self.radius * np.cos(self.angle), self.radius * np.sin(self.angle), self.along], 1)
        volume_nm3 = np.count_nonzero(self.body) * self.voxel_nm**3
        return Surroundings(
            points_nm=torch.from_numpy(points_nm).float(),
            field=torch.from_numpy(np.ascontiguousarray(self.field, np.complex64)),
            q=torch.tensor([self.q_parts[0], 0.0, self.q_parts[1]]),
            start=torch.from_numpy(turns * self.angle + terms @ fit.found).float(),
            smooth=torch.from_numpy(_polynomial(points_nm / fit.reach, 3)).float(),
            voxel_nm=self.voxel_nm,
            diameter_nm=float(np.cbrt(6.0 * volume_nm3 / np.pi)),
        )

    def _terms(self, used: NDArray[np.bool_], reach: float) -> NDArray[np.float64]:
        """Return what is fitted, float64 (n, terms): a smooth field of second order, the logarithm, the harmonic."""
        radius, angle = np.maximum(self.radius[used], 0.5 * self.voxel_nm) / reach, self.angle[used]
        points = np.stack([radius * np.cos(angle), radius * np.sin(angle), self.along[used] / reach], 1)
        around = np.stack([np.log(radius), np.cos(2.0 * angle), np.sin(2.0 * angle)], 1)
        return np.concatenate([_polynomial(points, 2), around], 1)


def _polynomial(points: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """Return all products of up to `order` coordinates of `points` (n, 3), float64 (n, terms)."""
    products = (
        points[:, list(axes)].prod(1)
        for count in range(order + 1)
        for axes in itertools.combinations_with_replacement(range(3), count)
    )
    return np.stack(list(products), 1)


def _perpendicular_to(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return any unit vector (3,) across a `direction` (3,)."""
    return np.asarray(np.linalg.svd(direction[None])[2][1])
