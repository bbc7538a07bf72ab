"""Threads of torch do not spin against other processes, wherever the service begins."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SEEN = "import sys, os; import {module}; print('torch' in sys.modules, os.environ['GOMP_SPINCOUNT'])"


def seen(module: str, **environment: str) -> list[str]:
    known = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    command = [sys.executable, "-c", SEEN.format(module=module)]
    return subprocess.run(command, env=known | environment, capture_output=True, text=True, check=True).stdout.split()


def test_idle_threads_sleep_soon_and_that_is_said_before_torch_loads() -> None:
    assert seen("service") == ["False", "10000"]


@pytest.mark.parametrize("module", ["service", "service.cli"])
def test_what_the_user_has_set_wins(module: str) -> None:
    assert seen(module, GOMP_SPINCOUNT="7")[1] == "7"
