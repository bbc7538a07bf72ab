"""A training run: as many steps as its minutes hold, in a folder from which it goes on after any kill."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch

from models.cards import Card, load_weights, read_card
from models.engine.precision import Wanted
from models.memory import memory_told
from models.simulate.atoms.store import require_catalogue
from models.simulate.draws import seeded
from models.simulate.families import family
from models.simulate.scenes import TRAINING_SEEDS_FROM, random_scenes
from models.training.arithmetic import trained_in
from models.training.budget import Budget, Clock, learning_rate_factor
from models.training.checkpoint import read_checkpoint, require_same, write_checkpoint
from models.training.curve import Curve, Point, read_curve
from models.training.examine import mean_loss, validation_examples
from models.training.learner import Learner
from models.training.picture import draw_curves
from models.training.pool import Pool
from models.training.release import Facts, release
from models.training.task import Examples, Task

CHECKPOINT, CURVE, PICTURE = "checkpoint.pt", "curve.csv", "curve.png"
# How often the averaged weights are looked at, over the whole budget.
LOOKS = 20
# Seconds between two pictures of the curve on the way: each takes half a second.
PICTURE_S = 60.0
# Share of the learning rate where the weights are good already.
GENTLER = 0.5
LESS_MEMORY = "make --batch or --edge smaller"

Tell = Callable[[str, float], None]  # what is being done, how much of it (0 to 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a task is trained.

    `folder` of everything that is written; `minutes` of training, validation included, the tests at the end not;
    `device` cpu or cuda; `precision` bf16, fp32 or auto: bf16 where the device computes in it; `checkpoint_s` and
    `point_s` between two checkpoints and two points of the curve; volumes of the frozen sets, as many as the task
    says where None; `catalogue` of relaxed crystals that the network is tested on too; `start`: folder of a trained
    network of the task, with whose weights it begins.
    """

    folder: Path
    minutes: float
    seed: int = 0
    device: str = "cpu"
    precision: Wanted = "auto"
    checkpoint_s: float = 30.0
    point_s: float = 0.2
    validation_volumes: int | None = None
    test_volumes: int | None = None
    catalogue: Path | None = None
    start: Path | None = None


