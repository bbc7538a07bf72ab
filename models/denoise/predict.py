"""The denoiser in use: counts in, expected counts out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.denoise.network import MULTIPLE, decoded, encoded


def denoise(network: nn.Module, counts: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the expected counts float32 [z, y, x] behind `counts` of the same shape, wherever the network lies.

    `mask` True where the detector announces a good voxel; what it counts elsewhere is not looked at, and what is
    returned there is a guess. Raises ValueError for edges that the network cannot halve. For pictures and as a start:
    figures of merit use the measured counts.
    """
    if any(edge % MULTIPLE for edge in counts.shape):
        raise ValueError(f"counts have shape {counts.shape}, expected edges in multiples of {MULTIPLE}: crop or pad")
    device = next(network.parameters()).device
    seen, announced = torch.from_numpy(np.where(mask, counts, 0.0).astype(np.float32)), torch.from_numpy(mask)
    with torch.inference_mode():
        expected = decoded(network(encoded(seen[None], announced[None]).to(device)))
    return np.asarray(expected[0].cpu().numpy())
