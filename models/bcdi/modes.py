"""Objects side by side: hand, shift, ramp and phase removed; correlation; the mode that they share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from torch import Tensor

from models.bcdi.pattern import AXES

ALIGNMENT_STEPS = 20
# An object is fitted in the box around the voxels above this share of its maximum, with this much room for the shift.
BOX_THRESHOLD = 0.02
BOX_MARGIN_VOXELS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """What takes an object onto a reference.

    `twin`: the conjugate inversion was nearer. `shift` and `ramp` (3,): voxels in real space, and voxels of the pattern
    (cycles across the array). `correlation`: |<reference, aligned>| / norms, 1 for the same object.
    """

    object_: NDArray[np.complex64]
    twin: bool
    shift: tuple[float, ...]
    ramp: tuple[float, ...]
    correlation: float


def twin(object_: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Return the object of the other hand, conj(object(-r)) about index n // 2: the same intensities."""
    corner = np.fft.ifftshift(object_)
    flipped = np.roll(np.flip(corner), 1, axis=(0, 1, 2))
    return np.ascontiguousarray(np.fft.fftshift(flipped.conj()))


def align(object_: NDArray[np.complex64], reference: NDArray[np.complex64]) -> Alignment:
    """Return `object_` moved onto `reference`, complex64 [z, y, x] both, in the better of its two hands.

    A shift by part of a voxel, a linear phase ramp (a recentring of the pattern by part of a voxel) and the global
    phase are fitted together, so that the complex correlation is largest. Raises ValueError where either is zero
    everywhere.
    """
    _require_alike(object_, reference)
    candidates = [_fit(one, reference, hand) for one, hand in ((object_, False), (twin(object_), True))]
    return max(candidates, key=lambda one: one.correlation)


def correlation(first: NDArray[np.complex64], second: NDArray[np.complex64]) -> float:
    """Return the complex correlation of two objects with twin, shift and ramp removed, 0..1."""
    return align(second, first).correlation


def nearest_hand(
    object_: NDArray[np.complex64], previous: NDArray[np.complex64] | None
) -> tuple[NDArray[np.complex64], bool]:
    """Return the object in the hand nearest to `previous`, and whether it was turned.

    One peak cannot tell the hand. Position and phase stay as they are. Without a previous one of the same shape, the
    object stays as it is.
    """
    if previous is None or previous.shape != object_.shape:
        return object_, False
    turned = align(object_, previous).twin
    return (twin(object_) if turned else object_), turned


def mode_decomposition(objects: NDArray[np.complex64]) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    """Return the first mode of aligned objects and the weight of every mode.

    `objects` complex64 [n, z, y, x]; the mode is complex64 [z, y, x], orthogonal to the others, with the mean of the
    objects' norms; `weights` float32 [n] sum to 1, the shares of the total |object|^2. Favre-Nicolin et al., J. Appl.
    Cryst. 53 (2020) 1404, section 2.4: singular value decomposition.
    """
    flat = objects.reshape(len(objects), -1)
    gram = (flat @ flat.conj().T).astype(np.complex128)
    values, vectors = np.linalg.eigh(gram)
    shares = np.maximum(values[::-1], 0.0)
    first = vectors[:, -1]
    mode = (first.conj()[:, None] * flat).sum(axis=0)
    overlap = np.vdot(mode, flat[0])
    mode *= np.exp(1j * np.angle(overlap)) * np.sqrt(np.trace(gram).real / len(objects)) / np.linalg.norm(mode)
    return mode.reshape(objects.shape[1:]).astype(np.complex64), (shares / shares.sum()).astype(np.float32)


def _require_alike(object_: NDArray[np.complex64], reference: NDArray[np.complex64]) -> None:
    if object_.shape != reference.shape:
        raise ValueError(f"objects to compare differ in shape: {object_.shape} and {reference.shape}")
    for one in (object_, reference):
        norm = float(np.linalg.norm(one))
        if not 0.0 < norm < np.inf:
            raise ValueError(f"an object to compare has norm {norm}: expected a finite one above zero")


