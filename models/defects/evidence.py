"""Which voxels of a pattern decided what it is called."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import nn

from models.defects.classes import CLASSES
from models.defects.predict import view_of
from models.defects.report import DefectClass, Scattering

# Single voxels say little; their neighbours say it with them (sigma).
SMOOTH_VOXELS = 1.0


def evidence(
    counts: NDArray[np.float32], label: DefectClass, network: nn.Module, scattering: Scattering | None = None
) -> NDArray[np.float32]:
    """Return how much each voxel spoke for a class, float32 of the shape of `counts`, largest magnitude 1.

    `counts` float32 [z, y, x] or [y, x], gaps filled; `network` the classifier itself, float32. Positive: more counts
    there would make `label` likelier, negative: less likely. The gradient of the logarithm of its probability by the
    logarithm of the counts (Simonyan et al., ICLR workshop 2014), smoothed a little; 0 where nothing was counted.
    """
    given = torch.from_numpy(np.asarray(counts, np.float32)).requires_grad_()
    with torch.enable_grad():
        told = torch.log_softmax(network(view_of(given, scattering)), -1)[0, CLASSES.index(label)]
        (slope,) = torch.autograd.grad(told, given)
    spoke = gaussian_filter((slope * given).detach().nan_to_num().numpy(), SMOOTH_VOXELS)
    return np.asarray(spoke / max(float(np.abs(spoke).max()), np.finfo(np.float32).tiny), np.float32)
