"""Simulated strained crystals and their diffraction, in the array frame of phase retrieval, with NumPy's transforms."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from models.bcdi.geometry import Geometry
from models.bcdi.pattern import Pattern, hold_out, measured_pattern
from models.simulate.crystals import WULFF_100_TO_111, Polyhedra, fcc_normals, scaled_to_radius
from models.simulate.displacement import spanning
from models.simulate.grid import Grid


def strained_crystal(edge: int, seed: int = 0, phase_range: float = 3.0) -> NDArray[np.complex64]:
    """A faceted crystal over about a third of a cube of `edge` voxels, its phase within `phase_range` radians.

    Drawn by NumPy, so that the crystals of the tests stay as they are when the simulator draws others.
    """
    rng, radius = np.random.default_rng(seed), 0.19 * edge
    normals = (
        fcc_normals().double() @ torch.from_numpy(Rotation.from_quat(rng.normal(size=4)[[1, 2, 3, 0]]).as_matrix()).T
    )
    energies = np.concatenate([np.ones(8), np.full(6, WULFF_100_TO_111)]) * rng.uniform(0.85, 1.15, 14)
    facets = Polyhedra(normals=normals.float()[None], distances_nm=torch.from_numpy(energies).float()[None])
    grid = Grid(basis_nm=torch.eye(3).flip(-1)[None], shape=(edge,) * 3)
    filling = scaled_to_radius(facets, torch.tensor([radius])).filling(grid)
    field = torch.from_numpy(bumps(rng, radius, np.moveaxis(grid.points_nm()[0].double().numpy(), 0, -1))).float()[None]
    return torch.polar(filling, spanning(field, filling > 0.5, torch.tensor([phase_range])))[0].numpy()


def bumps(rng: np.random.Generator, radius: float, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """A sum of four Gaussians about as wide as the crystal, at points (..., 3)."""
    centres = radius * rng.uniform(-0.7, 0.7, (4, 3))
    lengths = radius * rng.uniform(0.6, 1.2, 4)
    heights = rng.choice([-1.0, 1.0], 4) * rng.uniform(0.5, 1.0, 4)
    square = ((points[..., None, :] - centres) ** 2).sum(axis=-1)
    return (heights * np.exp(-square / (2.0 * lengths**2))).sum(axis=-1)


def rocking_geometry(shape: tuple[int, int, int]) -> Geometry:
    """A rocking scan of gold's {111} at 34-ID-C, the beam centre in the middle of the frames."""
    frames, rows, columns = shape
    return Geometry(
        instrument="34-ID-C",
        energy_kev=9.0,
        distance_m=0.5,
        pixel_size_m=(55e-6, 55e-6),
        beam_center_px=(rows / 2, columns / 2),
        angles_deg={"chi": 90.0, "phi": -5.0, "delta": 32.174, "gamma": 12.6346},
        rocking_axis="theta",
        rocking_deg=0.1 + 0.012 * (np.arange(frames) - frames / 2),
    )


def transform(object_: NDArray[np.generic]) -> NDArray[np.complex128]:
    """The field of a centred object [..., z, y, x], zero frequency at index n // 2."""
    axes = (-3, -2, -1)
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(object_, axes=axes), axes=axes), axes=axes)


def bright(object_: NDArray[np.complex64], peak_counts: float) -> NDArray[np.complex64]:
    """The object with as much amplitude as gives `peak_counts` in the brightest voxel."""
    return (object_ * np.sqrt(peak_counts) / np.abs(transform(object_)).max()).astype(np.complex64)


def poisson(expected: NDArray[np.floating], seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).poisson(expected).astype(np.float32)


def gaps(shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """True is good: a dead row and a dead column beside the centre, as between the chips of a detector."""
    mask = np.ones(shape, dtype=bool)
    mask[:, shape[1] // 2 + shape[1] // 6, :] = False
    mask[:, :, shape[2] // 2 - shape[2] // 5] = False
    return mask


def pattern_of(
    counts: NDArray[np.floating],
    mask: NDArray[np.bool_] | None = None,
    *,
    scale: NDArray[np.floating] | float = 1.0,
    background: NDArray[np.floating] | float = 0.0,
    held_out: float = 0.0,
    device: str = "cpu",
) -> Pattern:
    """The pattern of centred counts [z, y, x]; everything seen unless said otherwise."""
    good = np.ones(counts.shape, dtype=bool) if mask is None else mask
    return measured_pattern(
        counts.astype(np.float32),
        good,
        hold_out(good, held_out, 0),
        scale=np.asarray(scale, dtype=np.float32),
        background=np.asarray(background, dtype=np.float32),
        device=device,
    )


def corner(array: NDArray[np.generic]) -> torch.Tensor:
    """A centred array [..., z, y, x] as a tensor in the order of FFTs."""
    return torch.from_numpy(np.ascontiguousarray(np.fft.ifftshift(array, axes=(-3, -2, -1))))


def centred(tensor: torch.Tensor) -> NDArray[np.generic]:
    """A tensor [..., z, y, x] in the order of FFTs as a centred array."""
    return np.fft.fftshift(tensor.numpy(), axes=(-3, -2, -1))


def blurred(intensity: NDArray[np.floating], half_spectrum: NDArray[np.floating]) -> NDArray[np.float64]:
    """A centred intensity convolved, over the wrapped edges, with the kernel whose transform is given."""
    axes = (0, 1, 2)
    spectrum = np.fft.rfftn(np.fft.ifftshift(intensity), axes=axes) * half_spectrum
    return np.fft.fftshift(np.fft.irfftn(spectrum, intensity.shape, axes=axes)).clip(0.0)
