"""`braggloop models` and `braggloop engines`: tables for people, records for machines, one line for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from models.cards import WEIGHTS, read_card
from service.cli import app
from service.commands.report import DONE, FAILED, WRONG_USE
from tests.helpers.networks import small_unet, write_network

runner = CliRunner()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_network(tmp_path, "plain", small_unet(0))
    write_network(tmp_path, "other", small_unet(1))
    return tmp_path


def run(root: Path, *line: str) -> Result:
    return runner.invoke(app, line, env={"BRAGGLOOP__ENGINE__NETWORKS": str(root)})


def test_networks_are_listed_for_people(root: Path) -> None:
    result = run(root, "models")
    assert result.exit_code == DONE
    assert all(word in result.stdout for word in ("plain", "other", "18,665", "wulff"))


def test_networks_are_a_list_for_machines(root: Path) -> None:
    result = run(root, "models", "--json")
    assert result.exit_code == DONE
    other, plain = json.loads(result.stdout)
    assert (other["name"], plain["name"]) == ("other", "plain")
    card = read_card(Path(plain["card"]).parent)
    assert (plain["sha256"], plain["seed"], plain["metrics"]) == (card.sha256, card.seed, card.metrics)


def test_no_network_is_an_empty_list(tmp_path: Path) -> None:
    assert json.loads(run(tmp_path, "models", "--json").stdout) == []
    assert "braggloop train" in run(tmp_path, "models").stderr


def test_the_networks_that_come_along_are_whole() -> None:
    assert runner.invoke(app, ["models"]).exit_code == DONE


@pytest.mark.parametrize("line", [("models",), ("engines", "build", "plain")])
def test_a_damaged_weight_file_fails_in_one_line(root: Path, line: tuple[str, ...]) -> None:
    (root / "plain" / WEIGHTS).write_bytes(b"nothing")
    result = run(root, *line)
    assert result.exit_code == FAILED
    assert "weights.safetensors is damaged: sha256" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["build", "nonsense"], "no trained network is called 'nonsense', there is other, plain in"),
        (
            ["build", "plain", "--backend", "nonsense"],
            "settings: engine.backend: Input should be 'torch' or 'tensorrt'",
        ),
        (["build", "plain", "--backend", "tensorrt"], "backend tensorrt does not run on cpu: set device to cuda"),
        (["bench", "plain", "--precision", "fp8"], "settings: engine.precision: Input should be 'auto', 'fp32'"),
        ([], "Missing command"),
        (["build"], "Missing argument 'NAME'"),
    ],
)
def test_wrong_use_is_two_and_one_line(root: Path, line: list[str], said: str) -> None:
    result = run(root, "engines", *line)
    assert result.exit_code == WRONG_USE
    assert said in result.stderr.splitlines()[-1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device on this machine")
@pytest.mark.parametrize("backend", ["torch", "tensorrt"])
def test_a_missing_gpu_is_wrong_use_and_nothing_else_runs_instead(root: Path, backend: str) -> None:
    result = run(root, "engines", "build", "plain", "--backend", backend, "--device", "cuda", "--json")
    assert result.exit_code == WRONG_USE
    assert json.loads(result.stdout)["error"].startswith("engine: PyTorch finds no CUDA device here: choose")


def test_an_engine_is_built_and_described(root: Path) -> None:
    result = run(root, "engines", "build", "plain", "--precision", "fp32", "--batch", "2", "--json")
    assert result.exit_code == DONE
    told = json.loads(result.stdout)
    assert (told["name"], told["backend"], told["device"], told["precision"]) == ("plain", "torch", "cpu", "fp32")
    assert told["takes"] == "float32 (1..2, 1, 16, 16, 16)"


def test_an_engine_is_measured(root: Path) -> None:
    result = run(root, "engines", "bench", "plain", "--precision", "fp32", "--seconds", "0.1", "--json")
    assert result.exit_code == DONE
    told = json.loads(result.stdout)
    assert told["runs"] >= 3
    assert told["volumes_per_s"] == pytest.approx(1e3 / told["median_ms"])
    assert told["relative_error"] < 1e-5
