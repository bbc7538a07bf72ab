"""The training harness: budget, curve, checkpoint, averaged weights, resume, release."""

from __future__ import annotations

import itertools
import json
import math
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv3d

from models.cards import load_weights, read_card, save_weights
from models.engine.precision import precisions
from models.memory import memory_told
from models.training.arithmetic import trained_in
from models.training.budget import LAST, WARM_UP, Budget, learning_rate_factor
from models.training.checkpoint import read_checkpoint, write_checkpoint
from models.training.curve import Curve, Point, read_curve
from models.training.learner import Learner
from models.training.run import CHECKPOINT, CURVE, LOOKS, PICTURE, Plan, Run
from models.training.task import Examples, Task, find_task, task_names
from tests.helpers.training import TICK_S, TINY, TickingClock

STEPS = 20
MINUTES = STEPS * TICK_S / 60.0


class Killed(BaseException):
    """Ends a run as abruptly as one process can end itself."""


def plan(folder: Path, **changes: object) -> Plan:
    given = Plan(
        folder=folder,
        minutes=MINUTES,
        precision="fp32",
        checkpoint_s=4 * TICK_S,
        point_s=0.0,
        validation_volumes=2,
        test_volumes=2,
    )
    return replace(given, **changes)  # type: ignore[arg-type]


def quiet(said: str, share: float) -> None:
    assert 0.0 <= share <= 1.0


def until_the_tests(said: str, share: float) -> None:
    if said.startswith("testing"):
        raise Killed


def train(run: Run) -> Run:
    """Train and stop where the tests and the export would begin."""
    with pytest.raises(Killed):
        run.train(until_the_tests)
    return run


def begun(folder: Path, task: Task = TINY, **changes: object) -> Run:
    folder.mkdir(exist_ok=True)
    run = Run(task, plan(folder, **changes), TickingClock())
    run.begin()
    return run


def resumed(folder: Path, **changes: object) -> Run:
    run = Run(TINY, plan(folder, **changes), TickingClock())
    run.resume()
    return run


def test_learning_rate_fits_the_budget() -> None:
    shares = [n / 1000 for n in range(1001)]
    factors = [learning_rate_factor(share) for share in shares]
    assert factors[0] == LAST
    assert factors[-1] == pytest.approx(LAST)
    top = max(factors)
    assert top == pytest.approx(1.0)
    assert shares[factors.index(top)] == WARM_UP
    assert max(abs(a - b) for a, b in itertools.pairwise(factors)) < 0.03


def test_budget_counts_on() -> None:
    budget = Budget(10.0, TickingClock(), used_s=3.0)
    assert budget.used_s() == 3.0 + TICK_S
    assert budget.share(2.5) == 0.25
    assert budget.share(11.0) == 1.0


def point(step: int, validation: float = math.nan) -> Point:
    return Point(step=step, used_s=step / 3, learning_rate=1e-3, loss=0.1, gradient=2.0, simulation_share=0.2,
                 validation_loss=validation)  # fmt: skip


