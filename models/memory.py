"""Memory that does not suffice, said in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

# What torch says in a RuntimeError: on the CPU, on CUDA, and for a size that no number holds.
SIGNS = ("can't allocate memory", "out of memory", "size calculation overflowed")


@contextmanager
def memory_told(way_out: str) -> Iterator[None]:
    """Raise ValueError, with a way out, where memory does not suffice."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        said = str(error)
        if isinstance(error, RuntimeError) and not any(sign in said for sign in SIGNS):
            raise
        raise ValueError(f"memory does not suffice: {way_out}") from error
