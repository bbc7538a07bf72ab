"""How good a network is on scenes that it never saw, family by family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from models.simulate.atoms.specimens import frozen_atomic_scenes
from models.simulate.draws import seeded
from models.simulate.grid import Triple
from models.simulate.scenes import FROZEN_SEEDS, Scenes, frozen_scenes
from models.training.task import Examples, Task

Predict = Callable[[Tensor], Tensor]


def metrics_on(task: Task, predict: Predict, family: str, volumes: int) -> dict[str, float]:
    """Return the metrics of a task, each the mean over the first `volumes` of the family's frozen test set; what is
    asked of none of them is left out.
    """
    return _means(task, predict, _frozen(task, family, "test", volumes))


def metrics_on_atoms(task: Task, predict: Predict, catalogue: Path, volumes: int) -> dict[str, float]:
    """Return the metrics of a task, each the mean over the first `volumes` of the catalogue's frozen test set."""
    return _means(task, predict, frozen_atomic_scenes(catalogue, "test", volumes, _shape(task)))


def _means(task: Task, predict: Predict, frozen: Iterator[Scenes]) -> dict[str, float]:
    found: dict[str, list[Tensor]] = {}
    generator = seeded(FROZEN_SEEDS["test"])
    for scenes in frozen:
        examples = (task.tests or task.examples)(scenes, generator)
        for name, values in task.metrics(predict(examples.inputs).cpu(), examples).items():
            found.setdefault(name, []).append(values)
    told = {name: torch.cat(values) for name, values in found.items()}
    return {name: float(values.mean()) for name, values in told.items() if len(values)}


def validation_examples(task: Task, family: str, volumes: int) -> list[Examples]:
    """Return the family's frozen validation set as examples, on the CPU."""
    generator = seeded(FROZEN_SEEDS["validation"])
    return [task.examples(scenes, generator) for scenes in _frozen(task, family, "validation", volumes)]


@torch.no_grad()
def mean_loss(task: Task, predict: Predict, batches: list[Examples]) -> float:
    """Return the loss over `batches`, each volume counting alike."""
    losses = [float(task.loss(predict(batch.inputs).cpu(), batch)) * len(batch.inputs) for batch in batches]
    return sum(losses) / sum(len(batch.inputs) for batch in batches)


def _frozen(task: Task, family: str, purpose: str, volumes: int) -> Iterator[Scenes]:
    return frozen_scenes(family, purpose, volumes, _shape(task))


def _shape(task: Task) -> Triple:
    return task.edge, task.edge, task.edge
