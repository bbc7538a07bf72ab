"""The virtual beamline: a strained crystal, a goniometer to obey and a detector with faults, as a source of frames."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray

from models.bcdi.geometry import HC_KEV_ANGSTROM, Geometry, direct_basis, reciprocal_basis
from models.simulate.crystals import random_wulff
from models.simulate.detector import Detector, Faults, expose, random_detectors
from models.simulate.diffraction import far_field, intensity, scaled_to_peak
from models.simulate.displacement import strained
from models.simulate.draws import seeded, uniform
from models.simulate.grid import Grid
from models.simulate.rocking import pattern_shift, sample_frame
from service.announcement import Announcement
from service.ports import EndOfStream
from service.records import Frame, Message, SeriesEnd, SeriesStart
from service.settings import TwinSettings

Positions = Callable[[], Mapping[str, float]]

# A gold crystal at 34-ID-C, {111} reflection at 9 keV: where the goniometer stands when the pattern is centred.
NOMINAL_POSITIONS: Mapping[str, float] = {
    "theta": 0.0,
    "chi": 90.0,
    "phi": -5.0,
    "delta": 32.174,
    "gamma": 12.6346,
}
ROCKING_AXIS = "theta"
ROCKING_STEP_DEG = 0.013
ENERGY_KEV = 9.0
DISTANCE_M = 0.5
PIXEL_SIZE_M = 55e-6
COUNT_TIME_S = 0.01  # exposure that `twin.peak_counts` is for, and of series that nobody announced
# A scan of fewer frames is the middle of one with so many, in which the crystal's fringes find room.
FEWEST_FRAMES = 32
# Samples a voxel, beyond the two of the Nyquist limit: phase retrieval needs the crystal to fill less than half of
# the field of view along each axis.
OVERSAMPLING = 2.6
# Span of the phase -Q.u inside the crystal, rad: visible strain, still without a phase wrap; its correlation length as
# a share of the crystal's radius.
PHASE_RANGE = (2.0, 4.0)
PHASE_LENGTH = 1.25
# The pattern is computed with this many samples a voxel, so that a moved motor needs no coarse interpolation.
FINER = 2
FAULTS = Faults(dead=(20, 20), hot=(12, 12), background_counts=(0.01, 0.01), streak_chance=0.0, saturation_chance=0.0)
# The largest count that both float32 and uint32 hold.
MOST_COUNTS = 2.0**32 - 256.0
# Gap lines: width in px and share of the detector's edge that they lie off its centre (never nearer than 4 px).
GAP_WIDTH = (3, 2)
GAP_OFFSET = (0.1, -0.14)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the twin knows and no reconstruction may: to be compared with its result.

    `object_` complex64 [z, y, x] in the detector-conjugate frame of the whole volume (of at least 32 frames), origin at
    index n // 2, where the diffraction pattern is centred too; `basis_nm` (3, 3) its laboratory steps along z, y, x;
    `geometry` that of this volume; `mask` bool [row, column], True where a pixel counts photons and nothing else.
    """

    object_: NDArray[np.complex64]
    basis_nm: NDArray[np.float64]
    geometry: Geometry
    mask: NDArray[np.bool_]


