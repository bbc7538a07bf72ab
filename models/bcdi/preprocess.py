"""From an assembled series to what phase retrieval takes: mask, model terms, peak, crop.

The counts stay raw. A series is modelled as counts ~ Poisson(scale * |F|^2 + background): monitor, attenuators and flat
field are in `scale`, the dark image is `background`. Whoever needs an intensity takes `Preprocessed.intensity`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.bcdi.corrections import dark_outliers, efficiency, find_hot_pixels, saturation_level
from models.bcdi.crop import Crop, bin_with, choose_crop, cut
from models.bcdi.gaps import dark_lines
from models.bcdi.peak import Peak, find_peak
from models.layouts import ChipLayout, chip_edges, known_layout

Mask = NDArray[np.bool_]
Counts = NDArray[np.float32]

# A peak with a saturated voxel this close to its centre is cut off, voxels.
SATURATED_REACH = 5.0
# Runs of rows, columns or frames that a warning names: one line that can be read.
MOST_RUNS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessConfig:
    """What a person may fix; the defaults leave the choice to the data.

    `user_mask` bool [row, column], True is good. `region` (row start, row stop, column start, column stop), px.
    `saturation_counts`: counts from which a voxel is saturated. `size`: edge of the cube that is inverted, or
    three edges, voxels after binning; 0 chooses a box of edges up to `largest`. `chips`: None takes the Maxipix layout
    for frames of 516 x 516.
    """

    user_mask: Mask | None = None
    region: tuple[int, int, int, int] | None = None
    saturation_counts: float | None = None
    size: int | tuple[int, int, int] = 0
    largest: int = 256
    binning: tuple[int, int, int] = (1, 1, 1)
    chips: ChipLayout | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What is known of how a series was counted, None where nothing is.

    `dark` (counts a frame) and `flat` (relative efficiency) float32 [row, column]; `scale` float32 [rocking], or of the
    counts' shape (summed scans); `saturated` bool of the counts' shape, voxels that the mask leaves out because they
    are.
    """

    dark: Counts | None = None
    flat: Counts | None = None
    scale: Counts | None = None
    saturated: Mask | None = None


