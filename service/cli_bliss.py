"""`braggloop bliss-demo`: options in, words and an exit code out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.commands.options import Debug, Json, Out, SettingsFile, report_for, settings_from
from service.commands.report import one_line_errors


def bliss_demo(
    lab: Annotated[
        Path, typer.Option("--lab", help="Folder of the lab; 1.5 GB.", metavar="FOLDER", envvar="BRAGGLOOP_BLISS_LAB")
    ] = Path("~/bliss-lab"),
    tmux: Annotated[bool, typer.Option("--tmux/--no-tmux", help="A session to type in, or a tour by script.")] = True,
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show Braggloop in a Bliss session on a virtual crystal: scans, figures, pictures in Flint, alignment.

    Makes the lab where it is missing (Bliss and Redis, from packages), starts Tango database, Beacon, Braggloop's
    devices and a worker, and opens a session in tmux, with Flint where there is a screen. With --no-tmux or --json a
    script scans, reconstructs and aligns, without a screen. All of it ends with the session.

    [dim]Example:[/]  braggloop bliss-demo --no-tmux
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands.bliss_demo import demo, tour
        from service.commands.bliss_lab import lab_settings

        show = demo if tmux and not json else tour
        file = settings or lab_settings()
        show(settings_from(file, out), file, lab.expanduser().absolute(), report)
