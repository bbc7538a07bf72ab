"""In which precision a task is trained: what the device computes in, less what it computes wrongly."""

from __future__ import annotations

import torch

from models.engine.precision import Precision, Wanted, chosen_precision
from models.training.task import Task

# oneDNN as torch 2.13 has it writes garbage into the gradient of the weights of a 3x3x3 convolution in bf16 where the
# volume has 2x2x2, 2x2x4, 2x4x2 or 2x4x4 voxels. Volumes of 3^3 and more are right.
SMALLEST_IN_BF16 = 3


def trained_in(task: Task, wanted: Wanted, device: torch.device) -> tuple[Precision, str]:
    """Return the precision of training on `device`, and why it is not the one to expect ("" where it is).

    Raises ValueError where the device is not there, does not compute in `wanted`, or would compute it wrongly.
    """
    precision, coarsest = chosen_precision(wanted, device), task.edge // task.multiple
    if precision != "bf16" or device.type != "cpu" or coarsest >= SMALLEST_IN_BF16:
        return precision, ""
    reason = f"on a CPU the gradients of {coarsest}^3 voxels, the coarsest level of {task.edge}^3, are wrong in bf16"
    if wanted == "bf16":
        raise ValueError(f"{reason}: choose fp32, or an edge of at least {SMALLEST_IN_BF16 * task.multiple}")
    return "fp32", reason
