"""`braggloop train`: what it refuses, in one line, before it begins."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from service.cli import app
from service.commands.report import FAILED, WRONG_USE
from service.commands.train import LOCK
from service.worker.lock import held

runner = CliRunner()


def refused(tmp_path: Path, *line: str) -> tuple[int, str]:
    result = runner.invoke(app, ["train", *line, "--minutes", "0.1", "--out", str(tmp_path), "--json"])
    return result.exit_code, json.loads(result.stdout.splitlines()[-1])["error"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["nothing"], "no task is called 'nothing': expected one of"),
        (["denoise", "--edge", "20"], "edge is 20, expected a multiple of 8"),
        (["denoise", "--edge", "8"], "Input should be greater than or equal to 16"),
        (["denoise", "--device", "tpu"], "device is tpu, expected cpu or cuda"),
        (["denoise", "--precision", "fp8"], "precision is fp8, expected auto, fp32, bf16"),
        (["denoise", "--resume"], "nothing to resume: "),
        (["denoise", "--edge", "100000"], "memory does not suffice: make --batch or --edge smaller"),
        (["denoise", "--seed", str(2**31 + 1)], "2147483648"),
        (["denoise", "--catalogue", "nowhere.h5"], "nowhere.h5 is not there: make one with `python -m models."),
        (["denoise", "--catalogue", __file__], "is no catalogue of crystals"),
        (["denoise", "--pairs", __file__], "holds no pairs of exposures"),
        (["inpaint", "--pairs", __file__], "pairs of exposures are learned from by denoise, not by inpaint"),
    ],
)
def test_wishes_that_cannot_be_met_are_two(line: list[str], said: str, tmp_path: Path) -> None:
    code, error = refused(tmp_path, *line)
    assert code == WRONG_USE
    assert said in error


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_without_a_device_is_told(tmp_path: Path) -> None:
    code, error = refused(tmp_path, "denoise", "--device", "cuda")
    assert code == WRONG_USE
    assert error == "device is cuda, but PyTorch finds no CUDA device here; train with --device cpu"


@pytest.mark.parametrize("module", ["lightning", "onnx", "onnxscript"])
def test_missing_extra_is_told_before_the_work(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    code, error = refused(tmp_path, "denoise")
    assert code == FAILED
    assert error == f'training needs {module}: pip install "braggloop[train]"'
    assert list(tmp_path.iterdir()) == []


def test_second_run_in_a_folder_is_refused(tmp_path: Path) -> None:
    with held(tmp_path / "denoise" / LOCK, "training", timeout_s=0.0):
        code, error = refused(tmp_path, "denoise")
    assert code == FAILED
    assert error.startswith("training is already running on ")
