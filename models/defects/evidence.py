"""Which voxels of a pattern decided what it is called."""

from __future__ import annotations

from typing import NamedTuple

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


class Evidence(NamedTuple):
    """How much each voxel `spoke` for `label`, float32, largest magnitude 1. Positive: more counts there would make it
    likelier, negative: less likely.
    """

    label: DefectClass
    spoke: NDArray[np.float32]


def evidence(counts: NDArray[np.float32], network: nn.Module, scattering: Scattering | None = None) -> Evidence:
    """Return the class that a network takes a pattern for, and what of it spoke for that, of the shape of `counts`.

    `counts` float32 [z, y, x] or [y, x], gaps filled; `network` the classifier itself, float32. The gradient of the
    logarithm of the probability by the logarithm of the counts (Simonyan et al., ICLR workshop 2014), smoothed a
    little; 0 where nothing was counted. Lines and jumps of a crystal may decide otherwise.
    """
    given = torch.from_numpy(np.asarray(counts, np.float32)).requires_grad_()
    with torch.enable_grad():
        told = torch.log_softmax(network(view_of(given, scattering)), -1)[0]
        likeliest = int(told.argmax())
        (slope,) = torch.autograd.grad(told[likeliest], given)
    spoke = gaussian_filter((slope * given).detach().nan_to_num().numpy(), SMOOTH_VOXELS)
    spoke = np.asarray(spoke / max(float(np.abs(spoke).max()), np.finfo(np.float32).tiny), np.float32)
    return Evidence(CLASSES[likeliest], spoke)