def test_curve_forgets_what_is_made_again_and_half_lines(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    curve = Curve(path)
    curve.begin(0)
    for step in (1, 2, 3):
        curve.append(point(step, 0.5 if step == 2 else math.nan))
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        assert [p.step for p in read_curve(path)] == list(range(1, whole[:cut].count(b"\n")))
    path.write_bytes(whole + b"4,1.3")
    curve.begin(2)
    kept = read_curve(path)
    assert [p.step for p in kept] == [1, 2]
    assert math.isnan(kept[0].validation_loss)
    assert kept[1].validation_loss == 0.5
    assert path.read_bytes() + whole.splitlines(keepends=True)[3] == whole


def test_checkpoint_that_is_not_one_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT
    with pytest.raises(ValueError, match="nothing to resume"):
        read_checkpoint(path)
    write_checkpoint(path, {"step": 3, "tensor": torch.ones(3)})
    assert read_checkpoint(path)["step"] == 3
    for content in (b"", b"nonsense", path.read_bytes()[:200]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="cannot be read") as raised:
            read_checkpoint(path)
        assert "\n" not in str(raised.value)


def test_tasks_are_found_by_their_folder() -> None:
    assert "denoise" in task_names()
    assert find_task("denoise").name == "denoise"
    with pytest.raises(ValueError, match="no task is called 'nothing': expected one of"):
        find_task("nothing")


def drawn(seed: int) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand((2, 1, 8, 8, 8), generator=generator)
    return Examples(inputs=inputs, targets=2.0 * inputs, weights=torch.ones_like(inputs))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_learner_learns_and_averages(precision: str) -> None:
    learner = Learner(TINY, seed=0, device="cpu", precision=precision)  # type: ignore[arg-type]
    losses = [learner.learn(drawn(step), 1.0)[0] for step in range(60)]
    assert losses[-1] < 0.5 * losses[0]
    inputs = drawn(100).inputs
    torch.testing.assert_close(learner.trained()(inputs), learner.predict(inputs), rtol=0.02, atol=0.02)
    now = learner.state()["network"]
    averaged = learner.trained().state_dict()
    assert all(not torch.equal(now[name], averaged[name]) for name in now)


def test_loss_that_is_not_a_number_leaves_the_weights() -> None:
    learner = Learner(TINY, seed=0, device="cpu", precision="fp32")
    learner.learn(drawn(0), 1.0)
    before = {name: tensor.clone() for name, tensor in learner.state()["network"].items()}
    broken = drawn(1)
    broken.targets[0, 0, 0, 0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match="loss nan"):
        learner.learn(broken, 1.0)
    after = learner.state()["network"]
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_run_leaves_all_that_it_should(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.train(quiet)
    card = read_card(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        CHECKPOINT, CURVE, PICTURE, "card.json", "weights.safetensors", "tiny.onnx",
    }  # fmt: skip
    assert (card.name, card.steps, card.seed) == ("tiny", run.step, 0)
    assert card.minutes == pytest.approx(MINUTES, abs=0.01)
    assert card.input_shape == card.output_shape == (1, 16, 16, 16)
    assert card.metrics.keys() == {"train", "detectors"}
    assert card.data["volumes"] == 2 * run.step
    assert "screw" in card.data["family"]["defects"]
    assert load_weights(tmp_path).keys() == TINY.build().state_dict().keys()
    assert sum(math.isfinite(p.validation_loss) for p in read_curve(tmp_path / CURVE)) == min(LOOKS, STEPS)


def test_minutes_are_kept_and_more_minutes_go_on(tmp_path: Path) -> None:
    step = train(begun(tmp_path)).step
    given_s = MINUTES * 60.0
    assert given_s <= read_checkpoint(tmp_path / CHECKPOINT)["used_s"] <= given_s + TICK_S
    assert train(resumed(tmp_path)).step == step
    assert train(resumed(tmp_path, minutes=1.5 * MINUTES)).step == pytest.approx(1.5 * step, abs=2)


def test_resumed_run_is_the_run_that_was_not_killed(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(begun(whole))
    run = begun(killed)

    def kill(said: str, share: float) -> None:
        if run.step == STEPS // 2:
            raise Killed

    with pytest.raises(Killed):
        run.train(kill)
    again = resumed(killed)
    assert 0 < again.step < STEPS // 2
    train(again)
    first, second = (
        [replace(p, simulation_share=0.0, validation_loss=str(p.validation_loss)) for p in read_curve(folder / CURVE)]  # type: ignore[arg-type]
        for folder in (whole, killed)
    )
    assert first == second
    assert len(first) >= STEPS
    states = [read_checkpoint(folder / CHECKPOINT)["learner"]["averaged"] for folder in (whole, killed)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    train(begun(tmp_path, minutes=MINUTES / 4))
    with pytest.raises(ValueError, match="was begun with seed 0, got 1: give the same again, or --fresh"):
        resumed(tmp_path, seed=1)
    run = Run(replace(TINY, batch=1), plan(tmp_path))
    with pytest.raises(ValueError, match="was begun with batch 2, got 1"):
        run.resume()
    run.begin()
    assert list(tmp_path.iterdir()) == []


def test_run_begins_with_a_trained_network_and_says_so(tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    cards = [begun(first).train(quiet)]
    run = begun(second, start=first)
    beginning, trained = run._learner.trained().state_dict(), load_weights(first)
    assert all(torch.equal(beginning[name], trained[name]) for name in trained)
    cards.append(run.train(quiet))
    assert cards[1].data["start"] == {
        "sha256": cards[0].sha256, "minutes": cards[0].minutes, "steps": cards[0].steps,
    }  # fmt: skip
    train(begun(third, start=second))
    with pytest.raises(ValueError, match=r"did not begin with the network in .*first: leave it out, or --fresh"):
        resumed(third, start=first)
    last = resumed(third, minutes=1.5 * MINUTES, start=second).train(quiet)
    assert last.data["start"]["sha256"] == cards[1].sha256
    assert last.data["start"]["steps"] == cards[0].steps + cards[1].steps


def test_network_of_another_task_is_no_beginning(tmp_path: Path) -> None:
    other = tmp_path / "other"
    begun(other).train(quiet)
    card = json.loads((other / "card.json").read_text())
    (other / "card.json").write_text(json.dumps(card | {"name": "large"}))
    with pytest.raises(ValueError, match="other holds large, expected tiny"):
        begun(tmp_path / "new", start=other)
    (other / "card.json").write_text(json.dumps(card | {"sha256": save_weights(other, {"weight": torch.zeros(3)})}))
    with pytest.raises(ValueError, match="the weights to begin with are another network's: Missing key"):
        begun(tmp_path / "new", start=other)


def test_edge_that_cannot_be_halved_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="edge is 20, expected a multiple of 8"):
        Run(replace(find_task("denoise"), edge=20), plan(tmp_path))


BF16_HERE = "bf16" in precisions(torch.device("cpu"))


@pytest.mark.parametrize(("edge", "multiple", "precision"), [(16, 8, "fp32"), (16, 1, "bf16"), (24, 8, "bf16")])
@pytest.mark.skipif(not BF16_HERE, reason="this CPU does not compute in bf16")
def test_bf16_is_left_where_its_gradients_would_be_wrong(edge: int, multiple: int, precision: str) -> None:
    task = replace(TINY, edge=edge, multiple=multiple)
    chosen, reason = trained_in(task, "auto", torch.device("cpu"))
    assert chosen == precision
    assert ("coarsest level of 16^3" in reason) == (precision == "fp32")
    if precision == "fp32":
        with pytest.raises(ValueError, match="are wrong in bf16: choose fp32, or an edge of at least 24"):
            trained_in(task, "bf16", torch.device("cpu"))
    assert trained_in(task, "fp32", torch.device("cpu")) == ("fp32", "")


@pytest.mark.parametrize("voxels", [(3, 3, 3), (4, 4, 4)])
@pytest.mark.skipif(not BF16_HERE, reason="this CPU does not compute in bf16")
def test_bf16_gradients_of_the_smallest_volumes_that_are_trained_are_right(voxels: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    volumes, weights = torch.randn(4, 32, *voxels), torch.randn(64, 32, 3, 3, 3)
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        given = weights.detach().to(dtype).clone().requires_grad_()
        (conv3d(volumes.to(dtype), given, padding=1) ** 2).sum().backward()
        assert given.grad is not None
        found.append(given.grad.float())
    assert (found[1] - found[0]).norm() < 0.02 * found[0].norm()


def test_a_full_disk_is_told_with_the_way_on(tmp_path: Path) -> None:
    run = begun(tmp_path)
    with (
        files_no_longer_than(1000),
        pytest.raises(ValueError, match=r"cannot be written: File too large.*begin again") as raised,
    ):
        run.train(quiet)
    assert "\n" not in str(raised.value)
    train(begun(tmp_path))
    again = resumed(tmp_path, minutes=2 * MINUTES)
    whole = (tmp_path / CHECKPOINT).read_bytes()
    said = r"cannot be written.*free space, then the same command with --resume goes on from the last checkpoint"
    with files_no_longer_than(len(whole) // 2), pytest.raises(ValueError, match=said):
        again.train(quiet)
    assert (tmp_path / CHECKPOINT).read_bytes() == whole


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """Writing beyond `size` bytes fails, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_memory_that_does_not_suffice_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="memory does not suffice: make --batch or --edge smaller"):
        Run(replace(TINY, edge=100_000), plan(tmp_path))
    with pytest.raises(RuntimeError, match="something else"), memory_told("less"):
        raise RuntimeError("something else")


def test_broken_loss_before_the_first_checkpoint_promises_none(tmp_path: Path) -> None:
    run = begun(tmp_path, replace(TINY, loss=lambda outputs, examples: TINY.loss(outputs, examples) * math.nan))
    with pytest.raises(ValueError, match=r"training broke at step 1: .* begin again: there is no checkpoint yet"):
        run.train(quiet)


def test_broken_loss_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    calls = itertools.count()

    def breaking(outputs: Tensor, examples: Examples) -> Tensor:
        return TINY.loss(outputs, examples) * (math.nan if next(calls) > 20 else 1.0)

    run = begun(tmp_path, replace(TINY, loss=breaking))
    with pytest.raises(
        ValueError, match=r"training broke at step .*: loss nan.*--resume goes on from the last checkpoint"
    ):
        run.train(quiet)
    state = read_checkpoint(tmp_path / CHECKPOINT)
    assert 0 < state["step"] <= run.step
    assert all(torch.isfinite(tensor).all() for tensor in state["learner"]["network"].values())
