"""Classical denoising of Poisson counts: Anscombe's transform, a filter of scikit-image, and the exact unbiased
inverse.

Each filter has the parameter that is best for the volume, told from the truth: a real one does worse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle, denoise_wavelet

Volume = NDArray[np.float32]
Filter = Callable[[Volume], Volume]


def anscombe(counts: Volume) -> Volume:
    """Return 2 sqrt(n + 3/8), whose noise has a variance of about 1 (Anscombe, Biometrika 35 (1948) 246)."""
    return np.asarray(2.0 * np.sqrt(np.maximum(counts, 0.0) + 0.375), dtype=np.float32)


def inverse_anscombe(values: Volume) -> Volume:
    """Return the mean count behind a mean transformed value, the closed form of Makitalo and Foi (IEEE TIP 20 (2011)
    2697).
    """
    d = np.maximum(values, 2.0 * np.sqrt(0.375)).astype(np.float64)
    root = np.sqrt(1.5)
    mean = d**2 / 4.0 + root / (4.0 * d) - 11.0 / (8.0 * d**2) + 5.0 * root / (8.0 * d**3) - 0.125
    return np.maximum(mean, 0.0).astype(np.float32)


def _wavelets(values: Volume, sigma: float) -> Volume:
    return np.asarray(denoise_wavelet(values, sigma=sigma, wavelet="db2", mode="soft", method="BayesShrink"))


def _means(values: Volume, strength: float) -> Volume:
    found = denoise_nl_means(values, patch_size=3, patch_distance=4, h=strength, sigma=1.0, fast_mode=True)
    return np.asarray(found)


def _variation(values: Volume, weight: float) -> Volume:
    return np.asarray(denoise_tv_chambolle(values, weight=weight, max_num_iter=60))


FILTERS: Mapping[str, Sequence[Filter]] = {
    "Gaussian": [partial(gaussian_filter, sigma=width) for width in (0.4, 0.6, 0.8, 1.0, 1.4)],
    "total variation": [partial(_variation, weight=weight) for weight in (0.3, 0.6, 1.0, 1.6)],
    "wavelets": [partial(_wavelets, sigma=sigma) for sigma in (0.7, 1.0, 1.4)],
    "non-local means": [partial(_means, strength=strength) for strength in (0.6, 1.0)],
}


def best_filtered(name: str, counts: Volume, truth: Volume) -> Volume:
    """Return what the filter of this name makes of counts with the parameter that comes nearest to the truth."""
    transformed = anscombe(counts)
    found = [inverse_anscombe(one(transformed)) for one in FILTERS[name]]
    errors = [float(np.mean((np.sqrt(one) - np.sqrt(truth)) ** 2)) for one in found]
    return found[int(np.argmin(errors))]
