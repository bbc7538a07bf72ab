"""What a network learns: the only thing that models/<name>/train.py says, as `TASK`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Generator, Tensor, nn

from models.simulate.families import GENERAL
from models.simulate.scenes import Scenes

MODELS = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """What goes in and what should come out, on the device of the scenes.

    `inputs` float32 (batch, channels, z, y, x); `targets` and `weights` whatever the loss of the task compares with,
    the weights 0 where nothing is asked.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A network and what it is trained for.

    `build` makes the untrained network; `examples` turns scenes into examples, with a generator for what it draws;
    `loss` of outputs (float32) and examples is a scalar; `metrics` of outputs and examples are values (batch,) by name,
    baselines among them, one per example, on those that `tests` makes of scenes where they are not like in training.
    `edge` of the volumes in voxels, a multiple of `multiple`; `batch` volumes a step; `learning_rate` its highest.
    Where examples are dear, a `pool` of so many is kept, of which each step takes `draw`; each is seen `times`, on
    average, and looks different each time by what `vary` does.
    `trained_on`: the family that it learns from; `tested_on`: all that it is tested with.
    `validation_volumes` and `test_volumes` of the frozen sets, looked at on the way and at the end.
    """

    name: str
    summary: str
    build: Callable[[], nn.Module]
    examples: Callable[[Scenes, Generator], Examples]
    loss: Callable[[Tensor, Examples], Tensor]
    metrics: Callable[[Tensor, Examples], Mapping[str, Tensor]]
    tests: Callable[[Scenes, Generator], Examples] | None = None
    edge: int = 32
    multiple: int = 8
    batch: int = 8
    learning_rate: float = 1e-3
    pool: int = 0
    draw: int = 0
    times: int = 3
    vary: Callable[[Examples, Generator], Examples] | None = None
    validation_volumes: int = 32
    test_volumes: int = 64
    trained_on: str = "train"
    tested_on: tuple[str, ...] = GENERAL


def task_names() -> list[str]:
    """Return the names of all tasks: the folders of models/ with a train.py."""
    return sorted(path.parent.name for path in MODELS.glob("*/train.py"))


def find_task(name: str) -> Task:
    """Return the task of models/<name>/train.py; raise ValueError where there is none."""
    if name not in task_names():
        raise ValueError(f"no task is called {name!r}: expected one of {', '.join(task_names())}")
    task: Task = importlib.import_module(f"models.{name}.train").TASK
    return task
