"""Wrong use of the command line: one line and exit code 2, as JSON where that was asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from typer.core import TyperGroup

from service.commands.options import report_for
from service.commands.report import DONE, WRONG_USE


class OneLineGroup(TyperGroup):
    """Says of a missing argument, an unknown option or a file that is not there what every other error says."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command and raise SystemExit with its code."""
        given = list(sys.argv[1:] if args is None else args)
        if not given:  # the help
            return super().main(given, prog_name, complete_var, standalone_mode, windows_expand_args, **extra)
        try:
            code = super().main(given, prog_name, complete_var, False, windows_expand_args, **extra)
        except Exception as error:
            if not hasattr(error, "format_message"):  # Typer brings Click along, or asks for it: no class to name
                raise
            report_for("--json" in given).fail(_one_line(error), type(error).__name__)
            raise SystemExit(WRONG_USE) from None
        raise SystemExit(code if isinstance(code, int) else DONE)


def _one_line(error: Any) -> str:
    text = " ".join(str(error.format_message()).split()).rstrip(".")
    where = getattr(getattr(error, "ctx", None), "command_path", "braggloop")
    return f"{text}; see '{where} --help'"