UNKNOWN = Exposure()


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked:
    """A whole series, masked: arrays [rocking, row, column].

    `counts` float32, raw; what they hold where `mask` bool is False means nothing. `scale` and `background` float32,
    broadcast against the counts. `saturated` bool: masked as too bright. `notes` say what was done, `warnings` what
    somebody should look at.
    """

    counts: Counts
    mask: Mask
    scale: Counts
    background: Counts
    saturated: Mask
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessed:
    """A series ready for phase retrieval, all arrays [rocking, row, column] of the crop.

    `counts` float32, raw but zero where masked. `mask` bool. `scale` and `background` float32, broadcast against the
    counts. `saturated` bool: masked as too bright. `crop` maps the crop to the volume; `peak_index` (z, y, x) is the
    peak in the volume, fractional voxels.
    `notes` say what was done, `warnings` what somebody should look at.
    """

    counts: Counts
    mask: Mask
    scale: Counts
    background: Counts
    saturated: Mask
    crop: Crop
    peak_index: tuple[float, float, float]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def intensity(self) -> Counts:
        """Estimate of |F|^2 for projections onto a modulus: (counts - background) / scale, never negative, float32."""
        return np.asarray(np.maximum(self.counts - self.background, 0.0) / self.scale * self.mask, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class _Remarks:
    """Gathered on the way through `preprocess`."""

    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def preprocess(
    counts: Counts, mask: Mask, config: PreprocessConfig | None = None, exposure: Exposure = UNKNOWN
) -> Preprocessed:
    """Mask, centre and crop a volume.

    `counts` float32 and `mask` bool [rocking, row, column]. Not for streaming: it wants the whole series.
    Raises ValueError in one line where there is nothing to invert.
    """
    config = config or PreprocessConfig()
    _require(
        counts.ndim != 3 or len(counts) > 1,
        "one frame only: a rocking curve needs more, a dozen at least to be inverted",
    )
    masked = masked_series(counts, mask, config, exposure)
    remarks = _Remarks(notes=list(masked.notes), warnings=list(masked.warnings))
    peak = find_peak(masked.counts, masked.mask)
    _warn_of_peak(peak, masked.saturated, remarks)
    crop, why = choose_crop(
        masked.counts, masked.mask, peak.index, size=config.size, binning=config.binning, largest=config.largest
    )
    remarks.notes.append(why)
    _warn_of_gaps(cut(masked.counts, crop, 0.0), cut(masked.mask, crop, False), crop, remarks)
    return _cropped(masked, crop, peak, remarks)


def masked_series(
    counts: Counts, mask: Mask, config: PreprocessConfig | None = None, exposure: Exposure = UNKNOWN
) -> Masked:
    """Mask what did not count: chip edges, the user's mask, hot, noisy, insensitive and saturated pixels. Arguments and
    errors as for `preprocess`.
    """
    config = config or PreprocessConfig()
    _check_shapes(counts, mask, config, exposure)
    remarks = _Remarks()
    frame_mask = _frame_mask(counts.shape[1:], config)
    known = np.zeros_like(mask) if exposure.saturated is None else exposure.saturated & frame_mask
    good = mask & frame_mask
    for seen, frame in zip(good, counts, strict=True):  # large arrays that are made anew cost more than what fills them
        seen &= (frame >= 0) & (frame < np.inf)
    _require(good.any() or known.any(), "all voxels are masked: check detector mask, user mask and region")
    counts = np.where(good, counts, np.float32(0.0))
    _require(counts.any() or not known.any(), "all voxels with counts are saturated: attenuate the beam")
    _require(counts.any(), "zero counts in all good voxels: check shutter, threshold and region")
    model, good = _model_scale(counts.shape, good, exposure, remarks)
    good, background = _apply_dark(good, exposure.dark, remarks)
    good = _mask_hot_pixels(counts, good, remarks)
    good, found = _mask_saturated(counts, good, config.saturation_counts)
    level = f", at {counts[found].min():g} counts or more" if found.any() else ""
    saturated = np.logical_or(found, known, out=found)
    _warn_of_saturation(saturated, level, good, remarks)
    return Masked(
        counts=counts,
        mask=good,
        scale=model,
        background=background,
        saturated=saturated,
        notes=tuple(remarks.notes),
        warnings=tuple(remarks.warnings),
    )


def _check_shapes(counts: Counts, mask: Mask, config: PreprocessConfig, exposure: Exposure) -> None:
    _require(counts.ndim == 3, f"counts must be [rocking, row, column], got shape {counts.shape}")
    _require(mask.shape == counts.shape, f"mask has shape {mask.shape}, counts {counts.shape}: expected the same")
    for name, image in (("dark", exposure.dark), ("flat field", exposure.flat), ("user mask", config.user_mask)):
        if image is not None:
            _require(image.shape == counts.shape[1:], f"{name} has shape {image.shape}, frames {counts.shape[1:]}")
    saturated, scale = exposure.saturated, exposure.scale
    if saturated is not None:
        _require(saturated.shape == counts.shape, f"saturated has shape {saturated.shape}, counts {counts.shape}")
    if scale is not None:
        fits = scale.shape in (counts.shape[:1], counts.shape)
        _require(fits, f"scale has shape {scale.shape}: expected {counts.shape[:1]} or {counts.shape}")


def _frame_mask(shape: tuple[int, ...], config: PreprocessConfig) -> Mask:
    rows, columns = shape
    good = np.ones((rows, columns), dtype=bool)
    chips = config.chips or known_layout((rows, columns))
    if chips:
        good &= chip_edges((rows, columns), chips)
    if config.user_mask is not None:
        good &= config.user_mask
    if config.region is not None:
        top, bottom, left, right = config.region
        inside = np.zeros_like(good)
        inside[top:bottom, left:right] = True
        good &= inside
    return good


def _model_scale(shape: tuple[int, ...], good: Mask, exposure: Exposure, remarks: _Remarks) -> tuple[Counts, Mask]:
    """Scale of the model, broadcasting against the counts, and the mask without what it leaves in the dark."""
    scale = exposure.scale
    model = np.ones((shape[0], 1, 1), dtype=np.float32) if scale is None else scale.reshape(shape[0], *_tail(scale))
    lit = (model > 0) & (model < np.inf)
    if not lit.all():
        remarks.warnings.append(
            f"frames or voxels masked, as monitor or transmission is not above zero: {np.count_nonzero(~lit)}"
        )
        model = np.where(lit, model, np.float32(1.0))
        good &= lit
    model = model.astype(np.float32, copy=False)
    if exposure.flat is not None:
        relative, usable = efficiency(exposure.flat)
        remarks.notes.append(f"flat field: insensitive pixels masked: {np.count_nonzero(~usable)}")
        model = model * relative
        good &= usable
    _require(good.any(), "no voxel was exposed: monitor, transmission or flat field leave none above zero")
    return model, good


def _tail(scale: Counts) -> tuple[int, ...]:
    return scale.shape[1:] if scale.ndim == 3 else (1, 1)


def _apply_dark(good: Mask, dark: Counts | None, remarks: _Remarks) -> tuple[Mask, Counts]:
    if dark is None or not np.any(dark > 0):
        return good, np.zeros((1, 1, 1), dtype=np.float32)
    known = np.isfinite(dark)
    dark = np.where(known, np.maximum(dark, 0.0), 0.0).astype(np.float32)
    noisy = dark_outliers(dark) | ~known
    remarks.notes.append(
        f"dark: noisy pixels masked: {np.count_nonzero(noisy)}, {dark[~noisy].mean():.3g} counts a frame in the others"
    )
    return good & ~noisy, np.where(noisy, 0.0, dark).astype(np.float32)[None]


def _mask_hot_pixels(counts: Counts, good: Mask, remarks: _Remarks) -> Mask:
    hot = find_hot_pixels(counts, good)
    if hot.any():
        remarks.notes.append(f"hot pixels masked: {np.count_nonzero(hot)}")
    good &= ~hot
    return good


def _mask_saturated(counts: Counts, good: Mask, limit: float | None) -> tuple[Mask, Mask]:
    level = limit if limit is not None else saturation_level(counts, good)
    if level is None:
        return good, np.zeros_like(good)
    saturated = good & (counts >= level)
    unsaturated = good & ~saturated
    _require(
        bool(np.any(counts[unsaturated])), f"all voxels with counts are saturated (at {level:g}): attenuate the beam"
    )
    return unsaturated, saturated


def _warn_of_saturation(saturated: Mask, level: str, good: Mask, remarks: _Remarks) -> None:
    """Tell how many voxels were cut off, and which frames have nothing else."""
    if not saturated.any():
        return
    remarks.warnings.append(f"saturated voxels masked: {np.count_nonzero(saturated)}{level}")
    whole = np.flatnonzero(saturated.any(axis=(1, 2)) & ~good.any(axis=(1, 2)))
    if len(whole):
        remarks.warnings.append(f"frames saturated altogether: {_ranges(whole)}")


def _warn_of_peak(peak: Peak, saturated: Mask, remarks: _Remarks) -> None:
    first = [max(0, round(index - SATURATED_REACH)) for index in peak.index]
    around = saturated[tuple(slice(f, round(i + SATURATED_REACH) + 1) for f, i in zip(first, peak.index, strict=True))]
    away = np.linalg.norm(np.argwhere(around) + first - np.array(peak.index), axis=1)
    if away.min(initial=np.inf) <= SATURATED_REACH:
        remarks.warnings.append("the peak itself is saturated: its counts are missing, attenuate the beam")
    if peak.others:
        places = ", ".join(f"({z:.0f}, {y:.0f}, {x:.0f})" for z, y, x in peak.others)
        remarks.warnings.append(
            f"{len(peak.others) + 1} separate peaks, several crystals: brightest taken, others at {places}"
        )


def _warn_of_gaps(counts: Counts, good: Mask, crop: Crop, remarks: _Remarks) -> None:
    rows, columns = dark_lines(counts, good)
    dark = [
        f"{name} {_ranges(lines + first)}"
        for name, lines, first in (("rows", rows, crop.offset[1]), ("columns", columns, crop.offset[2]))
        if len(lines)
    ]
    if dark:
        remarks.warnings.append(
            f"no counts in any frame amid bright neighbours: {', '.join(dark)}; if that is a gap, mask it"
        )


def _ranges(numbers: NDArray[np.intp]) -> str:
    """Return ascending numbers in words, neighbours together."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    said = [f"{run[0]} to {run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs[:MOST_RUNS]]
    return ", ".join(said) + (" and more" if len(runs) > MOST_RUNS else "")


def _cropped(masked: Masked, crop: Crop, peak: Peak, remarks: _Remarks) -> Preprocessed:
    binned_mask = bin_with(np.all, cut(masked.mask, crop, False), crop.binning)
    binned_counts = bin_with(np.sum, cut(masked.counts, crop, 0.0), crop.binning) * binned_mask
    _require(
        bool(np.any(binned_counts)), f"no counts left in the crop {crop.shape}: give a larger size or less binning"
    )
    missing = 1.0 - np.count_nonzero(binned_mask) / binned_mask.size
    remarks.notes.append(f"{missing:.1%} of the crop's voxels are masked")
    scale, background = (np.broadcast_to(part, masked.counts.shape) for part in (masked.scale, masked.background))
    return Preprocessed(
        counts=binned_counts.astype(np.float32),
        mask=binned_mask,
        scale=bin_with(np.mean, cut(scale, crop, 1.0), crop.binning).astype(np.float32),
        background=bin_with(np.sum, cut(background, crop, 0.0), crop.binning).astype(np.float32),
        saturated=bin_with(np.any, cut(masked.saturated, crop, False), crop.binning),
        crop=crop,
        peak_index=peak.index,
        notes=tuple(remarks.notes),
        warnings=tuple(remarks.warnings),
    )


def _require(condition: bool | np.bool_, message: str) -> None:
    if not condition:
        raise ValueError(message)