class Run:
    """A task in training: `begin` or `resume`, then `train`.

    `precision` is that of training, `reason` why it is not bf16 where the device computes in it. Raises ValueError
    where the device is not there or does not compute as the plan wants, for an edge that the network cannot halve, for
    a catalogue that is none, and where memory does not suffice.
    """

    def __init__(self, task: Task, plan: Plan, clock: Clock = time.monotonic) -> None:
        if task.edge % task.multiple:
            raise ValueError(f"edge is {task.edge}, expected a multiple of {task.multiple}")
        self.precision, self.reason = trained_in(task, plan.precision, torch.device(plan.device))
        self.step = self._volumes = 0
        self._task, self._plan, self._clock = task, plan, clock
        if plan.catalogue is not None:
            require_catalogue(plan.catalogue)
        self._learner = Learner(task, plan.seed, plan.device, self.precision)
        self._generator = seeded(TRAINING_SEEDS_FROM + plan.seed, plan.device)
        with memory_told(LESS_MEMORY):
            self._validation = validation_examples(
                task, task.trained_on, plan.validation_volumes or task.validation_volumes
            )
        self._pool = Pool(self._made, task.pool, task.times)
        self._curve = Curve(plan.folder / CURVE)
        self._used_s = 0.0
        self._start: dict[str, Any] = {}

    def begin(self) -> None:
        """Take away how far an earlier run came; its network stays until this one is released.

        Raises ValueError where `start` of the plan holds no network of this task.
        """
        if self._plan.start is not None:
            self._start_from(self._plan.start)
        for name in (CHECKPOINT, CURVE, PICTURE):
            (self._plan.folder / name).unlink(missing_ok=True)

    def resume(self) -> None:
        """Go on from the checkpoint of the folder.

        Raises ValueError where there is none, or one of another run or of one that did not begin with `start`.
        """
        path = self._plan.folder / CHECKPOINT
        state = read_checkpoint(path)
        require_same(path, state, self._identity())
        self._learner.restore(state["learner"])
        self._generator.set_state(state["generator"])
        self.step, self._used_s, self._volumes = state["step"], state["used_s"], state["volumes"]
        self._start = state.get("start", {})
        if self._plan.start is not None and read_card(self._plan.start).sha256 != self._start.get("sha256"):
            raise ValueError(f"{path} did not begin with the network in {self._plan.start}: leave it out, or --fresh")

    def _start_from(self, folder: Path) -> None:
        card = read_card(folder)
        if card.name != self._task.name:
            raise ValueError(f"{folder} holds {card.name}, expected {self._task.name}")
        self._learner.start(load_weights(folder))
        before = card.data.get("start", {})
        self._start = {
            "sha256": card.sha256,
            "minutes": card.minutes + before.get("minutes", 0.0),
            "steps": card.steps + before.get("steps", 0),
        }

    def train(self, tell: Tell) -> Card:
        """Use up the minutes, then test and release; return the card.

        Raises ValueError where the loss is not a number any more (the last checkpoint, if any, is from before), where
        memory does not suffice, and where something cannot be written.
        """
        budget = Budget(60.0 * self._plan.minutes, self._clock, self._used_s)
        try:
            with memory_told(LESS_MEMORY):
                self._curve.begin(self.step)
                self._use_up(budget, tell)
                self._save()
                self._draw()
                return release(self._task, self._learner, self._facts(), self._plan.folder, tell)
        except OSError as error:
            where, why = error.filename or self._plan.folder, error.strerror or error
            raise ValueError(f"{where} cannot be written: {why}; {self._way_on('free space')}") from error

    def _use_up(self, budget: Budget, tell: Tell) -> None:
        plan = self._plan
        periods_s = (plan.point_s, plan.checkpoint_s, PICTURE_S)
        point, checkpoint, picture = (_Every(period_s, self._used_s) for period_s in periods_s)
        window = _Window()
        while (share := budget.share(self._used_s)) < 1.0:
            factor = learning_rate_factor(share) * (GENTLER if self._start else 1.0)
            window.add(self._one_step(factor))
            self._used_s = budget.used_s()
            reached = budget.share(self._used_s)
            look = int(LOOKS * reached) > int(LOOKS * share)
            if not (point.due(self._used_s) or look):
                continue
            validation_loss = self._validation_loss() if look else math.nan
            self._curve.append(
                window.point(self.step, self._used_s, factor * self._task.learning_rate, validation_loss)
            )
            tell(f"training, step {self.step}, loss {window.loss():.4g}", reached)
            window = _Window()
            if checkpoint.due(self._used_s):
                self._save()
            if picture.due(self._used_s):
                self._draw()

    def _one_step(self, factor: float) -> _Step:
        began_s = time.perf_counter()
        examples = self._examples()
        simulated_s = time.perf_counter()
        try:
            loss, gradient = self._learner.learn(examples, factor)
        except FloatingPointError as error:
            raise ValueError(
                f"training broke at step {self.step + 1}: {error}; {self._way_on('lower learning_rate in the task')}"
            ) from error
        self.step += 1
        return _Step(loss, gradient, simulated_s - began_s, time.perf_counter() - began_s)

    def _examples(self) -> Examples:
        task = self._task
        examples = self._pool.draw(task.draw, self._generator) if task.pool else self._made()
        if task.vary is not None:
            examples = task.vary(examples, self._generator)
        if self._plan.device == "cuda":
            torch.cuda.synchronize()  # or the time of simulation would be told as that of the step
        return examples

    def _made(self) -> Examples:
        task, shape = self._task, (self._task.edge, self._task.edge, self._task.edge)
        self._volumes += task.batch
        return task.examples(
            random_scenes(self._generator, family(task.trained_on), task.batch, shape), self._generator
        )

    def _validation_loss(self) -> float:
        return mean_loss(self._task, self._learner.predict, self._validation)

    def _draw(self) -> None:
        title = f"{self._task.name}, step {self.step}, {self._plan.device}, seed {self._plan.seed}"
        draw_curves(read_curve(self._plan.folder / CURVE), title, self._plan.folder / PICTURE)

    def _save(self) -> None:
        state = {
            **self._identity(),
            "step": self.step,
            "used_s": self._used_s,
            "volumes": self._volumes,
            "start": self._start,
            "generator": self._generator.get_state(),
            "learner": self._learner.state(),
        }
        write_checkpoint(self._plan.folder / CHECKPOINT, state)

    def _way_on(self, first: str) -> str:
        if (self._plan.folder / CHECKPOINT).exists():
            return f"{first}, then the same command with --resume goes on from the last checkpoint"
        return f"{first}, then begin again: there is no checkpoint yet"

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on: another device draws other numbers from the same generator."""
        return {
            "task": self._task.name,
            "edge": self._task.edge,
            "batch": self._task.batch,
            "seed": self._plan.seed,
            "device": self._plan.device,
        }

    def _facts(self) -> Facts:
        return Facts(
            seed=self._plan.seed,
            minutes=self._used_s / 60.0,
            steps=self.step,
            volumes=self._volumes,
            start=self._start,
            device=self._plan.device,
            precision=self.precision,
            test_volumes=self._plan.test_volumes or self._task.test_volumes,
            catalogue=self._plan.catalogue,
        )


class _Step(NamedTuple):
    loss: float
    gradient: float
    simulation_s: float
    all_s: float


class _Every:
    """Is due when `period_s` have passed since it was due last."""

    def __init__(self, period_s: float, now_s: float) -> None:
        self._period_s, self._last_s = period_s, now_s

    def due(self, now_s: float) -> bool:
        due = now_s - self._last_s >= self._period_s
        self._last_s = now_s if due else self._last_s
        return due


class _Window:
    """The steps between two points of the curve."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []

    def add(self, step: _Step) -> None:
        self._steps.append(step)

    def loss(self) -> float:
        return fmean(s.loss for s in self._steps)

    def point(self, step: int, used_s: float, learning_rate: float, validation_loss: float) -> Point:
        return Point(
            step=step,
            used_s=used_s,
            learning_rate=learning_rate,
            loss=self.loss(),
            gradient=fmean(s.gradient for s in self._steps),
            simulation_share=sum(s.simulation_s for s in self._steps) / sum(s.all_s for s in self._steps),
            validation_loss=validation_loss,
        )
