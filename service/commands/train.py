"""Trains a network in a folder of its own, or goes on with one that was killed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import torch

from models.cards import Card
from service.commands.report import Report
from service.errors import SettingsError, StopError, raised_as
from service.results.durable import require_writable
from service.worker.lock import held

if TYPE_CHECKING:
    from models.training.run import Run
    from models.training.task import Task

Arithmetic = Literal["auto", "fp32", "bf16"]
NEEDED = ("lightning", "onnx", "onnxscript")
ATOMISTIC = ("finufft",)  # the pattern of atoms
WITHOUT_ATOMS = "`python -m models.simulate.atoms.catalogue FILE`, then the same command with --catalogue FILE"
LOCK = ".training.lock"  # two runs in one folder would overwrite each other's checkpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the command line asks for; None where the task, or what lies in the folder, decides."""

    task: str
    minutes: float
    device: str
    precision: str
    seed: int
    edge: int | None
    batch: int | None
    checkpoint_s: float
    resume: bool | None
    catalogue: Path | None
    pairs: Path | None = None
    start: Path | None = None


def train_network(wishes: Wishes, out: Path, report: Report) -> Card:
    """Train in `out`/<task>, tell `report`, return the card.

    Raises SettingsError for wishes that cannot be met, StopError where training breaks or Lightning is missing.
    """
    require_extra(*(ATOMISTIC if wishes.catalogue else ()))
    with raised_as(SettingsError):
        task = _task(wishes)
    folder = out / task.name
    require_writable(folder, "out")
    with held(folder / LOCK, "training", timeout_s=0.0):
        with raised_as(SettingsError):
            run = _run(task, wishes, folder)
        begun = f"from step {run.step}" if run.step else "from the beginning"
        precision = f"{run.precision} ({run.reason})" if run.reason else run.precision
        report.note(f"{task.name}: {_size(task)}, {precision} on {wishes.device}, {begun}, to {folder}")
        with raised_as(StopError), report.progress() as advance:
            card = run.train(advance)
    report.table(str(folder), _rows(card))
    if wishes.catalogue is None:
        report.note(f"not tested on relaxed atoms: {WITHOUT_ATOMS}")
    report.finish({"folder": folder, **dataclasses.asdict(card)})
    return card


def _size(task: Task) -> str:
    return f"{task.batch} volumes of {task.edge}^3 a step"


def require_extra(*more: str) -> None:
    """Raise StopError where a package is missing that training, or its last step, needs, or one of `more`."""
    for name in (*NEEDED, *more):
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            raise StopError(f'training needs {name}: pip install "braggloop[train]"') from error


def _task(wishes: Wishes) -> Task:
    from models.training.task import find_task

    task = find_task(wishes.task)
    if wishes.pairs is not None:
        task = _learned_from(wishes.pairs, task)
    return dataclasses.replace(task, edge=wishes.edge or task.edge, batch=wishes.batch or task.batch)


def _learned_from(pairs: Path, task: Task) -> Task:
    from models.denoise.pairs import task_of
    from models.denoise.train import TASK

    if task.name != TASK.name:
        raise ValueError(f"pairs of exposures are learned from by {TASK.name}, not by {task.name}")
    return task_of(pairs)


def _run(task: Task, wishes: Wishes, folder: Path) -> Run:
    from models.training.run import CHECKPOINT, Plan, Run

    if wishes.device not in ("cpu", "cuda"):
        raise ValueError(f"device is {wishes.device}, expected cpu or cuda")
    if wishes.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but PyTorch finds no CUDA device here; train with --device cpu")
    if wishes.precision not in get_args(Arithmetic):
        raise ValueError(f"precision is {wishes.precision}, expected {', '.join(get_args(Arithmetic))}")
    precision: Arithmetic = wishes.precision  # type: ignore[assignment]
    plan = Plan(
        folder=folder,
        minutes=wishes.minutes,
        seed=wishes.seed,
        device=wishes.device,
        precision=precision,
        checkpoint_s=wishes.checkpoint_s,
        catalogue=wishes.catalogue,
        start=wishes.start,
    )
    run = Run(task, plan)
    if (folder / CHECKPOINT).exists() if wishes.resume is None else wishes.resume:
        run.resume()
    else:
        run.begin()
    return run


def _rows(card: Card) -> list[tuple[str, str]]:
    rows = [("trained", f"{card.steps} steps in {card.minutes:g} minutes on {card.device}, seed {card.seed}")]
    rows.append(("parameters", f"{card.parameters:,}"))
    for family, metrics in card.metrics.items():
        rows.append((family, ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())))
    return rows
