"""Starts whose phase winds: a search for crystals with a dislocation around which the phase gains two whole turns.

Where g.b is 2, nearly all other starts come to rest with one of both turns, a wrong crystal that explains the counts
less well. Where g.b is 1 they do as well as others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from models.bcdi.pattern import Filled, measured_pattern
from models.bcdi.phasing import Phased, PhasingConfig, phase_retrieval
from models.bcdi.search import rank
from models.bcdi.support import initial_support
from models.light import Light, light_of

TURNS = 2
# A dislocation of fcc has b along a close-packed direction, and g.b of the strong reflections is 2 where that is near
# Q: screws then run along Q, edges across it, somewhere in one of these directions.
ACROSS = 4
# Starting anew from a crystal takes a while, and is worth it where the free log-likelihood is lower by that share.
LEAST_GAIN = 0.1
# So much of the work is the search, told by `progress`.
SEARCH_SHARE = 0.5


def likely_lines(basis_nm: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return directions float64 (1 + ACROSS, 3) in index units [z, y, x] about which a phase may wind twice: along Q,
    and evenly spread across it.

    `basis_nm` (3, 3): columns are the steps of a voxel along z, y, x; `q` (3,), of any length, in the same frame.
    """
    along = q / np.linalg.norm(q)
    first = _aside(along)
    first = first / np.linalg.norm(first)
    angles = np.arange(ACROSS)[:, None] * (np.pi / ACROSS)
    across = np.cos(angles) * first + np.sin(angles) * np.cross(along, first)
    return np.asarray(np.vstack([along, across]) @ np.linalg.inv(basis_nm).T)


def _aside(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """A vector (3,) across a direction (3,), of any length."""
    return np.cross(direction, np.eye(3)[np.abs(direction).argmin()])


def wound(shape: NDArray[np.float32], lines: NDArray[np.float64]) -> NDArray[np.complex64]:
    """Return objects complex64 [n, z, y, x] of amplitude `shape` [z, y, x], the phase of each winding by TURNS about
    one of `lines` (n, 3), directions in index units through the middle of the shape.
    """
    places = np.indices(shape.shape, dtype=np.float32).reshape(3, -1)
    far = places - (places @ shape.ravel() / shape.sum())[:, None]
    objects = np.empty((len(lines), *shape.shape), np.complex64)
    for object_, line in zip(objects, lines, strict=True):
        first = _aside(line)
        second = np.cross(line / np.linalg.norm(line), first)
        y, x = (np.float32(axis) @ far for axis in (second, first))
        object_[:] = shape * np.exp(np.complex64(1j * TURNS) * np.arctan2(y, x).reshape(shape.shape))
    return objects


def rewound(
    counts: NDArray[np.float32],
    mask: NDArray[np.bool_],
    found: Phased,
    lines: NDArray[np.float64],
    config: PhasingConfig,
    *,
    light: Light | None = None,
    filled: Filled | None = None,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Phased:
    """Return `found`, or what starts that wind about `lines` come to, where that is clearly likelier than each of the
    starts of `found`.

    `found` is what `phasing.phase_retrieval` returned for the same arguments, of which `light` is made of two; errors
    as of that. The starts have the shape of the autocorrelation. The likeliest is where `config.keep` others set out
    from; they are not independent, so how far they agree (`mode_weights`) stays that of `found`, while the PRTF is that
    of theirs. Not for streaming.
    """
    told = progress or (lambda share: None)
    light = light or light_of(counts.shape)
    invert = partial(
        phase_retrieval,
        counts,
        mask,
        scale=light.scale,
        background=light.background,
        filled=filled,
        cancelled=cancelled,
    )
    shape = _shape(counts, mask & np.isfinite(counts), found.held_out, light, filled, config.device)
    other = invert(
        replace(config, keep=1, search_from_start=True),
        start=wound(shape, lines),
        progress=lambda share: told(SEARCH_SHARE * share),
    )
    likeliest = min(rank(one) for one in (found.figures, *(found.starts[number] for number in found.selected)))
    if not rank(other.figures) < (1.0 - LEAST_GAIN) * likeliest:
        told(1.0)
        return found
    again = invert(
        replace(config, starts=config.keep),
        start=other.object_,
        progress=lambda share: told(SEARCH_SHARE + (1.0 - SEARCH_SHARE) * share),
    )
    recipe = f"{found.recipe}; wound: {other.recipe}; {again.recipe}"
    again = replace(again, mode_weights=found.mode_weights, recipe=recipe)
    return min(found, again, key=lambda one: rank(one.figures))


def _shape(
    counts: NDArray[np.float32],
    seen: NDArray[np.bool_],
    held_out: NDArray[np.bool_],
    light: Light,
    filled: Filled | None,
    device: str,
) -> NDArray[np.float32]:
    """What the autocorrelation tells of where the crystal is, 0 or 1 [z, y, x]."""
    pattern = measured_pattern(
        np.where(seen, counts, np.float32(0.0)),
        seen,
        held_out,
        scale=light.scale,
        background=light.background,
        device=device,
        filled=filled,
    )
    return np.fft.fftshift(initial_support(pattern).cpu().numpy()).astype(np.float32)
