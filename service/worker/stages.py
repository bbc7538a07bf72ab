"""The processes under the supervisor: `python -m service.worker.stages ingest|compute SETTINGS.json`."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from service import compose
from service.errors import BraggloopError
from service.settings import Settings, parse_settings
from service.worker.lifeline import tied_to_parent


def run_ingest(settings: Settings) -> None:
    """Take messages until told to end."""
    lifeline = tied_to_parent()
    with lifeline.beginning(), compose.ingest(settings) as ingest:
        ingest.run(lifeline, dataclasses.asdict)


def run_compute(settings: Settings, inversion: compose.MakeInvert = compose.inversion) -> None:
    """Work on the spool until told to end."""
    lifeline = tied_to_parent()
    with lifeline.beginning(), compose.compute(settings, inversion, lambda: lifeline.heard) as (compute, endpoints):
        compute.run(lifeline, lambda report: dataclasses.asdict(report) | endpoints)


STAGES: dict[str, Callable[[Settings], None]] = {"ingest": run_ingest, "compute": run_compute}


def main(arguments: Sequence[str], stages: dict[str, Callable[[Settings], None]]) -> int:
    """Run one stage; 0 where it ended because it was told to, 1 where it failed."""
    name, file = arguments
    logging.basicConfig(format=f"%(asctime)s {name} %(levelname)s %(message)s")
    try:
        stages[name](parse_settings(json.loads(Path(file).read_text())))
    except BraggloopError as error:
        logging.error("%s", error)
        return 1
    return 0


def leave(code: int) -> None:
    """End at once: an inversion may still run in its thread, and the interpreter would pull torch from under it."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main(sys.argv[1:], STAGES))
