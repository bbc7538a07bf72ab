"""What passes between stages: frozen records, no behaviour beyond what they can derive from themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.bcdi.geometry import Geometry
from models.defects.report import DefectReport


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesStart:
    """Opening of a series (stream-v2 `start`).

    `shape` is (rows, columns); `dtype` the pixel type; `number_of_images` is what the sender announces, None if it
    does not know. `pixel_mask` is bool [row, column], True where the pixel is good, None if the sender has none.
    `flatfield` and `dark` are float32 [row, column] (relative efficiency; counts a frame), None if the sender has none.
    `user_data` holds positions that stay fixed, geometry and detector facts (docs/reference/stream.md):
    `instrument`, `rocking_axis`, `positions` {axis: degrees}, `energy_kev`, `distance_m`, `roi` [row start, row stop,
    column start, column stop], `sample`, `title`. `header` keeps every other field of the message as it came
    (`incident_energy` in eV, `pixel_size_x` in m, `beam_center_x` in px, `goniometer`, ...).
    """

    series_id: int
    series_unique_id: str
    number_of_images: int | None
    channels: tuple[str, ...]
    shape: tuple[int, int]
    dtype: str
    pixel_mask: NDArray[np.bool_] | None = None
    flatfield: NDArray[np.float32] | None = None
    dark: NDArray[np.float32] | None = None
    user_data: Mapping[str, Any] = field(default_factory=dict)
    header: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One detector image: `data` maps channel -> counts [row, column], uint8/16/32 (or int32 from older detectors).

    `positions` maps axis name -> degrees (or metres for translations), `monitor` and `transmission` are scale factors
    of the exposure (1.0 where nothing is known).
    """

    series_id: int
    series_unique_id: str
    image_id: int
    data: Mapping[str, NDArray[Any]]
    positions: Mapping[str, float] = field(default_factory=dict)
    monitor: float = 1.0
    transmission: float = 1.0
    start_time_s: float = 0.0
    count_time_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesEnd:
    """Close of a series (stream-v2 `end`); `aborted` where its sender gave it up."""

    series_id: int
    series_unique_id: str
    aborted: bool = False


Message = SeriesStart | Frame | SeriesEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounting:
    """Frames of one series: unique received + missed + rejected = sent; duplicates are counted apart."""

    sent: int
    received: int
    missed: int
    rejected: int
    duplicates: int

    @property
    def complete(self) -> bool:
        return self.received == self.sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """An assembled series, in scan order.

    `counts` float32 [rocking, row, column]; `mask` bool of the same shape, True where good (missing frames are masked);
    `scale` float32 [rocking], or of the counts' shape (summed scans), monitor times transmission of each frame relative
    to their mean: a factor of the model, never applied to the counts. `dark` and `flat` float32 [row, column], None
    where unknown. `received` bool [rocking] and `working` bool [row, column] (neither gap nor marked by the sender),
    None where unknown, tell saturation from no data.
    `geometry` carries the rocking angles; its `beam_center_px` counts from this volume's row 0, column 0.
    `last_frame_at`: clock time at which the last frame came, s since 1970; None where the frames did not come live.
    `latencies_s` maps stage -> seconds that it took so far.
    """

    series_id: int
    series_unique_id: str
    counts: NDArray[np.float32]
    mask: NDArray[np.bool_]
    scale: NDArray[np.float32]
    geometry: Geometry
    accounting: Accounting
    dark: NDArray[np.float32] | None = None
    flat: NDArray[np.float32] | None = None
    received: NDArray[np.bool_] | None = None
    working: NDArray[np.bool_] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    last_frame_at: float | None = None
    latencies_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def rocking_curve(self) -> NDArray[np.float64]:
        """Good counts of each frame, float64 [rocking]."""
        return np.asarray(np.einsum("zyx,zyx->z", self.counts, self.mask, dtype=np.float64))

    @property
    def saturated(self) -> NDArray[np.bool_] | None:
        """True [rocking, row, column] where a working pixel is masked in a frame that came; None where unknown."""
        if self.received is None or self.working is None:
            return None
        saturated = ~self.mask
        saturated &= self.received[:, None, None]
        saturated &= self.working
        return saturated


