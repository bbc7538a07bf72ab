"""The denoiser in use: counts in, expected counts out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

# The network halves each edge three times.
MULTIPLE = 8


def denoise(network: nn.Module, counts: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the expected counts float32 [z, y, x] behind `counts` of the same shape, wherever the network lies.

    `mask` True where the detector announces a good voxel; what it counts elsewhere is not looked at, and what is
    returned there is a guess. Raises ValueError for edges that the network cannot halve. For pictures and as a start:
    figures of merit use the measured counts.
    """
    if any(edge % MULTIPLE for edge in counts.shape):
        raise ValueError(f"counts have shape {counts.shape}, expected edges in multiples of {MULTIPLE}: crop or pad")
    seen = np.where(mask, counts, 0.0).astype(np.float32)
    device = next(network.parameters()).device
    volume = torch.from_numpy(np.stack([np.log1p(seen), mask.astype(np.float32)]))[None].to(device)
    with torch.inference_mode():
        logarithm = network(volume)[0, 0].float().clamp(min=0.0)
    expected: NDArray[np.float32] = logarithm.expm1().cpu().numpy()
    return expected
