"""Run a program for as long as whoever asked for it lives, whatever ends that; nothing of the program outlives it.

    python keep.py FOLDER COMMAND [ARGUMENT ...]

Standard input is a pipe that whoever asked holds. `t` in it asks the program to end, and what is left of it after a
while is killed with all that it started; `k` kills at once. When it closes, the program ends as by `t`, and FOLDER is
removed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence

GRACE_S = 15.0
KILL, CLOSED = b"k", b""
PR_SET_PDEATHSIG = 1  # of Linux: the signal that a process gets when its parent is gone
_LIBC = ctypes.CDLL(None)


def _tied() -> None:
    """In the program, before it begins: should the keeper itself be killed, it is asked to end."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def keep(folder: str, command: Sequence[str]) -> int:
    """Run a program to its end, or until standard input closes; return its code as a shell does."""
    program = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_tied  # one thread: safe
    )  # fmt: skip
    ready, _, _ = select.select([sys.stdin.fileno(), os.pidfd_open(program.pid)], [], [])
    order = os.read(sys.stdin.fileno(), 1) if sys.stdin.fileno() in ready else KILL  # what an ended program left
    if order != KILL:
        program.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(GRACE_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)  # what it started itself, Redis for instance
    code = program.wait()
    if order == CLOSED:
        shutil.rmtree(folder, ignore_errors=True)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1], sys.argv[2:]))
