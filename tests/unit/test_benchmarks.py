"""Benchmarks are run by hand, months apart: each must still find what it imports."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Run inside an interpreter that has the peers, or Bliss.
ELSEWHERE = {"benchmarks.cohere_peer", "benchmarks.geometry_peers", "benchmarks.bliss.session"}
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "benchmarks").rglob("*.py")
)


@pytest.mark.parametrize("module", [each for each in MODULES if each not in ELSEWHERE])
def test_a_benchmark_finds_what_it_imports(module: str) -> None:
    importlib.import_module(module)