class TwinSource:
    """Rocking scans of one virtual crystal, as a FrameSource: start, frames, end, `series` times (None: endless).

    The rocking scan is centred on the rocking axis' position, `step_deg` from frame to frame: 0 where somebody else
    rocks that axis. Every other axis that `positions` names moves the pattern, off the detector if need be. Positions
    are read again at every frame. What is announced says how many frames the next series has, and how long each is
    exposed: counts grow with it. One thread may receive.
    """

    def __init__(
        self, settings: TwinSettings, positions: Positions = lambda: NOMINAL_POSITIONS, series: int | None = 1,
        step_deg: float = ROCKING_STEP_DEG,
    ) -> None:  # fmt: skip
        generator = seeded(settings.seed)
        self._step_deg = step_deg
        self._announced = Announcement()
        self._settings = settings
        self._positions = positions
        self._geometry = nominal_geometry(settings)
        self._object = _crystal(generator, self._geometry, _shape(settings))
        peak_counts = torch.tensor([float(settings.peak_counts)])
        self._intensity = scaled_to_peak(intensity(far_field(self._object, FINER)), peak_counts, FINER)[0].numpy()
        self._detector = _detector(generator, settings)
        self._messages = self._all_series(series)

    def receive(self, timeout_s: float) -> Message | None:
        """Return the next message at once; raise EndOfStream after the last one."""
        try:
            return next(self._messages)
        except StopIteration:
            raise EndOfStream("the twin has shown all its series") from None

    def announce(self, series: Announcement) -> None:
        """Take what is known of the next series; those after it are as the settings say."""
        self._announced = series

    def close(self) -> None:
        """End the stream; safe to call twice."""
        self._messages = iter(())

    def truth(self) -> Truth:
        """The crystal behind the frames, at the nominal positions."""
        return Truth(
            object_=self._object[0].numpy(),
            basis_nm=_object_basis(self._geometry, _shape(self._settings)),
            geometry=self._geometry,
            mask=self._detector.true_mask[0].numpy(),
        )

    def expected_frame(self, positions: Mapping[str, float]) -> NDArray[np.float32]:
        """Expected photons of one frame at `positions` (degrees), float32 [row, column], before the detector."""
        shape = _shape(self._settings)
        index = _centre(shape)
        shift = pattern_shift(self._geometry, positions, index, shape)
        return sample_frame(self._intensity, FINER, shift + np.array([index[0], 0, 0]), (shape[1], shape[2]))

    def _all_series(self, series: int | None) -> Iterator[Message]:
        for series_id in count(1) if series is None else range(1, series + 1):
            yield from self._one_series(series_id)

    def _one_series(self, series_id: int) -> Iterator[Message]:
        unique_id = f"twin-{uuid.uuid4().hex}"
        seed = np.random.SeedSequence([self._settings.seed, series_id]).generate_state(1)
        generator = seeded(int(seed[0]))
        announced, self._announced = self._announced, Announcement()
        frames = announced.number_of_images or self._settings.frames
        count_time_s = announced.count_time_s or COUNT_TIME_S
        yield self._start(series_id, unique_id, frames, count_time_s)
        for image_id in range(frames):
            here = self._here()
            here[ROCKING_AXIS] += self._step_deg * (image_id - frames // 2)
            yield Frame(
                series_id=series_id,
                series_unique_id=unique_id,
                image_id=image_id,
                data={"default": self._exposed(generator, here, count_time_s)},
                positions={ROCKING_AXIS: here[ROCKING_AXIS]},
                start_time_s=image_id * count_time_s,
                count_time_s=count_time_s,
            )
        yield SeriesEnd(series_id=series_id, series_unique_id=unique_id)

    def _exposed(
        self, generator: torch.Generator, positions: Mapping[str, float], count_time_s: float
    ) -> NDArray[np.uint32]:
        longer = count_time_s / COUNT_TIME_S
        detector = replace(self._detector, added_counts=longer * self._detector.added_counts)
        expected = torch.from_numpy(self.expected_frame(positions)) * longer
        counts = expose(generator, expected[None, None], detector)[0, 0]
        return np.asarray(counts.clamp(max=MOST_COUNTS).numpy(), dtype=np.uint32)

    def _here(self) -> dict[str, float]:
        return {**NOMINAL_POSITIONS, **self._positions()}

    def _start(self, series_id: int, unique_id: str, frames: int, count_time_s: float) -> SeriesStart:
        settings, geometry = self._settings, self._geometry
        row, column = geometry.beam_center_px or (0.0, 0.0)
        still = {axis: angle for axis, angle in self._here().items() if axis != ROCKING_AXIS}
        return SeriesStart(
            series_id=series_id,
            series_unique_id=unique_id,
            number_of_images=frames,
            channels=("default",),
            shape=(settings.rows, settings.columns),
            dtype="uint32",
            pixel_mask=self._detector.announced_mask[0].numpy(),
            user_data={
                "instrument": geometry.instrument,
                "rocking_axis": ROCKING_AXIS,
                "positions": still,
                "energy_kev": ENERGY_KEV,
                "distance_m": DISTANCE_M,
                "sample": f"virtual gold crystal {settings.seed}",
                "title": "twin",
            },
            header={
                "incident_energy": 1000.0 * ENERGY_KEV,
                "incident_wavelength": HC_KEV_ANGSTROM / ENERGY_KEV,
                "pixel_size_x": PIXEL_SIZE_M,
                "pixel_size_y": PIXEL_SIZE_M,
                "beam_center_x": column,
                "beam_center_y": row,
                "detector_translation": [0.0, 0.0, DISTANCE_M],
                "count_time": count_time_s,
                "frame_time": count_time_s,
            },
        )


def nominal_geometry(settings: TwinSettings) -> Geometry:
    """Geometry of the twin's volume, of 32 frames at least, when no axis has been moved."""
    frames = _shape(settings)[0]
    steps = np.arange(frames, dtype=np.float64) - frames // 2
    return Geometry(
        instrument="34-ID-C",
        energy_kev=ENERGY_KEV,
        distance_m=DISTANCE_M,
        pixel_size_m=(PIXEL_SIZE_M, PIXEL_SIZE_M),
        beam_center_px=(float(settings.rows // 2), float(settings.columns // 2)),
        angles_deg={axis: angle for axis, angle in NOMINAL_POSITIONS.items() if axis != ROCKING_AXIS},
        rocking_axis=ROCKING_AXIS,
        rocking_deg=NOMINAL_POSITIONS[ROCKING_AXIS] + ROCKING_STEP_DEG * steps,
    )


def _shape(settings: TwinSettings) -> tuple[int, int, int]:
    return max(settings.frames, FEWEST_FRAMES), settings.rows, settings.columns


def _centre(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    return shape[0] // 2, shape[1] // 2, shape[2] // 2


def _object_basis(geometry: Geometry, shape: tuple[int, int, int]) -> NDArray[np.float64]:
    return direct_basis(reciprocal_basis(geometry, _centre(shape), shape), shape)


def _crystal(generator: torch.Generator, geometry: Geometry, shape: tuple[int, int, int]) -> torch.Tensor:
    steps = np.linalg.norm(reciprocal_basis(geometry, _centre(shape), shape), axis=0)
    # A crystal of diameter d is sampled 2 pi / (d q) times a fringe, q in 1/angstrom.
    radius_nm = torch.tensor([float(np.pi / (OVERSAMPLING * steps.max())) / 10.0])
    grid = Grid(basis_nm=torch.from_numpy(_object_basis(geometry, shape)).float()[None], shape=shape)
    filling = random_wulff(generator, radius_nm).filling(grid)
    return strained(generator, filling, grid, PHASE_LENGTH * radius_nm, uniform(generator, *PHASE_RANGE, 1))


def _detector(generator: torch.Generator, settings: TwinSettings) -> Detector:
    shape = settings.rows, settings.columns
    rows, columns = (
        _gap(length, width, share) for length, width, share in zip(shape, GAP_WIDTH, GAP_OFFSET, strict=True)
    )
    gaps = torch.zeros((1, *shape), dtype=torch.bool)
    gaps[:, rows] = True
    gaps[:, :, columns] = True
    return random_detectors(generator, gaps, FAULTS, torch.tensor([float(settings.peak_counts)]))


def _gap(length: int, width: int, share: float) -> slice:
    offset = max(4, round(abs(share) * length))
    begin = length // 2 + offset if share > 0 else length // 2 - offset - width
    return slice(begin, begin + width)
