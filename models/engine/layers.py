"""Layers that an engine runs in another way than torch would."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class OneDNNConv3d(nn.Module):
    """A float32 convolution on the CPU by oneDNN, always.

    torch (to 2.13 at least) hands a single small volume to a slower kernel of its own, with which a U-Net takes four
    times as long on 32^3 voxels, and 1.2 times on 64^3.
    """

    def __init__(self, layer: nn.Conv3d) -> None:
        super().__init__()
        assert not isinstance(layer.padding, str)  # zero_padded_conv3d has asked
        self.layer, self.padding = layer, layer.padding

    def forward(self, volumes: Tensor) -> Tensor:
        """See torch.nn.Conv3d."""
        at = self.layer
        return torch.mkldnn_convolution(volumes, at.weight, at.bias, self.padding, at.stride, at.dilation, at.groups)


class Float32(nn.Module):
    """A layer that stays float32 inside a network in a lower precision."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, volumes: Tensor) -> Tensor:
        """See the layer."""
        with torch.autocast(volumes.device.type, enabled=False):
            given: Tensor = self.layer(volumes.float())
        return given


def exchange(network: nn.Module, which: Callable[[nn.Module], bool], wrap: Callable[..., nn.Module]) -> None:
    """Put `wrap(layer)` in the place of each layer inside `network` that is one of `which`."""
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if which(layer):
                setattr(parent, name, wrap(layer))


def zero_padded_conv3d(layer: nn.Module) -> bool:
    """Whether OneDNNConv3d is here and can take the place of `layer`."""
    here = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    known = isinstance(layer, nn.Conv3d) and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return bool(here and known)


def multiplies(layer: nn.Module) -> bool:
    """Whether `layer` is one whose weights autocast takes in the lower precision."""
    return isinstance(layer, nn.modules.conv._ConvNd | nn.Linear)


def transposed(layer: nn.Module) -> bool:
    """Whether `layer` is a transposed convolution."""
    return isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
