"""Whether a reconstruction is of a crystal at all: does it foretell what it has not seen, and do its starts agree?

Both thresholds were found on crystals of the twin, 700 to 1e8 counts in all behind a detector with gaps, and on noise,
streaks and speckle without a crystal (docs/measurements.md). They cannot tell a smooth hump (air scattering, a powder
ring) from a crystal so small that its fringes lie outside the box: its support is then a few voxels wide.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from models.bcdi.quality import mean_deviance

# Noise explains 0.06 at most, by chance where a dozen counts are held out; crystals that were found, 0.24 to 1.
LEAST_EXPLAINED = 0.15
# Starts that have less than half in common draw different objects, and their mode is none of them. Crystals that were
# found (correlation with the truth from 0.86) have 0.66 or more, half-found ones (0.56 to 0.78) 0.14 to 0.28.
LEAST_AGREEMENT = 0.5
# A rocking curve that is brightest this near to its first or last frame has not been seen to fall again.
EDGE_FRAMES = 1


def explained(
    counts: NDArray[np.float32],
    held_out: NDArray[np.bool_],
    scale: NDArray[np.float32],
    background: NDArray[np.float32],
    deviance: float,
) -> float:
    """Return the share of the held-out voxels' deviance from a flat pattern that an object explains, 1 at most.

    `deviance` is the object's mean Poisson deviance over the voxels `held_out` bool [z, y, x]; `counts` float32 of the
    same shape, `scale` and `background` broadcast. A flat pattern, scale * constant + background, is all that can be
    said without a crystal: an object that foretells unseen counts no better has found none. The R squared
    of deviances, Cameron and Windmeijer, J. Econometrics 77 (1997) 329. NaN where no voxel was held out.
    """
    light = np.broadcast_to(scale, counts.shape)[held_out]
    dark = np.broadcast_to(background, counts.shape)[held_out]
    seen = counts[held_out]
    level = max(float((seen - dark).sum(dtype=np.float64) / max(light.sum(dtype=np.float64), 1.0)), 0.0)
    flat = mean_deviance(torch.from_numpy(seen), torch.from_numpy((level * light + dark).astype(np.float32)))
    return 1.0 - deviance / flat if flat != 0.0 else 0.0


def agreement(mode_weights: NDArray[np.float32]) -> float:
    """Return how alike the starts behind `mode_weights` [starts] are: 1 for one object, 0 for unrelated ones.

    The complex correlation of any two starts, were all pairs alike: the first weight is then (1 + (n - 1) c) / n. NaN
    for a single start, which agrees with nothing.
    """
    count = len(mode_weights)
    return float((count * mode_weights[0] - 1.0) / (count - 1)) if count > 1 else float("nan")


def peak_outside(rocking_curve: NDArray[np.float64], received: NDArray[np.bool_]) -> str:
    """Return why a scan cannot show the crystal whole, in one line; empty where it can.

    `rocking_curve` [rocking] counts of each frame; `received` bool [rocking] tells the frames that came.
    """
    came = np.flatnonzero(received)
    brightest = came[np.argmax(rocking_curve[came])]
    if came[0] + EDGE_FRAMES <= brightest <= came[-1] - EDGE_FRAMES:
        return ""
    return (
        f"the rocking curve is brightest at the edge of what came (frame {brightest} of {came[0]} to {came[-1]}):"
        " half of the pattern was not measured; scan across the peak"
    )


def doubt(explained_share: float, starts_agreement: float) -> str:
    """Return why a result must not be trusted, in one line; empty where nothing speaks against it."""
    if explained_share < LEAST_EXPLAINED:
        return (
            "no crystal can be told from noise: held-out counts are foretold hardly better than by a flat pattern"
            f" (explained {explained_share:.2f}, expected {LEAST_EXPLAINED:g} or more); find the peak or expose longer"
        )
    if starts_agreement < LEAST_AGREEMENT:
        return (
            f"the starts found different objects (agreement {starts_agreement:.2f},"
            f" expected {LEAST_AGREEMENT:g} or more); expose longer, give more starts"
        )
    return ""
