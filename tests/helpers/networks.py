"""A folder of networks as training leaves it, with random weights; marks of tests that need more than a CPU."""

from __future__ import annotations

import functools
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

from models.cards import Card, save_weights, write_card
from models.engine.tensorrt import TensorRTEngine
from models.engine.tensorrt_build import MODULES
from models.unet import UNet

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
INSTALLED = any(map(find_spec, MODULES))
INSTALL = "TensorRT is not installed: pip install 'braggloop[tensorrt]'"
builds_tensorrt = pytest.mark.skipif(not INSTALLED, reason=INSTALL)
WIDTHS, SHAPE = (8, 16), (1, 16, 16, 16)
CODE = f"""
from models.unet import UNet

def build():
    return UNet(widths={WIDTHS})
"""


def small_unet(seed: int = 0) -> nn.Module:
    """Return a U-Net of two levels for volumes of SHAPE, with random weights."""
    torch.manual_seed(seed)
    return UNet(widths=WIDTHS).eval()


@functools.cache
def tensorrt_refusal() -> str:
    """Return why TensorRT does not run here, in its own words, "" where it does: a GPU may be too old or too new."""
    if not INSTALLED:
        return INSTALL
    if not torch.cuda.is_available():
        return ""  # needs_cuda says so
    with tempfile.TemporaryDirectory() as folder:
        try:
            TensorRTEngine(small_unet(), SHAPE, cache=Path(folder)).run(torch.zeros(1, *SHAPE, device="cuda"))
        except ValueError as error:
            return str(error)
    return ""


needs_tensorrt = pytest.mark.skipif(bool(tensorrt_refusal()), reason=tensorrt_refusal())


def write_network(root: Path, name: str, module: nn.Module, code: str = CODE) -> Path:
    """Write a network, built by `code` (a small U-Net), as `name` into `root`; return its folder."""
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "network.py").write_text(code)
    write_card(folder, _card(name, module, save_weights(folder, module.state_dict())))
    return folder


def _card(name: str, module: nn.Module, sha256: str) -> Card:
    return Card(
        name=name,
        summary="Random weights: it does nothing well.",
        sha256=sha256,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        input_shape=SHAPE,
        output_shape=SHAPE,
        data={"family": "none"},
        seed=0,
        minutes=0.0,
        steps=0,
        device="cpu",
        torch=torch.__version__,
        metrics={"wulff": {"pearson": 0.5}},
    )
