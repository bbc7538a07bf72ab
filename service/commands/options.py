"""The options that every command shares, and how they become settings and a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from service.commands.report import HumanReport, JsonReport, Report
from service.settings import Settings, load_settings

Out = Annotated[
    Path | None, typer.Option("--out", help="Folder for results.", show_default="./braggloop-results", metavar="FOLDER")
]
SettingsFile = Annotated[
    Path | None,
    typer.Option("--settings", help="TOML file with settings; options on the line win over it.", metavar="FILE"),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def settings_from(path: Path | None, out: Path | None, **sections: dict[str, Any]) -> Settings:
    """Load the settings and lay what was given on the command line on top; None means not given."""
    given: dict[str, Any] = {
        section: {key: value for key, value in values.items() if value is not None}
        for section, values in sections.items()
    }
    if out is not None:
        given["out"] = out
    return load_settings(path, given)


def target_path(settings: Settings, target: Path) -> Path:
    """Return where a result of that name lies: in the folder `out`, if that was given too; it is made where missing."""
    if "out" not in settings.model_fields_set or target.is_absolute():
        return target
    settings.out.mkdir(parents=True, exist_ok=True)
    return settings.out / target


def report_for(as_json: bool) -> Report:
    return JsonReport() if as_json else HumanReport()
