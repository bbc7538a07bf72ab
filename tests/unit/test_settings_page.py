"""The page of settings tells the tree as it is."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.settings_table import settings_page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "settings.md"


def test_the_page_of_settings_is_the_tree() -> None:
    assert PAGE.read_text() == settings_page(), (
        "run: python -m tests.helpers.settings_table > docs/reference/settings.md"
    )
