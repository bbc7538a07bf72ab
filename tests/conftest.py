"""Fixtures that every test folder may use."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data beside the checkout; the test skips where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real data folder is not beside the checkout: {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Let children be interrupted: what a shell starts in the background ignores SIGINT and hands that down."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
