"""A made-up series and its reconstruction: a faceted crystal with a smooth strain, small enough for a unit test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from models.bcdi.geometry import Geometry
from service.records import Accounting, Figures, Reconstruction, Volume

VOXEL_NM = 8.0
Q_PER_ANGSTROM = 2.668


def make_geometry(frames: int) -> Geometry:
    return Geometry(
        instrument="34-ID-C",
        energy_kev=9.0,
        distance_m=0.5,
        pixel_size_m=(55e-6, 55e-6),
        beam_center_px=None,
        angles_deg={"delta": 32.174, "gamma": 12.6346, "mu": 0.0, "chi": 90.0, "phi": -5.0},
        rocking_axis="theta",
        rocking_deg=np.linspace(-0.1, 0.1, frames),
    )


def make_crystal(edge: int = 24) -> tuple[NDArray[np.complex64], NDArray[np.bool_], NDArray[np.float32]]:
    """Return object complex64, support bool and displacement float32 nm, all [z, y, x] of `edge` voxels a side."""
    z, y, x = np.meshgrid(*[np.arange(edge) - edge / 2] * 3, indexing="ij")
    radius = edge / 4
    support = (np.abs(x) + np.abs(y) + np.abs(z) < 1.6 * radius) & (np.maximum(np.abs(x), np.abs(z)) < radius)
    displacement_nm = (0.03 * np.sin(x / radius) * np.cos(y / radius)).astype(np.float32)
    phase = -10 * Q_PER_ANGSTROM * displacement_nm
    return (support * np.exp(1j * phase)).astype(np.complex64), support, displacement_nm


def make_volume(edge: int = 24, **changes: Any) -> Volume:
    object_, _, _ = make_crystal(edge)
    amplitude = np.abs(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(object_))))
    counts = np.random.default_rng(0).poisson(1e4 * (amplitude / amplitude.max()) ** 2).astype(np.float32)
    mask = np.ones(counts.shape, dtype=bool)
    mask[:, edge // 3, :] = False
    fields: dict[str, Any] = {
        "series_id": 7,
        "series_unique_id": "scan-0007",
        "counts": counts * mask,
        "mask": mask,
        "scale": np.ones(edge, dtype=np.float32),
        "geometry": make_geometry(edge),
        "accounting": Accounting(sent=edge, received=edge, missed=0, rejected=0, duplicates=1),
        "metadata": {"sample": "Au", "title": "rocking scan"},
    }
    return Volume(**(fields | changes))


def make_figures(**changes: Any) -> Figures:
    fields: dict[str, Any] = {
        "chi": 0.0071,
        "r_factor": 0.134,
        "chi2": 1.31,
        "free_log_likelihood": 1.21,
        "resolution_nm": 18.5,
        "resolution_method": "PRTF at 1/e",
        "support_voxels": 1200,
        "support_volume_nm3": 614400.0,
        "strain_rms": 2.1e-4,
        "strain_min": -9.1e-4,
        "strain_max": 8.7e-4,
        "flux_counts": 4.6e7,
        "peak_counts": 165297.0,
        "hand_chosen": True,
        "explained": 0.97,
        "agreement": 0.93,
        "doubt": "",
    }
    return Figures(**(fields | changes))


def make_reconstruction(edge: int = 24, **changes: Any) -> Reconstruction:
    object_, support, displacement_nm = make_crystal(edge)
    strain = np.gradient(displacement_nm, VOXEL_NM, axis=2).astype(np.float32)
    fields: dict[str, Any] = {
        "series_id": 7,
        "series_unique_id": "scan-0007",
        "object_": object_,
        "support": support,
        "object_lab": object_,
        "support_lab": support,
        "displacement_nm": np.where(support, displacement_nm, np.nan).astype(np.float32),
        "strain": np.where(support, strain, np.nan).astype(np.float32),
        "voxel_nm": VOXEL_NM,
        "basis_nm": VOXEL_NM * np.eye(3)[::-1].astype(np.float64),
        "q_lab": np.array([Q_PER_ANGSTROM, 0.0, 0.0]),
        "crystal_rotation": np.eye(3)[[2, 1, 0]] * [[-1.0], [1.0], [1.0]],
        "sample_rotation": np.eye(3),
        "prtf": np.linspace(1, 0.2, 12, dtype=np.float32),
        "prtf_q": np.linspace(0, 0.04, 12, dtype=np.float32),
        "figures": make_figures(),
        "crop": {"start": (0, 0, 0), "stop": (edge, edge, edge), "binning": (1, 1, 1)},
        "recipe": {"recipe": "3*(20*ER+180*HIO)+20*ER", "starts": 4, "seed": 0, "beta": 0.9, "coherence": None},
        "geometry": make_geometry(edge),
        "accounting": Accounting(sent=edge, received=edge, missed=0, rejected=0, duplicates=1),
        "latencies_s": {"preprocess": 0.1, "phase": 2.5, "orthogonalise": 0.2},
        "notes": ("one crystal in the field",),
        "warnings": ("the peak itself is saturated",),
    }
    return Reconstruction(**(fields | changes))


def write_scan(path: Path, edge: int = 24) -> Path:
    """Record the made-up series as a NeXus file."""
    volume = make_volume(edge)
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry")
        detector = entry.create_group("instrument/detector")
        entry["instrument"].attrs["NX_class"], detector.attrs["NX_class"] = "NXinstrument", "NXdetector"
        detector["data"] = volume.counts.astype(np.uint16)
        for name, value in (("distance", 0.5), ("x_pixel_size", 55e-6), ("y_pixel_size", 55e-6)):
            detector[name] = value
            detector[name].attrs["units"] = "m"
        entry["instrument/monochromator/energy"] = 9.0
        entry["instrument/monochromator/energy"].attrs["units"] = "keV"
        for name, angle in (*volume.geometry.angles_deg.items(), ("theta", volume.geometry.rocking_deg)):
            entry[f"positioners/{name}"] = angle
            entry[f"positioners/{name}"].attrs["units"] = "deg"
        entry["title"] = "recorded scan"
    return path
