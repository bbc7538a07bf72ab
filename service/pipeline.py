"""From a volume to a reconstruction, stage by stage (STAGES), each timed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.bcdi.geometry import direct_basis, momentum_transfer, reciprocal_basis, sample_rotation
from models.bcdi.modes import nearest_hand, twin
from models.bcdi.pattern import resample
from models.bcdi.phasing import Phased
from models.bcdi.preprocess import Exposure, Masked, PreprocessConfig, Preprocessed, masked_series, preprocess
from models.bcdi.resample import along_q, to_lab
from models.bcdi.strain import displacement_and_strain
from models.defects.report import DefectReport
from models.layouts import chosen_layout
from service.adapters.scans.plane import detector_planes
from service.defects import Classifier, odd_lattice, scattering_of
from service.errors import BraggloopError, DataError, GeometryError, one_line
from service.figures import figures_of, transfer
from service.records import Figures, Reconstruction, Volume
from service.repair import Crop, Repair
from service.results.slices import bulk_of
from service.search import lines_sought, phasing_config, require_device, search
from service.settings import DetectorSettings, PhasingSettings, Settings
from service.tiers import Tier, Tiers

log = logging.getLogger(__name__)

SEARCH = "search"  # the tier of the result
# Two results are of the same crystal, as far as can be told, where neither Q nor an edge of the field of view differs
# by more than this share: strain, realignment and jittering motors change them by less, another scan's steps by more.
ALIKE_SHARE = 0.05
# 1.4 % is what a region beside the middle of the chip made of the real scan of the tests.
BEAM_CENTER_ASSUMED = (
    "beam centre assumed at the middle of the chip: |Q|, and with it the strain, may be off by up to about 1.4 %;"
    " give geometry.beam_center_px"
)

Progress = Callable[[str, float], None]  # stage, share of the whole that is done (0 to 1)
Show = Callable[[Reconstruction], None]
FEWEST = 4  # frames, rows and columns; the peak is looked for in blocks of as many voxels a side
STAGES = {
    "preprocess": 0.0,
    "inpaint": 0.03,
    "denoise": 0.05,
    "tiers": 0.06,
    "phase": 0.1,
    "classify": 0.89,
    "orthogonalise": 0.9,
    "strain": 0.94,
    "quality": 0.97,
}  # where each begins
NETWORKS = ("inpaint", "denoise", "tiers", "classify")  # stages that only run where the settings switch them on


def run(
    volume: Volume,
    settings: Settings,
    *,
    repair: Repair | None = None,
    tiers: Tiers | None = None,
    classifier: Classifier | None = None,
    previous: Former | None = None,
    start: NDArray[np.complex64] | None = None,
    progress: Progress | None = None,
    show: Show | None = None,
) -> Reconstruction:
    """Invert one series. Not for streaming: it wants the whole volume.

    `repair` runs the networks that the settings switch on, `tiers` the tiers, `classifier` tells defects; without them
    none is run. `show` is given what a tier found, at once, where both are given; what is returned is the search's.
    `previous` is the result before: the new one takes the hand nearest to it, where both show the same field of view.
    `start`, likewise, is an object of the same scan, finer or coarser, from which every start sets out.
    Raises DataError or GeometryError in one line where there is nothing to invert, SourceError where a mask, dark or
    flat of the settings or a network cannot be read, SettingsError where its device is not there.
    """
    require_device(settings.phasing)
    stages = _Stages(progress)
    prepared, frame = _cropped(volume, settings, stages)
    crop = Crop(prepared)
    if repair is not None and settings.repair.inpaint:
        with stages.stage("inpaint", DataError):
            repair.inpaint(crop, settings)
    if repair is not None and settings.repair.denoise:
        with stages.stage("denoise", DataError):
            repair.denoise(crop, settings)
    work = _Work(volume=volume, settings=settings, crop=crop, frame=frame, previous=previous, classifier=classifier)
    config = phasing_config(settings.phasing)
    asked = settings.defects.classify and start is None
    lines = lines_sought(settings.phasing, frame.direct_nm, frame.q_lab) if asked else None
    if tiers is not None and show is not None and settings.tiers.direct and start is None:
        work.show_early(tiers(prepared, settings, config, lines), show, stages)
    with stages.stage("phase", DataError):
        searched = search(crop, config, settings.phasing, start, lines, stages.within("phase"))
    return work.reconstruction(Tier(SEARCH, searched), stages)


@dataclass(kw_only=True)
class _Work:
    """A series between its crop and its reconstructions."""

    volume: Volume
    settings: Settings
    crop: Crop
    frame: _Frame
    previous: Former | None
    classifier: Classifier | None = None
    last_shown: Former | None = None

    def show_early(self, early: Iterator[Tier], show: Show, stages: _Stages) -> None:
        """Show each tier; one that fails, for whatever reason, is noted, and the series goes on without it."""
        try:
            while True:
                with stages.stage("tiers", DataError):
                    tier = next(early, None)
                if tier is None:
                    return
                self._show(tier, show, stages)
        except (BraggloopError, RuntimeError) as error:  # no engine, no network, no device: the series has its result
            self.crop.notes.append(f"no further crystal before the search: {one_line(error)}")

    def _show(self, tier: Tier, show: Show, stages: _Stages) -> None:
        try:
            result = self.reconstruction(tier, _Stages(None, dict(stages.latencies_s)))
        except BraggloopError as error:
            self.crop.notes.append(f"no {tier.name} crystal: {one_line(error)}")
        else:
            self.last_shown = Former.of(result)
            show(result)

    def _classified(self, tier: Tier, phased: Phased, stages: _Stages) -> DefectReport | None:
        """What is wrong with the crystal that the search found; where that cannot be told a warning says so, and the
        result stands without. Earlier tiers are not to wait for it.
        """
        if self.classifier is None or not self.settings.defects.classify or tier.name != SEARCH:
            return None
        try:
            with stages.stage("classify", DataError):
                scattering = scattering_of(self.frame.direct_nm, self.frame.q_lab, self.settings)
                self.crop.warnings += filter(None, [odd_lattice(scattering)])
                return self.classifier(self.crop.prepared, phased, scattering, self.settings)
        except BraggloopError as error:
            self.crop.warnings.append(f"defects are not told: {one_line(error)}")
        except Exception as error:  # whatever is odd about a crystal, its series must have its result
            log.exception("defects of series %s", self.volume.series_id)
            self.crop.warnings.append(f"defects are not told: {type(error).__name__}: {one_line(error)}")
        return None

    def reconstruction(self, tier: Tier, stages: _Stages) -> Reconstruction:
        """From the crystal of a tier to all that is told of it."""
        phased, prepared, volume, frame = tier.phased, self.crop.prepared, self.volume, self.frame
        known = next(
            (f for f in (self.previous, self.last_shown) if f and _alike(f, frame, phased.object_.shape)), None
        )
        object_, support, notes = _take_hand(phased, known)
        defects = self._classified(tier, replace(phased, object_=object_, support=support), stages)
        with stages.stage("orthogonalise", GeometryError):
            object_lab, support_lab, voxel_nm = to_lab(object_, support, frame.direct_nm)
        with stages.stage("strain", DataError):
            displacement_nm, strain = displacement_and_strain(object_lab, support_lab, frame.q_lab, voxel_nm)
        with stages.stage("quality", DataError):
            found = transfer(phased, prepared, frame.reciprocal)
            figures = figures_of(
                tier,
                volume,
                self.crop,
                support=support,
                strain=strain[bulk_of(object_lab, support_lab)],
                found=found,
                direct_nm=frame.direct_nm,
                hand_chosen=known is not None and known is self.previous,
                defects=defects,
                wanted=self.settings.defects,
            )
        return Reconstruction(
            series_id=volume.series_id,
            series_unique_id=volume.series_unique_id,
            object_=object_,
            support=support,
            object_lab=object_lab,
            support_lab=support_lab,
            displacement_nm=displacement_nm,
            strain=strain,
            voxel_nm=voxel_nm,
            basis_nm=frame.direct_nm,
            q_lab=frame.q_lab,
            crystal_rotation=along_q(frame.q_lab),
            sample_rotation=sample_rotation(volume.geometry, prepared.peak_index[0]),
            prtf=found[0],
            prtf_q=found[1],
            figures=figures,
            crop=_crop_facts(prepared),
            recipe=_recipe_facts(phased, self.settings.phasing, self.crop),
            geometry=volume.geometry,
            accounting=volume.accounting,
            latencies_s=stages.latencies_s,
            notes=(*prepared.notes, *self.crop.notes, *notes),
            warnings=(*_warnings(figures, volume, prepared), *self.crop.warnings),
            repaired=self.crop.repaired,
            defects=defects,
        )


@dataclass
class _Stages:
    """Times each stage, tells how far the whole has come, and gives errors the kind that the caller knows."""

    progress: Progress | None
    latencies_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, kind: type[DataError] | type[GeometryError]) -> Iterator[None]:
        self._tell(name, STAGES[name])
        began_s = time.perf_counter()
        try:
            yield
        except BraggloopError:
            raise
        except ValueError as error:
            raise kind(f"{name}: {error}") from error
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise DataError(f"{name}: not enough memory ({error}); set phasing.size or phasing.starts lower") from error
        self.latencies_s[name] = self.latencies_s.get(name, 0.0) + time.perf_counter() - began_s

    def within(self, name: str) -> Callable[[float], None]:
        """Return what a long stage calls with its own share done."""
        names = list(STAGES)
        first, last = STAGES[name], STAGES[names[names.index(name) + 1]]
        return lambda share: self._tell(name, first * (1.0 - share) + last * share)

    def _tell(self, name: str, share: float) -> None:
        if self.progress is not None:
            self.progress(name, share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Former:
    """What the next result must know of this one: `object_`, `basis_nm` and `q_lab` of Reconstruction."""

    object_: NDArray[np.complex64]
    basis_nm: NDArray[np.float64]
    q_lab: NDArray[np.float64]

    @classmethod
    def of(cls, result: Reconstruction) -> Former:
        """Keep of a result what is needed; the rest may be large."""
        return cls(object_=result.object_, basis_nm=result.basis_nm, q_lab=result.q_lab)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """Where the crop lies: `reciprocal` (3, 3) 1/angstrom and `direct_nm` (3, 3) a voxel, `q_lab` (3,) 1/angstrom."""

    reciprocal: NDArray[np.float64]
    direct_nm: NDArray[np.float64]
    q_lab: NDArray[np.float64]


def _prepare(volume: Volume, detector: DetectorSettings, phasing: PhasingSettings) -> Preprocessed:
    if min(volume.counts.shape) < FEWEST:
        shape = " x ".join(map(str, volume.counts.shape))
        raise ValueError(f"{shape} frames, rows and columns, expected at least {FEWEST} of each")
    config, exposure = _known_of(volume, detector)
    config = replace(config, size=phasing.size, binning=phasing.binning)
    return preprocess(volume.counts, volume.mask, config, exposure)


def masked_volume(volume: Volume, detector: DetectorSettings) -> Masked:
    """Return the whole volume with all masked that `invert` would mask; raise ValueError where nothing is left."""
    return masked_series(volume.counts, volume.mask, *_known_of(volume, detector))


def _known_of(volume: Volume, detector: DetectorSettings) -> tuple[PreprocessConfig, Exposure]:
    """What settings and volume say about detector and beam, as `preprocess` takes it."""
    mask, dark, flat = detector_planes(detector)
    config = PreprocessConfig(
        user_mask=None if mask is None else mask.astype(bool),
        chips=chosen_layout(detector.chip_layout, volume.counts.shape[1:]),
        region=detector.region,
        saturation_counts=detector.saturation_counts,
    )
    exposure = Exposure(
        dark=volume.dark if dark is None else dark.astype(np.float32),
        flat=volume.flat if flat is None else flat.astype(np.float32),
        scale=volume.scale,
        saturated=volume.saturated,
    )
    return config, exposure


def crop_of(volume: Volume, settings: Settings) -> tuple[Preprocessed, NDArray[np.float64], NDArray[np.float64]]:
    """Return the crop that would be inverted, `basis_nm` and `q_lab` of Reconstruction; raise as `run` does."""
    prepared, frame = _cropped(volume, settings, _Stages(None))
    return prepared, frame.direct_nm, frame.q_lab


def _cropped(volume: Volume, settings: Settings, stages: _Stages) -> tuple[Preprocessed, _Frame]:
    with stages.stage("preprocess", DataError):
        prepared = _prepare(volume, settings.detector, settings.phasing)
    with stages.stage("preprocess", GeometryError):
        return prepared, _frame_of(volume, prepared)


def _frame_of(volume: Volume, prepared: Preprocessed) -> _Frame:
    z, y, x = volume.counts.shape
    reciprocal = reciprocal_basis(volume.geometry, prepared.peak_index, (z, y, x)) * prepared.crop.binning
    return _Frame(
        reciprocal=reciprocal,
        direct_nm=direct_basis(reciprocal, prepared.crop.shape),
        q_lab=momentum_transfer(volume.geometry, prepared.peak_index, (z, y, x)),
    )


def _alike(former: Former, frame: _Frame, shape: tuple[int, ...]) -> bool:
    """Whether Q and the field of view (columns: its edges in the laboratory, nm) are those of the result before."""
    pairs = [(former.q_lab, frame.q_lab)]
    pairs += zip((former.basis_nm * former.object_.shape).T, (frame.direct_nm * shape).T, strict=True)
    return all(float(np.linalg.norm(new - old)) <= ALIKE_SHARE * float(np.linalg.norm(old)) for old, new in pairs)


def _take_hand(
    phased: Phased, previous: Former | None
) -> tuple[NDArray[np.complex64], NDArray[np.bool_], tuple[str, ...]]:
    """Object and support in the hand nearest to the result before, which may have had a crop of another size.

    The field of view, 2 pi over the step of Q, does not change with the crop, only the number of voxels in it.
    """
    if previous is None:
        return phased.object_, phased.support, ()
    corner = torch.from_numpy(np.ascontiguousarray(np.fft.ifftshift(previous.object_)))
    alike = np.fft.fftshift(resample(corner, phased.object_.shape).numpy())
    object_, turned = nearest_hand(phased.object_, alike)
    if not turned:
        return object_, phased.support, ()
    support = np.abs(twin(phased.support.astype(np.complex64))) > 0.5
    return object_, support, ("turned to the hand nearest to the result before",)


def _crop_facts(prepared: Preprocessed) -> dict[str, Any]:
    crop = prepared.crop
    stop = tuple(o + n * b for o, n, b in zip(crop.offset, crop.shape, crop.binning, strict=True))
    return {
        "start": crop.offset,
        "stop": stop,
        "binning": crop.binning,
        "shape": crop.shape,
        "peak_index": tuple(float(index) for index in prepared.peak_index),
    }


def _recipe_facts(phased: Phased, settings: PhasingSettings, crop: Crop) -> dict[str, Any]:
    networks = {"networks": {name: dict(by) for name, by in crop.by.items()}} if crop.by else {}
    return networks | {
        "filled_voxels_used": crop.filled is not None,
        "recipe": phased.recipe,
        "asked": settings.recipe,
        "starts": settings.starts,
        "selected": phased.selected,
        "seed": settings.seed,
        "coherence": settings.coherence,
        "coherence_widths_voxels": phased.coherence_widths_voxels,
        "device": settings.device,
        "torch_threads": torch.get_num_threads(),
        "mode_weights": tuple(float(weight) for weight in phased.mode_weights),
        "starts_free_log_likelihood": tuple(start.free_log_likelihood for start in phased.starts),
    }


def _warnings(figures: Figures, volume: Volume, prepared: Preprocessed) -> tuple[str, ...]:
    frames = volume.accounting
    said = [doubt for doubt in (figures.doubt, figures.repair_doubt) if doubt]
    if not frames.complete:
        few = (
            f"incomplete: {frames.received} of {frames.sent} frames, {frames.missed} missed, {frames.rejected} rejected"
        )
        said.append("; ".join(filter(None, (few, str(volume.metadata.get("first_rejection", ""))))))
    if volume.geometry.beam_center_assumed:
        said.append(BEAM_CENTER_ASSUMED)
    return (*said, *prepared.warnings)
