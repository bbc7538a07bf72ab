"""What a training run leaves: weights, ONNX and the card that says how good they are."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.cards import Card, save_weights, write_card
from models.engine.export import onnx_model
from models.files import written_whole
from models.simulate.families import family
from models.training.examine import metrics_on, metrics_on_atoms, validation_examples
from models.training.learner import Learner
from models.training.task import Task

# What the card calls the relaxed crystals of a catalogue, beside the families.
ATOMS = "atoms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """How a network was trained; see Card. `start`: the network that it began with, its minutes and steps, if any."""

    seed: int
    minutes: float
    steps: int
    volumes: int
    start: Mapping[str, Any]
    device: str
    precision: str
    test_volumes: int
    catalogue: Path | None


def release(task: Task, learner: Learner, facts: Facts, folder: Path, tell: Callable[[str, float], None]) -> Card:
    """Test the averaged weights on every family of the task, and on atoms where a catalogue is given; write weights,
    ONNX and, last, the card into `folder`.
    """
    metrics = _metrics(task, learner, facts, tell)
    network, example = learner.trained(), _example(task)
    with torch.no_grad():
        output_shape = tuple(network(example).shape[1:])
    tell("exporting", 1.0)
    with written_whole(folder / f"{task.name}.onnx") as partial:
        partial.write_bytes(onnx_model(network, tuple(example.shape[1:])))
    card = Card(
        name=task.name,
        summary=task.summary,
        sha256=save_weights(folder, network.state_dict()),
        parameters=_parameters(network),
        input_shape=tuple(example.shape[1:]),
        output_shape=output_shape,
        data=_data(task, facts),
        seed=facts.seed,
        minutes=round(facts.minutes, 2),
        steps=facts.steps,
        device=_device(facts.device),
        torch=torch.__version__,
        metrics=metrics,
    )
    write_card(folder, card)
    return card


def _metrics(
    task: Task, learner: Learner, facts: Facts, tell: Callable[[str, float], None]
) -> dict[str, dict[str, float]]:
    metrics = {}
    for number, name in enumerate(task.tested_on):
        tell(f"testing on {name}", number / len(task.tested_on))
        metrics[name] = metrics_on(task, learner.predict, name, facts.test_volumes)
    if facts.catalogue is not None:
        tell(f"testing on {ATOMS}", 1.0)
        metrics[ATOMS] = metrics_on_atoms(task, learner.predict, facts.catalogue, facts.test_volumes)
    return metrics


def _example(task: Task) -> torch.Tensor:
    """One item as trained."""
    (batch,) = validation_examples(task, task.trained_on, 1)
    return batch.inputs


def _parameters(network: nn.Module) -> int:
    return sum(tensor.numel() for tensor in network.parameters())


def _data(task: Task, facts: Facts) -> dict[str, Any]:
    return {
        "simulated": task.trained_on,
        "volumes": facts.volumes,
        **({"start": dict(facts.start)} if facts.start else {}),
        "edge": task.edge,
        "batch": task.batch,
        "precision": facts.precision,
        "test_volumes": facts.test_volumes,
        "family": _plain(dataclasses.asdict(family(task.trained_on))),
    }


def _plain(value: Any) -> Any:
    """Names instead of numbers for the shapes and the defects of a family."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    return value.name.lower() if isinstance(value, Enum) else value


def _device(device: str) -> str:
    if device == "cuda":
        return f"cuda, {torch.cuda.get_device_name()}"
    return f"cpu, {platform.machine()}, {torch.get_num_threads()} threads"