def _fit(object_: NDArray[np.complex64], reference: NDArray[np.complex64], hand: bool) -> Alignment:
    fixed_centre, moving_centre = _centre(reference), _centre(object_)
    box = _box(object_, reference)
    fixed = _unit(_cut(reference, fixed_centre, box))
    moving = _unit(_cut(object_, moving_centre, box))
    small = _best_move(moving, fixed)
    between = torch.tensor([f - m for f, m in zip(fixed_centre, moving_centre, strict=True)])
    whole = torch.tensor(object_.shape) / torch.tensor(box)
    move = torch.cat([small[:3] + between, small[3:] * whole])
    aligned = _moved(torch.fft.fftn(torch.from_numpy(np.ascontiguousarray(object_))), move)
    overlap = torch.vdot(aligned.flatten(), torch.from_numpy(np.ascontiguousarray(reference)).flatten())
    phased = aligned * (overlap / overlap.abs().clamp(min=torch.finfo(torch.float32).tiny))
    norms = float(np.linalg.norm(object_)) * float(np.linalg.norm(reference))
    return Alignment(
        object_=phased.to(torch.complex64).numpy(),
        twin=hand,
        shift=tuple(float(value) for value in move[:3]),
        ramp=tuple(float(value) for value in move[3:]),
        correlation=min(float(overlap.abs()) / norms, 1.0),
    )


def _best_move(moving: Tensor, fixed: Tensor) -> Tensor:
    """Return shift [3] and ramp [3] of `moving` onto `fixed`, unit objects of one small box, by quasi-Newton ascent."""
    spectrum = torch.fft.fftn(moving)
    free = torch.cat([_whole_shift(spectrum, fixed), torch.zeros(3)]).requires_grad_(True)
    optimiser = torch.optim.LBFGS(
        [free], max_iter=ALIGNMENT_STEPS, line_search_fn="strong_wolfe", tolerance_change=1e-7
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        overlap = -torch.vdot(fixed.flatten(), _moved(spectrum, free).flatten()).abs()
        overlap.backward()  # type: ignore[no-untyped-call]
        return overlap

    with torch.enable_grad():
        optimiser.step(loss)  # type: ignore[no-untyped-call]
    return free.detach()


def _centre(object_: NDArray[np.complex64]) -> tuple[int, ...]:
    """Return the voxel at the centre of mass of |object|^2, on a circle along each axis."""
    density = np.square(np.abs(object_))
    centre = []
    for axis, n in enumerate(object_.shape):
        along = density.sum(axis=tuple(a for a in range(3) if a != axis), dtype=np.float64)
        angle = np.angle(np.sum(along * np.exp(2j * np.pi * np.arange(n) / n)))
        centre.append(round(angle / (2.0 * np.pi) * n) % n)
    return tuple(centre)


def _box(*objects: NDArray[np.complex64]) -> tuple[int, ...]:
    """Return the edges of a box, voxels, with room for each object and for its shift."""
    edges = []
    for axis, n in enumerate(objects[0].shape):
        reach = 0
        for one in objects:
            profile = np.abs(one).max(axis=tuple(a for a in range(3) if a != axis))
            offset = np.arange(n) - _centre(one)[axis]
            distance = np.abs((offset + n // 2) % n - n // 2)
            reach = max(reach, int(distance[profile > BOX_THRESHOLD * profile.max()].max()))
        edges.append(min(n, next_fast_len(2 * reach + 2 * BOX_MARGIN_VOXELS)))
    return tuple(edges)


def _cut(object_: NDArray[np.complex64], centre: tuple[int, ...], box: tuple[int, ...]) -> NDArray[np.complex64]:
    chosen = [(c + np.arange(m) - m // 2) % n for c, m, n in zip(centre, box, object_.shape, strict=True)]
    return object_[np.ix_(*chosen)]


def _unit(object_: NDArray[np.complex64]) -> Tensor:
    return torch.from_numpy(object_ / np.linalg.norm(object_)).to(torch.complex64)


def _whole_shift(spectrum: Tensor, fixed: Tensor) -> Tensor:
    correlation_map = torch.fft.ifftn(torch.fft.fftn(fixed) * spectrum.conj()).abs()
    peak = np.unravel_index(int(correlation_map.argmax()), tuple(fixed.shape))
    signed = [(p + n // 2) % n - n // 2 for p, n in zip(peak, fixed.shape, strict=True)]
    return torch.tensor(signed, dtype=torch.float32)


def _moved(spectrum: Tensor, free: Tensor) -> Tensor:
    """Shift by free[:3] voxels, then a ramp of free[3:] cycles across the array."""
    shifted = spectrum
    for axis, amount in zip(AXES, free[:3], strict=True):
        n = spectrum.shape[axis]
        shifted = shifted * _along(torch.fft.fftfreq(n), -amount, axis)
    moved: Tensor = torch.fft.ifftn(shifted)
    for axis, amount in zip(AXES, free[3:], strict=True):
        n = spectrum.shape[axis]
        moved = moved * _along((torch.arange(n) - n // 2) / n, amount, axis)
    return moved


def _along(positions: Tensor, amount: Tensor, axis: int) -> Tensor:
    angle = 2.0 * np.pi * positions * amount
    return torch.polar(torch.ones_like(angle), angle).view([-1 if axis == a else 1 for a in AXES])
