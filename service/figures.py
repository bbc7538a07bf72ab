"""Figures of merit of a crystal: how well it explains the counts, how fine it is, what speaks against it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.bcdi.geometry import ANGSTROM_PER_NM
from models.bcdi.phasing import Phased
from models.bcdi.preprocess import Preprocessed
from models.bcdi.quality import prtf, resolution
from models.bcdi.trust import agreement, doubt, explained, peak_outside
from models.defects.report import DefectReport
from service.records import Figures, Repaired, Volume
from service.repair import Crop
from service.settings import DefectsSettings
from service.tiers import Tier


def transfer(
    phased: Phased, prepared: Preprocessed, reciprocal: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the PRTF in shells of |q - Q|, and their middles, 1/angstrom; `reciprocal` (3, 3) 1/angstrom a voxel."""
    shape = prepared.crop.shape
    steps = np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij", sparse=True)
    away = [sum(row[axis] * steps[axis] for axis in range(3)) for row in reciprocal]
    radius = np.sqrt(sum(component**2 for component in away))
    reach = float(min(n // 2 * length for n, length in zip(shape, np.linalg.norm(reciprocal, axis=0), strict=True)))
    edges = np.linspace(0.0, reach, min(shape) // 2 + 1)
    found = prtf(phased.kept, prepared.counts, prepared.mask, radius, edges, prepared.scale, prepared.background)
    return found, ((edges[:-1] + edges[1:]) / 2).astype(np.float32)


def figures_of(
    tier: Tier,
    volume: Volume,
    crop: Crop,
    *,
    support: NDArray[np.bool_],
    strain: NDArray[np.float32],
    found: tuple[NDArray[np.float32], NDArray[np.float32]],
    direct_nm: NDArray[np.float64],
    hand_chosen: bool,
    defects: DefectReport | None,
    wanted: DefectsSettings,
) -> Figures:
    """Return what is told of a crystal: `support` bool of it, `strain` float32 (voxels,) of its bulk, `found` by
    `transfer`, `direct_nm` (3, 3) a voxel, `wanted` when to hold. Raises ValueError where no strain can be told.
    """
    trust = _trust(tier, volume, crop.prepared)
    return Figures(
        **_fit(tier.phased, volume, crop.prepared),
        **_resolution(*found),
        **_support(support, direct_nm),
        **_strain(strain),
        hand_chosen=hand_chosen,
        tier=tier.name,
        **trust,
        **_repair(crop),
        **_defects(defects, wanted, trusted=not trust["doubt"]),
    )


def _fit(phased: Phased, volume: Volume, prepared: Preprocessed) -> dict[str, Any]:
    return {
        "chi": phased.figures.chi,
        "r_factor": phased.figures.r_factor,
        "chi2": phased.figures.chi2,
        "free_log_likelihood": phased.figures.free_log_likelihood,
        "flux_counts": float(volume.rocking_curve.sum()),
        "peak_counts": float(prepared.counts.max()),
    }


def _resolution(found: NDArray[np.float32], q: NDArray[np.float32]) -> dict[str, Any]:
    resolution_angstrom, method = resolution(found, q)
    return {"resolution_nm": resolution_angstrom / ANGSTROM_PER_NM, "resolution_method": method}


def _support(support: NDArray[np.bool_], direct_nm: NDArray[np.float64]) -> dict[str, Any]:
    voxels = int(np.count_nonzero(support))
    return {"support_voxels": voxels, "support_volume_nm3": float(voxels * abs(np.linalg.det(direct_nm)))}


def _strain(strain: NDArray[np.float32]) -> dict[str, Any]:
    """Figures of the strain of the bulk, float32 [voxels]."""
    known = strain[np.isfinite(strain)].astype(np.float64)
    if not known.size:
        raise ValueError("the support is thinner than two voxels: no strain can be told")
    return {
        "strain_rms": float(np.sqrt(np.mean(known**2))),
        "strain_min": float(known.min()),
        "strain_max": float(known.max()),
    }


def _trust(tier: Tier, volume: Volume, prepared: Preprocessed) -> dict[str, Any]:
    share, alike, why = trust_of(tier.phased, prepared, volume)
    return {"explained": share, "agreement": alike, "doubt": tier.doubt or why}


def trust_of(phased: Phased, prepared: Preprocessed, volume: Volume) -> tuple[float, float, str]:
    """Return which share of the held-out counts a crystal explains, how much its starts agree, and why, by these and by
    where its peak lies, it must not be trusted; see Figures.
    """
    share = explained(
        prepared.counts, phased.held_out, prepared.scale, prepared.background, phased.figures.free_log_likelihood
    )
    alike = agreement(phased.mode_weights)
    received = np.ones(len(volume.counts), np.bool_) if volume.received is None else volume.received
    return share, alike, doubt(share, alike) or peak_outside(volume.rocking_curve, received)


def _repair(crop: Crop) -> dict[str, Any]:
    made, said = crop.repaired or Repaired(), "; ".join(crop.doubts)
    filled = np.zeros(0) if made.filled is None or made.filled_std is None else made.filled[made.filled_std > 0]
    return {
        "filled_voxels": len(filled),
        "filled_counts": float(filled.sum(dtype=np.float64)),
        "denoised_counts": 0.0 if made.denoised is None else float(made.denoised.sum(dtype=np.float64)),
        "repair_doubt": said,
    }


def _defects(found: DefectReport | None, wanted: DefectsSettings, *, trusted: bool) -> dict[str, Any]:
    if found is None:
        return {}
    sure = found.abstained or found.probability >= wanted.hold_above
    return {
        "defect_class": found.label.value,
        "defect_probability": found.probability,
        "defect_count": found.count,
        "hold": trusted and sure and found.label.value in wanted.hold_on,
    }
