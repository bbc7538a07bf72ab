"""Before and after, on a real scan: python -m benchmarks.restore.picture SCAN PNG"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from benchmarks.bcdi_scan import box_around_peak
from benchmarks.restore.gaps import gap
from benchmarks.restore.noise import thinned
from models.denoise.predict import denoise
from models.inpaint.predict import inpaint

SIZE, WIDTH, SHARE = 64, 6, 0.01


def main(arguments: Sequence[str]) -> int:
    scan, path = map(Path, arguments)
    counts = box_around_peak(scan, SIZE).counts
    peak = np.unravel_index(counts.argmax(), counts.shape)
    mask = gap(counts.shape, peak, WIDTH, "cross", np.random.default_rng(3))
    filled = inpaint(np.where(mask, counts, np.float32(0.0)), mask)
    few = thinned(counts, SHARE).counts
    panels = {
        f"a gap of {WIDTH} px": np.where(mask, counts, np.nan),
        "filled": filled.volume,
        "standard deviation": np.where(filled.filled, filled.std, np.nan),
        "as counted": counts,
        f"{SHARE:.0%} of the counts": few,
        "denoised": denoise(few).frames,
    }
    figure = Figure(figsize=(10.5, 7.4), layout="constrained")
    for axes, (title, volume) in zip(figure.subplots(2, 3).flat, panels.items(), strict=True):
        low, shown = (0.02, SHARE) if volume is panels["denoised"] or volume is few else (0.3, 1.0)
        limits = LogNorm(low, shown * float(counts.max()), clip=True)
        image = axes.imshow(volume[peak[0]], norm=limits, cmap="viridis", interpolation="nearest")
        figure.colorbar(image, ax=axes, label="counts")
        axes.set(title=title, xticks=[], yticks=[])
    figure.savefig(path, dpi=90)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
