"""What a scan is to reach: conditions on Reconstruction's figures, as a person writes them."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

COMPARED = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
CONDITION = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*(\S+)\s*")


@dataclass(frozen=True)
class Condition:
    """One figure against a number."""

    name: str
    sign: str
    number: float

    def met(self, figures: Mapping[str, Any]) -> bool:
        """Whether it holds; a figure that is not known meets nothing."""
        value = figures[self.name]
        return value is not None and not math.isnan(value) and bool(COMPARED[self.sign](float(value), self.number))


def conditions(text: str, names: Collection[str]) -> tuple[Condition, ...]:
    """Read "resolution < 20, explained > 0.9": all of them are to hold. Raises ValueError where one is not understood,
    or names a figure that is not one of `names`."""
    return tuple(_condition(part, names) for part in re.split(r",|\band\b", text))


def said(wanted: Collection[Condition], figures: Mapping[str, Any]) -> str:
    """Return how conditions are met: `resolution 18.2 < 20`."""
    return ", ".join(f"{one.name} {figures[one.name]:.6g} {one.sign} {one.number:g}" for one in wanted)


def _condition(part: str, names: Collection[str]) -> Condition:
    expected = 'expected conditions such as "resolution < 20, explained > 0.9"'
    if not (found := CONDITION.fullmatch(part)):
        raise ValueError(f"until: {part.strip()!r}; {expected}")
    name, sign, number = found.groups()
    try:
        value = float(number)
    except ValueError:
        raise ValueError(f"until: {number!r} is no number; {expected}") from None
    if name not in names:
        raise ValueError(f"until: {name!r} is no figure of Reconstruction; those are {', '.join(sorted(names))}")
    return Condition(name, sign, value)
