"""Order of the tests that run a Tango server inside the process of pytest."""

from __future__ import annotations

import pytest

IN_PROCESS = "tests.contract.test_tango_devices"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A server that ends in this process takes the client library's ORB with it: it must be the first to use Tango."""
    items.sort(key=lambda item: getattr(item, "module", None) is None or item.module.__name__ != IN_PROCESS)
