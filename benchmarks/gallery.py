"""A picture of the training ground: python -m benchmarks.gallery [--out FILE]

One crystal of each shape and one of each defect: a cut through amplitude and phase, and the measured frame through the
peak with its gaps and faults.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from models.simulate.draws import seeded
from models.simulate.families import FAMILIES, SINGLE, Defect, Family, Shape
from models.simulate.scenes import Scenes, random_scenes

EDGE = 64
# Of so many drawn, the one whose defect shows best: a reflection with g.b = 0 would show nothing.
DRAWN = 12


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gallery.png"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    base = replace(FAMILIES["train"], phase_range=(1.0, 3.0), oversampling=(2.2, 3.0), flux=(1e6, 1e7))
    shapes = [(shape.name, replace(base, shapes=(shape,), defects=(Defect.NONE,))) for shape in Shape]
    defects = [
        (defect.name, replace(base, shapes=(Shape.CUBOCTAHEDRON,), defects=(defect,), elements=("Au",)))
        for defect in SINGLE
        if defect is not Defect.NONE
    ]
    draw([*shapes, *defects], options.seed).savefig(options.out, dpi=70)
    return 0


def draw(families: list[tuple[str, Family]], seed: int) -> Figure:
    figure = Figure(figsize=(1.55 * len(families), 4.9), layout="constrained")
    panels = figure.subplots(3, len(families))
    for number, (name, family) in enumerate(families):
        scenes = random_scenes(seeded(seed + number), family, DRAWN, (EDGE,) * 3)
        column(panels[:, number], scenes, int(scenes.specimens.labels.visibility.abs().argmax()))
        panels[0, number].set_title(name.lower(), fontsize=9)
    for panel, label in zip(panels[:, 0], ("amplitude", "phase", "counts"), strict=True):
        panel.set_ylabel(label)
    return figure


def column(panels: Sequence[Axes], scenes: Scenes, number: int) -> None:
    object_, counts = scenes.specimens.object_[number], scenes.counts[number]
    middle = int(object_.abs().sum((1, 2)).argmax())
    cut = object_[middle].numpy()
    phase = np.where(np.abs(cut) > 0.3, np.angle(cut), np.nan)
    peak = int(scenes.expected[number].sum((1, 2)).argmax())
    frame = torch.where(scenes.announced[number, peak], counts[peak] + 0.3, torch.nan).numpy()
    panels[0].imshow(np.abs(cut), cmap="magma", vmin=0, vmax=1.1)
    panels[1].imshow(phase, cmap="twilight", vmin=-np.pi, vmax=np.pi)
    panels[2].imshow(frame, cmap="viridis", norm=LogNorm(0.3))
    for panel in panels:
        panel.set(xticks=(), yticks=())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
