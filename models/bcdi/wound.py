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


def likely_lines(basis_nm: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return directions float64 (1 + ACROSS, 3) in index units [z, y, x] about which a phase may wind twice: along Q,
    and evenly spread across it.

    `basis_nm` (3, 3): columns are the steps of a voxel along z, y, x; `q` (3,), of any length, in the same frame.
    """
    along = q / np.linalg.norm(q)
    first = np.cross(along, np.eye(3)[np.abs(along).argmin()])
    first = first / np.linalg.norm(first)
    angles = np.arange(ACROSS)[:, None] * (np.pi / ACROSS)
    across = np.cos(angles) * first + np.sin(angles) * np.cross(along, first)
    return np.asarray(np.vstack([along, across]) @ np.linalg.inv(basis_nm).T)


def wound(shape: NDArray[np.float32], lines: NDArray[np.float64]) -> NDArray[np.complex64]:
    """Return objects complex64 [n, z, y, x] of amplitude `shape` [z, y, x], the phase of each winding by TURNS about
    one of `lines` (n, 3), directions in index units through the middle of the shape.
    """
    places = np.indices(shape.shape, dtype=np.float32).reshape(3, -1)
    far = places - (places @ shape.ravel() / shape.sum())[:, None]
    found = []
    for line in lines / np.linalg.norm(lines, axis=1, keepdims=True):
        first = np.cross(line, np.eye(3)[np.abs(line).argmin()])
        angle = np.arctan2(np.cross(line, first) @ far, first @ far).reshape(shape.shape)
        found.append(shape * np.exp(1j * TURNS * angle))
    return np.stack(found).astype(np.complex64)


def rewound(
    counts: NDArray[np.float32],
    mask: NDArray[np.bool_],
    found: Phased,
    lines: NDArray[np.float64],
    config: PhasingConfig,
    *,
    light: Light | None = None,
    filled: Filled | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Phased:
    """Return `found`, or what starts that wind about `lines` come to, where that is clearly likelier.

    They begin with the shape of the autocorrelation. Arguments and errors as of `phasing.phase_retrieval`, and
    `found` is what it returned. Not for streaming.
    """
    light = light or light_of(counts.shape)
    scale, background = light
    invert = partial(
        phase_retrieval, counts, mask, scale=scale, background=background, filled=filled, cancelled=cancelled
    )
    good = mask & np.isfinite(counts)
    pattern = measured_pattern(
        np.where(good, counts, np.float32(0.0)),
        good,
        found.held_out,
        scale=scale,
        background=background,
        device=config.device,
        filled=filled,
    )
    shape = np.fft.fftshift(initial_support(pattern).cpu().numpy()).astype(np.float32)
    if not shape.any():
        return found
    other = invert(replace(config, keep=1, search_from_start=True), start=wound(shape, lines))
    if not rank(other.figures) < (1.0 - LEAST_GAIN) * rank(found.figures):
        return found
    return invert(config, start=other.object_)
