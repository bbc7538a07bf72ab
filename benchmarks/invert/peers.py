"""Networks of the literature that tell a crystal voxel by voxel, rebuilt from what their papers say, trained by our
harness on our simulation, on patterns in units of their crystals as our encoder takes them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool3d, pad

from benchmarks.invert.quality import Case, Object, Way
from models.cards import load_weights
from models.inpaint.predict import inpaint
from models.invert.misfit import fit, height
from models.invert.train import TASK, object_loss, object_metrics, wanted_objects
from models.invert.view import CHANNELS, EDGE, LOG_UNIT, to_crystal, to_voxels, view
from models.simulate.diffraction import AXES, far_field
from models.training.task import Examples, Task
from models.unet import UNet, conv_block

Loss = Callable[[Tensor, Examples], Tensor]
# The crystal is told in the central half of the field, as AutoPhaseNN does.
MARGIN = EDGE // 4
WIDTHS = (16, 32, 64)
# Amplitudes below this share are no crystal.
LEAST = 0.1
RECIPROCAL_WIDTHS = (16, 32, 64, 128)


class AutoPhase(nn.Module):
    """After AutoPhaseNN (Yao et al., npj Comput. Mater. 8 (2022) 124): one encoder of the pattern, two decoders, of
    amplitude (a sigmoid) and of phase (pi tanh), in the central half of the field.

    Views (batch, CHANNELS, EDGE, EDGE, EDGE) -> real and imaginary part (batch, 2, EDGE, EDGE, EDGE).
    """

    def __init__(self) -> None:
        super().__init__()
        befores = (1, *WIDTHS)
        self.down = nn.ModuleList(
            conv_block(before, width) for before, width in zip(befores, (*WIDTHS, 2 * WIDTHS[-1]), strict=True)
        )
        self.amplitude, self.phase = _decoder(), _decoder()

    def forward(self, views: Tensor) -> Tensor:
        """See the class."""
        told = views[:, :1]
        for level, block in enumerate(self.down):
            told = block(max_pool3d(told, 2) if level else told)
        amplitude = self.amplitude(told).float().sigmoid()
        amplitude = torch.where(amplitude < LEAST, 1e-6, amplitude)
        angle = math.pi * self.phase(told).float().tanh()
        return pad(torch.cat([amplitude * angle.cos(), amplitude * angle.sin()], 1), (MARGIN,) * 6)


def _decoder() -> nn.Sequential:
    """From blocks of 4^3 to 16^3."""
    deep, middle, fine = 2 * WIDTHS[-1], WIDTHS[-1], WIDTHS[1]
    return nn.Sequential(
        nn.Upsample(scale_factor=2.0),
        conv_block(deep, middle),
        nn.Upsample(scale_factor=2.0),
        conv_block(middle, fine),
        nn.Conv3d(fine, 1, 3, padding=1),
    )


class ReciprocalPhase(nn.Module):
    """After Masto et al. (arXiv 2507.06644, 2025), for highly strained crystals: a U-Net tells the pattern's phase; the
    crystal is the transform of the measured amplitude with that phase.

    Views and objects as of AutoPhase.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unet = UNet(CHANNELS, 2, RECIPROCAL_WIDTHS)

    def forward(self, views: Tensor) -> Tensor:
        """See the class."""
        told = self.unet(views).float()
        direction = torch.complex(told[:, 0], told[:, 1])
        amplitude = _amplitude(views)
        object_ = to_crystal(amplitude * direction / (direction.abs() + 1e-3))
        object_ = object_ / object_.abs().amax((1, 2, 3), keepdim=True)
        return torch.stack([object_.real, object_.imag], 1)


def amplitudes_apart(outputs: Tensor, examples: Examples) -> Tensor:
    """Mean of sum ||F| - A| / sum A, A what the detector counted: the unsupervised loss of AutoPhaseNN."""
    wanted = _amplitude(examples.inputs)
    told = height(far_field(_objects(outputs)))
    scale = fit(told, wanted)[0][:, None, None, None]
    return ((scale * told - wanted).abs().sum(AXES) / wanted.sum(AXES)).mean()


def coherent_average(outputs: Tensor, examples: Examples) -> Tensor:
    """Mean of 1 - |sum w exp(i (phase - true phase))| / sum w, w the true amplitudes, for the nearer hand: the loss of
    Masto et al. that no shift of the phase and no twin changes.
    """
    told, wanted = far_field(_objects(outputs)), far_field(wanted_objects(examples))
    weight = wanted.abs()
    turned = [(told / height(told) * hand).sum(AXES).abs() for hand in (wanted, wanted.conj())]
    return (1.0 - torch.maximum(*turned) / weight.sum(AXES)).mean()


def _objects(outputs: Tensor) -> Tensor:
    return torch.complex(outputs[:, 0].float(), outputs[:, 1].float())


def _amplitude(views: Tensor) -> Tensor:
    return (LOG_UNIT / 2.0 * views[:, 0].float()).exp()


def _peer(name: str, summary: str, build: Callable[[], nn.Module], loss: Loss) -> Task:
    return dataclasses.replace(
        TASK,
        name=name,
        summary=summary,
        build=build,
        loss=loss,
        metrics=lambda outputs, examples: object_metrics(_objects(outputs), examples),
    )


PEERS: Mapping[str, Task] = {
    task.name: task
    for task in (
        _peer("autophase", "After AutoPhaseNN, Yao et al. 2022, unsupervised", AutoPhase, amplitudes_apart),
        _peer(
            "autophase-taught",
            "The same, taught as our encoder is",
            AutoPhase,
            lambda outputs, examples: object_loss(_objects(outputs), examples),
        ),
        _peer("reciprocal", "After Masto et al. 2025", ReciprocalPhase, coherent_average),
    )
}


def ways(folder: Path) -> dict[str, Way]:
    """Return a row for each peer that is trained in `folder`."""
    return {name: _way(folder / name) for name in PEERS if (folder / name).is_dir()}


def _way(folder: Path) -> Way:
    network = PEERS[folder.name].build().eval()
    network.load_state_dict({name: weight.float() for name, weight in load_weights(folder).items()})

    def told(case: Case) -> Object:
        counts = torch.from_numpy(inpaint(case.counts, case.mask, guided=False).volume)
        seen = view(counts[None])
        with torch.no_grad():
            found = _objects(network(seen.channels()))
        return to_voxels(found, seen.semi_axes, case.counts.shape)[0].numpy()

    return told
