"""What people read in the session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


def one_line(error: object) -> str:
    """Return an error as one line; of a Tango error what its server said first, of which device where none did."""
    stack = getattr(error, "args", ())
    said = stack[0].desc.strip().split("\n")[0] if stack and hasattr(stack[0], "desc") else str(error)
    if "CORBA system exception" in said and len(stack) > 1:
        said = f"{stack[-1].desc.strip().split(', ')[0]}: {said.removesuffix('.')}"
    return " ".join(said.split()) or type(error).__name__


@dataclass(frozen=True)
class Told:
    """A title and what is known, by name; the session shows it as lines."""

    title: str
    known: Mapping[str, Any]

    def __info__(self) -> str:
        width = max(map(len, self.known), default=0)
        return "\n".join([self.title, *(f"  {name:<{width}}  {value}" for name, value in self.known.items())])

    __str__ = __info__


def places(positions: Mapping[str, float]) -> str:
    """`{"eta": 25.01}` -> `eta 25.01`."""
    return ", ".join(f"{name} {place:.9g}" for name, place in positions.items())
