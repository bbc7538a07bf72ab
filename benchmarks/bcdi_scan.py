"""A recorded scan as the benchmarks invert it: through the worker's own reader, assembler and preprocessing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.bcdi.phasing import Phased, PhasingConfig, phase_retrieval
from models.bcdi.preprocess import Exposure, PreprocessConfig, preprocess
from service.commands.reconstruct import read_volume
from service.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Cube:
    """A cube around the Bragg peak: what `phase_retrieval` takes, arrays [z, y, x]."""

    counts: NDArray[np.float32]
    mask: NDArray[np.bool_]
    scale: NDArray[np.float32]
    background: NDArray[np.float32]

    @property
    def amplitude(self) -> NDArray[np.float32]:
        """Square root of the intensity, flat field and monitor divided out, 0 where masked.

        What a peer without mask and scale factors is given: its own preprocessing divides by the white field too.
        """
        intensity = np.maximum(self.counts - self.background, 0.0) / self.scale
        return np.sqrt(np.where(self.mask, intensity, 0.0)).astype(np.float32)

    def inverted(self, start: NDArray[np.complex64] | None = None, **config: Any) -> Phased:
        return phase_retrieval(
            self.counts, self.mask, PhasingConfig(**config), scale=self.scale, background=self.background, start=start
        )


def box_around_peak(path: Path, size: int | tuple[int, int, int]) -> Cube:
    """Return the cube of `size` voxels an edge, or the box of three edges."""
    volume = read_volume(path, "", Settings(), lambda share: None)
    config = PreprocessConfig(size=size)
    exposure = Exposure(dark=volume.dark, flat=volume.flat, scale=volume.scale)
    found = preprocess(volume.counts, volume.mask, config, exposure)
    return Cube(counts=found.counts, mask=found.mask, scale=found.scale, background=found.background)
