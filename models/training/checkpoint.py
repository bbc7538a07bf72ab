"""What a training run needs to go on after its process was killed: one file, whole at any moment."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from models.files import written_whole


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and numbers to `path`; a kill at any moment leaves the checkpoint before or this one.

    Raises OSError where it cannot be written.
    """
    content = io.BytesIO()  # torch's own writer says of a full disk that a position is unexpected
    torch.save(state, content)
    with written_whole(path) as partial:
        partial.write_bytes(content.getbuffer())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return what was written, on the CPU; raise ValueError in one line where it cannot be read."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"nothing to resume: {path} is not there; begin with --fresh") from None
    except Exception as error:  # torch.load raises whatever it stumbles over
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}; begin with --fresh") from error
    return state


def require_same(path: Path, state: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise ValueError where a checkpoint is of another run than the one wanted."""
    for name, value in wanted.items():
        if state[name] != value:
            raise ValueError(
                f"{path} was begun with {name} {state[name]}, got {value}: give the same again, or --fresh"
            )