class SeriesStatus(StrEnum):
    """How a series ended."""

    DONE = "done"
    INCOMPLETE = "incomplete"  # reconstructed from what arrived
    FAILED = "failed"  # no object; `error` says why
    ABORTED = "aborted"
    PRELIMINARY = "preliminary"  # not ended: a better object of the same series will follow


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures of merit, always against the measured counts and the detector's mask.

    chi: sum((|F| - D)^2) / sum(D^2), D the square root of the counts, no square root (cohere's definition).
    r_factor: sum(| |F| - D |) / sum(D). chi2: mean of (model - counts)^2 / model, 1 for Poisson noise alone.
    free_log_likelihood: mean Poisson deviance over held-out voxels.
    resolution_nm: where the PRTF falls below 1/e. strain_*: over the bulk, without surface voxels (half air).
    hand_chosen: the hand was taken nearest to the last result. explained: share of what a flat pattern leaves of the
    held-out counts, 1 at most, about 0 for noise. agreement: correlation of the kept starts, 1 for one object. Both NaN
    where unknown. doubt: why the result must not be trusted, empty where nothing speaks against it.
    Of the crop: filled_voxels and filled_counts that a network put into gaps, denoised_counts all counts as a network
    expects them without noise (0 where none was asked), repair_doubt why neither must be trusted.
    defect_class of the crystal, with defect_probability, and defect_count of them, at least; empty and 0 where
    nobody asked or it cannot be told. hold: it is one at which the settings ask whoever measures to pause.
    tier: how the object was found: direct (a network), adaptive (its latents adapted to the counts), refined (phase
    retrieval from there), search (phase retrieval from random starts).
    """

    chi: float
    r_factor: float
    chi2: float
    free_log_likelihood: float
    resolution_nm: float
    resolution_method: str
    support_voxels: int
    support_volume_nm3: float
    strain_rms: float
    strain_min: float
    strain_max: float
    flux_counts: float
    peak_counts: float
    hand_chosen: bool
    explained: float
    agreement: float
    doubt: str
    tier: str = "search"
    filled_voxels: int = 0
    filled_counts: float = 0.0
    denoised_counts: float = 0.0
    repair_doubt: str = ""
    defect_class: str = ""
    defect_probability: float = 0.0
    defect_count: int = 0
    hold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What networks made of the counts of a crop, float32 [rocking, row, column] each, None where none was asked.

    `measured`: as they came, NaN where the detector did not count; None where read from a file. `filled`: gaps filled;
    `filled_std` standard deviations of the filled counts, 0 elsewhere. `denoised`: expected counts, `denoised_std` how
    far off they may be. Figures of merit use the measured counts.
    """

    measured: NDArray[np.float32] | None = None
    filled: NDArray[np.float32] | None = None
    filled_std: NDArray[np.float32] | None = None
    denoised: NDArray[np.float32] | None = None
    denoised_std: NDArray[np.float32] | None = None

    @property
    def shown(self) -> NDArray[np.float32] | None:
        """The counts with all that was done to them: denoised, in gaps as filled; NaN where nobody knows, as far as
        `measured` tells.
        """
        done = self.filled if self.denoised is None else self.denoised
        if done is None:
            return None
        gaps = np.zeros(done.shape, bool) if self.filled_std is None else self.filled_std > 0
        done = done if self.filled is None else np.where(gaps, self.filled, done)
        return done if self.measured is None else np.where(np.isnan(self.measured) & ~gaps, np.float32(np.nan), done)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconstruction:
    """One inverted series.

    `object_` complex64 [z, y, x] in the detector-conjugate frame of the crop; `support` bool of the same shape.
    `object_lab` complex64 [z, y, x] on an orthogonal grid of edge `voxel_nm` in the laboratory frame; `support_lab`,
    `displacement_nm` (along Q) and `strain` (heterogeneous, along Q) float32 on the same grid, NaN outside.
    `basis_nm` float64 (3, 3): columns are the laboratory steps of one voxel along z, y, x of `object_`.
    `q_lab` float64 (3,): Q at the peak, 1/angstrom with the 2 pi, laboratory frame (NeXus: x, y, z).
    Rotations float64 (3, 3) of components x, y, z (docs/reference/frames.md): `crystal_rotation` from the laboratory to
    the crystal frame along Q, `sample_rotation` from the sample at zero angles to the laboratory at the peak.
    `latencies_s` maps stage -> seconds. `notes` say what was done, `warnings` what somebody should look at, the doubt
    first. `repaired`: what networks made of the crop, `defects`: what is wrong with the crystal, None where nobody
    asked; read from a file a result has none.
    """

    series_id: int
    series_unique_id: str
    object_: NDArray[np.complex64]
    support: NDArray[np.bool_]
    object_lab: NDArray[np.complex64]
    support_lab: NDArray[np.bool_]
    displacement_nm: NDArray[np.float32]
    strain: NDArray[np.float32]
    voxel_nm: float
    basis_nm: NDArray[np.float64]
    q_lab: NDArray[np.float64]
    crystal_rotation: NDArray[np.float64]
    sample_rotation: NDArray[np.float64]
    prtf: NDArray[np.float32]
    prtf_q: NDArray[np.float32]
    figures: Figures
    crop: Mapping[str, Any]
    recipe: Mapping[str, Any]
    geometry: Geometry
    accounting: Accounting
    latencies_s: Mapping[str, float]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    repaired: Repaired | None = None
    defects: DefectReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultSummary:
    """What the worker publishes about one series; the file at `path` is the record.

    A preliminary one has no file, is not kept, and has the sequence of the result that will follow.
    `sequence` counts from 1, grows by one with every summary and survives restarts, as long as the worker keeps its
    `journal` (its random name: another one means that the count began anew). `again`: the series was inverted again,
    its frames are counted already. `slices` maps 'amplitude', 'phase', 'strain' -> float32 [row, column], the central
    slice of the laboratory grid, whose voxels are `voxel_nm` wide; 'measured' counts of the crop's brightest frame, and
    'repaired' ones where networks ran.
    `latency_s`: from the last frame to this summary, None where there is no object or the series was inverted again.
    `latencies_s` maps stage -> seconds; all but 'assemble', which goes on while frames come, lie between the two.
    `picture` is drawn after the summary was published.
    """

    sequence: int
    series_id: int
    series_unique_id: str
    status: SeriesStatus
    accounting: Accounting
    figures: Figures | None = None
    path: Path | None = None
    picture: Path | None = None
    slices: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    voxel_nm: float | None = None
    latency_s: float | None = None
    latencies_s: Mapping[str, float] = field(default_factory=dict)
    finished_at: float = 0.0
    error: str = ""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    journal: str = ""
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """Whether there is beam, and the shutter open."""

    beam: bool = True
    shutter: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """One measurement of what an alignment drives up.

    `value`, larger is better; `taken_s`, when it began, on the clock of who measured; `beam` and `shutter`: whether
    there was beam, and the shutter open; `left_out`: how many of its readings were too far from the others.
    """

    value: float
    taken_s: float
    beam: bool = True
    shutter: bool = True
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A value of an alignment and where the axes stood, each in its own unit."""

    value: float
    positions: Mapping[str, float]
