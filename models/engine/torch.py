"""The engine that runs networks with torch itself, on the CPU or on CUDA."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.engine.graphs import CudaGraphs
from models.engine.layers import OneDNNConv3d, exchange, multiplies, zero_padded_conv3d
from models.engine.port import specs
from models.engine.precision import Precise, Wanted, chosen_precision

# Channels last is the order in which the convolutions of oneDNN and cuDNN run fastest; by the number of dimensions.
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


class TorchEngine:
    """`module` on the CPU or, as CUDA graphs, on a GPU. See models.engine.port.Engine."""

    def __init__(
        self,
        module: nn.Module,
        shape: tuple[int, ...],
        *,
        batch: tuple[int, int] = (1, 1),
        precision: Wanted = "auto",
        device: str = "cpu",
        threads: int = 0,
    ) -> None:
        """Take a copy of `module` for items of `shape`, `batch[0]` to `batch[1]` at once.

        `threads` of the CPU hold for the whole process, as torch's do; 0 leaves them. Raises ValueError where the
        device is not there or does not compute in `precision`.
        """
        self.device = torch.device(device)
        self._precision = chosen_precision(precision, self.device)
        self.takes, self.gives = specs(module, shape, batch)
        self._network = self._ready(module)
        if threads:
            torch.set_num_threads(threads)
        self._work = CudaGraphs(self._compute_cuda) if self.device.type == "cuda" else self._compute

    def run(self, volumes: Tensor) -> Tensor:
        """See models.engine.port.Engine."""
        self.takes.require(volumes, self.device)
        with torch.inference_mode():
            return self._work(volumes)

    def describe(self) -> Mapping[str, str]:
        """See models.engine.port.Engine."""
        cuda = self.device.type == "cuda"
        where = {"gpu": torch.cuda.get_device_name(self.device)} if cuda else {"threads": str(torch.get_num_threads())}
        known = {"backend": "torch", "device": self.device.type, "precision": self._precision}
        return known | where | {"torch": torch.__version__, "takes": str(self.takes), "gives": str(self.gives)}

    def _ready(self, module: nn.Module) -> nn.Module:
        network = Precise(module, self._precision).to(self.device)
        for layer in filter(multiplies, network.modules()):
            layer.to(network.dtype)  # here once, or autocast does it in each call
        lay_out(network)
        if self.device.type == "cpu" and self._precision == "fp32":
            exchange(network, zero_padded_conv3d, OneDNNConv3d)
        return network

    def _compute(self, volumes: Tensor) -> Tensor:
        given: Tensor = self._network(channels_last(volumes)).contiguous()
        return given

    def _compute_cuda(self, volumes: Tensor) -> Tensor:
        # The fastest of the kernels that give the same bits each time, and float32 that is not TF32.
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=True, allow_tf32=False):
            return self._compute(volumes)


def channels_last(tensor: Tensor) -> Tensor:
    """Return `tensor` with its channels innermost in memory, if it is a batch of images, volumes or their kernels."""
    order = CHANNELS_LAST.get(tensor.dim())
    return tensor if order is None else tensor.contiguous(memory_format=order)


def lay_out(network: nn.Module) -> None:
    """Put the weights of a network into the order that its inputs have."""
    for parameter in network.parameters():
        parameter.data = channels_last(parameter.data)
