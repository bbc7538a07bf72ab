"""What every engine does: the same result as the module in float32, whoever calls it, and clear refusals."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from models.engine.measure import relative_error
from models.engine.port import Engine
from models.engine.precision import Precision, precisions
from models.engine.tensorrt import TensorRTEngine
from models.engine.torch import TorchEngine
from models.unet import UNet
from tests.helpers.networks import needs_cuda, needs_tensorrt

SHAPE, BATCH = (2, 16, 8, 24), (1, 3)  # unlike edges: none may be taken for another
# Relative error (root mean square) that a precision may bring: hundreds of roundings of 24, 8 and 11 bits.
TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "bf16": 2e-2, "fp16": 3e-3}
CALLS, THREADS = 12, 4


@dataclass(frozen=True)
class Kind:
    """One of the engines."""

    name: str
    device: str

    def make(
        self, module: nn.Module, folder: Path, precision: Precision = "fp32", shape: tuple[int, ...] = SHAPE
    ) -> Engine:
        if self.name == "tensorrt":
            return TensorRTEngine(module, shape, batch=BATCH, precision=precision, cache=folder)
        return TorchEngine(module, shape, batch=BATCH, precision=precision, device=self.device)


@pytest.fixture(
    scope="module",
    params=[
        Kind("torch", "cpu"),
        pytest.param(Kind("torch", "cuda"), marks=[pytest.mark.gpu, needs_cuda]),
        pytest.param(Kind("tensorrt", "cuda"), marks=[pytest.mark.gpu, needs_cuda, needs_tensorrt]),
    ],
    ids=lambda kind: f"{kind.name}-{kind.device}",
)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def engine(kind: Kind, folder: Path) -> Engine:
    return kind.make(network(), folder)


def network(seed: int = 0, widths: tuple[int, ...] = (8, 16, 16)) -> nn.Module:
    torch.manual_seed(seed)
    return UNet(inputs=2, outputs=3, widths=widths).eval()


def volumes(kind: Kind, items: int = BATCH[1], seed: int = 0) -> Tensor:
    return torch.randn(items, *SHAPE, generator=torch.Generator().manual_seed(seed)).to(kind.device)


def expected(module: nn.Module, given: Tensor) -> Tensor:
    with torch.inference_mode():
        result: Tensor = module(given.cpu())
    return result


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("widths", [(8, 16, 16), (16, 32)])
def test_the_result_is_that_of_the_module(
    kind: Kind, folder: Path, precision: Precision, widths: tuple[int, ...]
) -> None:
    if precision not in precisions(torch.device(kind.device)):
        pytest.skip(f"this {kind.device} does not compute in {precision}")
    module = network(widths=widths)
    engine = kind.make(module, folder, precision)
    for items in range(BATCH[0], BATCH[1] + 1):
        given = volumes(kind, items)
        result = engine.run(given)
        assert (result.shape, result.dtype, result.device.type) == ((items, 3, *SHAPE[1:]), torch.float32, kind.device)
        assert relative_error(result, expected(module, given)) < TOLERANCE[precision]


def test_it_says_what_it_takes_and_gives(engine: Engine) -> None:
    assert (engine.takes.name, engine.takes.shape, engine.takes.batch) == ("volume", SHAPE, BATCH)
    assert (engine.gives.name, engine.gives.shape, engine.gives.batch) == ("result", (3, *SHAPE[1:]), BATCH)


def test_it_says_what_it_is(kind: Kind, engine: Engine) -> None:
    told = engine.describe()
    assert (told["backend"], told["device"], told["precision"]) == (kind.name, kind.device, "fp32")
    assert told["takes"] == "float32 (1..3, 2, 16, 8, 24)"


def test_the_same_volumes_give_the_same_bits(kind: Kind, engine: Engine) -> None:
    first = engine.run(volumes(kind))
    assert all(torch.equal(engine.run(volumes(kind)), first) for _ in range(CALLS))


def test_an_earlier_result_and_the_input_stay_as_they_are(kind: Kind, engine: Engine) -> None:
    given = volumes(kind)
    kept = given.clone()
    first = engine.run(given)
    copied = first.clone()
    engine.run(volumes(kind, seed=1))
    assert torch.equal(given, kept)
    assert torch.equal(first, copied)


def test_strided_volumes_are_taken(kind: Kind, engine: Engine) -> None:
    given = volumes(kind)
    strided = given.transpose(-1, -2).contiguous().transpose(-1, -2)
    assert not strided.is_contiguous()
    assert relative_error(engine.run(strided), engine.run(given)) < TOLERANCE["fp32"]


def test_the_module_is_not_touched(kind: Kind, folder: Path) -> None:
    module = network().train()
    kind.make(module, folder)
    assert module.training
    assert all(parameter.requires_grad and parameter.device.type == "cpu" for parameter in module.parameters())


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda given: given[:, :, :8], r"float32 \(3, 2, 8, 8, 24\)"),
        (lambda given: given[:, :1], r"float32 \(3, 1, 16, 8, 24\)"),
        (lambda given: given[0], r"float32 \(2, 16, 8, 24\)"),
        (lambda given: given[:0], r"float32 \(0, 2, 16, 8, 24\)"),
        (lambda given: torch.cat([given, given]), r"float32 \(6, 2, 16, 8, 24\)"),
        (lambda given: given.double(), r"float64 \(3, 2, 16, 8, 24\)"),
        (lambda given: given.half(), r"float16 \(3, 2, 16, 8, 24\)"),
        (lambda given: given.to("meta"), r"float32 \(3, 2, 16, 8, 24\) on meta"),
    ],
)
def test_what_does_not_fit_names_got_and_expected(
    kind: Kind, engine: Engine, change: Callable[[Tensor], Tensor], got: str
) -> None:
    wanted = rf"expected float32 \(1\.\.3, 2, 16, 8, 24\) on {kind.device}$"
    with pytest.raises(ValueError, match=rf"^volume: got {got}.*, {wanted}"):
        engine.run(change(volumes(kind)))


def test_an_engine_goes_on_after_a_refusal(kind: Kind, engine: Engine) -> None:
    before = engine.run(volumes(kind))
    with pytest.raises(ValueError, match="volume: got"):
        engine.run(volumes(kind).double())
    assert torch.equal(engine.run(volumes(kind)), before)


def test_batches_that_cannot_be_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="batches of 4 to 2: expected 1 or more, and the smaller first"):
        TorchEngine(network(), SHAPE, batch=(4, 2))


def test_several_threads_may_call_one_engine(kind: Kind, engine: Engine) -> None:
    alone = [engine.run(volumes(kind, seed=seed)) for seed in range(CALLS)]
    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(lambda seed: engine.run(volumes(kind, seed=seed)), range(CALLS)))
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


def test_two_engines_may_run_at_once(kind: Kind, folder: Path) -> None:
    engines = [kind.make(network(seed), folder) for seed in (1, 2)]
    alone = [engine.run(volumes(kind)) for engine in engines]
    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(lambda call: engines[call % 2].run(volumes(kind)), range(CALLS)))
    assert not torch.equal(alone[0], alone[1])
    assert all(torch.equal(result, alone[call % 2]) for call, result in enumerate(together))
