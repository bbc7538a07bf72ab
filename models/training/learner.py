"""A network that learns: one step after another, with the weights averaged over the last of them.

The only module that needs Lightning (extra `train`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.fabric import Fabric, plugins
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from models.engine.precision import Precision
from models.engine.torch import channels_last, lay_out
from models.training.task import Examples, Task

# Gradients longer than this are shortened to it: one odd batch must not throw the weights far.
LONGEST_GRADIENT = 1.0
# Steps that the averaged weights remember at most; while fewer were made, a tenth of them.
MEMORY_STEPS = 1000
WEIGHT_DECAY = 1e-4


class Learner:
    """The network of a task on a device, its optimizer and its averaged weights; all from `seed`."""

    def __init__(self, task: Task, seed: int, device: str, precision: Precision) -> None:
        torch.manual_seed(seed)
        self._task = task
        self._fabric = Fabric(accelerator=device, devices=1, plugins=[_arithmetic(device, precision)])
        network = task.build()
        lay_out(network)
        optimizer = torch.optim.AdamW(network.parameters(), lr=task.learning_rate, weight_decay=WEIGHT_DECAY)
        self._network, self._optimizer = self._fabric.setup(network, optimizer)
        self._averaged = AveragedModel(network, multi_avg_fn=_approach, use_buffers=True).eval()

    def start(self, weights: Mapping[str, Tensor]) -> None:
        """Begin with the weights of a trained network; raise ValueError where they are another network's."""
        try:
            self._network.module.load_state_dict(dict(weights))
        except RuntimeError as error:
            raise ValueError(
                f"the weights to begin with are another network's: {str(error).split(chr(10))[1].strip()}"
            ) from error
        self._averaged.module.load_state_dict(dict(weights))

    def learn(self, examples: Examples, learning_rate_factor: float) -> tuple[float, float]:
        """Make one step; return the loss and the length of its gradient.

        Raises FloatingPointError, the weights as they were, where either is not a number.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = self._task.learning_rate * learning_rate_factor
        self._optimizer.zero_grad()
        loss = self._task.loss(self._network(channels_last(examples.inputs)), examples)
        self._fabric.backward(loss)
        length = self._fabric.clip_gradients(
            self._network, self._optimizer, max_norm=LONGEST_GRADIENT, error_if_nonfinite=False
        )
        assert length is not None  # it is where `max_norm` is given
        found = loss.item(), length.item()
        if not all(map(math.isfinite, found)):
            raise FloatingPointError(f"loss {found[0]}, length of its gradient {found[1]}")
        self._optimizer.step()
        self._averaged.update_parameters(self._network.module)
        return found

    @torch.no_grad()
    def predict(self, inputs: Tensor) -> Tensor:
        """Return what the averaged weights make of `inputs` (batch, channels, z, y, x), on the device of the run."""
        inputs = channels_last(inputs.to(self._fabric.device))
        with self._fabric.autocast():
            outputs: Tensor = self._averaged(inputs)
        return outputs.float()

    def trained(self) -> nn.Module:
        """Return a new network with the averaged weights, on the CPU."""
        network = self._task.build()
        network.load_state_dict({name: tensor.cpu() for name, tensor in self._averaged.module.state_dict().items()})
        return network.eval()

    def state(self) -> dict[str, Any]:
        """Return all of it as tensors and numbers."""
        cuda = [torch.cuda.get_rng_state()] if self._fabric.device.type == "cuda" else []
        return {
            "network": self._network.module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "averaged": self._averaged.state_dict(),
            "random": [torch.get_rng_state(), *cuda],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._network.module.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._averaged.load_state_dict(state["averaged"])
        here, *cuda = state["random"]
        torch.set_rng_state(here)
        for there in cuda:
            torch.cuda.set_rng_state(there)


class _Autocast(plugins.MixedPrecision):
    """bf16 where autocast allows it. Fabric's own rounds the inputs too, and a count to eight bits is a wrong count."""

    def convert_input(self, data: Any) -> Any:
        return data


def _arithmetic(device: str, precision: Precision) -> plugins.Precision:
    return _Autocast("bf16-mixed", device) if precision == "bf16" else plugins.Precision()


def _approach(averaged: Sequence[Tensor], current: Sequence[Tensor], steps: Tensor | int) -> None:
    """Exponential moving average whose memory grows with the run, so that short ones forget their beginning too."""
    share = max(1.0 / MEMORY_STEPS, 10.0 / (10.0 + int(steps)))
    for mean, now in zip(averaged, current, strict=True):
        mean.lerp_(now, share) if mean.is_floating_point() else mean.copy_(now)
