"""Commands that move motors: who arms them, whether a command may, and one loop driven from arming to its end.

Light to import: what a loop needs is imported where one runs.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from service.errors import SettingsError

if TYPE_CHECKING:
    from service.alignment.plan import AlignmentSettings, Plan
    from service.alignment.progress import Progress
    from service.ports import Beamline


def who(by: str) -> str:
    """Return the name that arms: the one that is given, or that of whoever runs the command."""
    return by.strip() or f"{getpass.getuser()} (braggloop)"


def must_own_motors(settings: AlignmentSettings) -> None:
    """Raise SettingsError where the motors are a client's."""
    if settings.client:
        raise SettingsError(
            "alignment: client = true hands the motors to a client of CrystalAlignment, not to a command"
        )


def must_go_by_itself(settings: AlignmentSettings, use: str) -> None:
    """Raise SettingsError where each move waits for a person; `use` says what asks one."""
    if settings.approve:
        raise SettingsError(
            f"alignment.approve: each move waits for a person, whom this command cannot ask; leave it out, or use {use}"
        )


def driven(
    plan: Plan,
    beamline: Beamline,
    journal: Path,
    by: str,
    seconds: float,
    told: Callable[[Progress], None],
    alive: Callable[[], None] = lambda: None,
) -> Progress:
    """Arm by name for some seconds, run one loop of the plan until it has ended, and return how it did."""
    from service.alignment.drive import Driver
    from service.alignment.journal import Journal
    from service.alignment.loop import Loop
    from service.alignment.methods.choose import chosen

    with Journal(journal, plan) as kept:
        return Driver(Loop(plan, chosen), beamline, kept, told=told, alive=alive).align(who(by), seconds)
