"""Forbidden zones: where several motors may not be at once, as inequalities a person can read.

    "delta > 30 and gamma + 0.5*delta > 40"

All inequalities of a zone together describe what may not be entered; two zones are two entries.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from service.errors import SettingsError, one_line

Span = tuple[float, float]
EXAMPLE = "'delta > 30 and gamma + 0.5*delta > 40'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """Inside where `weights[row] @ positions <= bounds[row]` for each row, `axes` in order; `text` as was written."""

    text: str
    axes: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]
    bounds: tuple[float, ...]

    def touched(self, spans: Mapping[str, Span]) -> bool:
        """Whether any point of a box, axis -> (low, high), lies in the zone: axes may be anywhere in it on their way.

        An axis that `spans` does not tell may be anywhere at all.
        """
        box = [_whole(spans.get(axis, ANYWHERE)) for axis in self.axes]
        if not all(_least(row, box) <= bound for row, bound in zip(self.weights, self.bounds, strict=True)):
            return False
        return len(self.weights) == 1 or self._met_together(box)

    def _met_together(self, box: Sequence[Span]) -> bool:
        """A linear programme without an aim: is there a point that is in the box and in the zone?"""
        from scipy.optimize import linprog  # heavy, and every process reads settings with zones in them

        # Each axis as a share of its span, each row in units of its largest weight: solvers know but one tolerance.
        finite = [all(map(math.isfinite, span)) for span in box]
        origins = np.array([span[0] if known else 0.0 for span, known in zip(box, finite, strict=True)])
        spans = np.array([span[1] - span[0] if known else 1.0 for span, known in zip(box, finite, strict=True)])
        weights, bounds = np.array(self.weights) * spans, np.array(self.bounds) - np.array(self.weights) @ origins
        units = np.abs(weights).max(axis=1)
        told = units > 0.0  # the others ask for axes that do not move alone, and each inequality is met by itself
        if not told.any():
            return True
        rows, ends = weights[told] / units[told, None], bounds[told] / units[told] + NEARLY
        shares = [(0.0, 1.0) if known else span for span, known in zip(box, finite, strict=True)]
        found = linprog(np.zeros(len(box)), A_ub=rows, b_ub=ends, bounds=shares)
        return int(found.status) != INFEASIBLE


def _whole(span: Span) -> Span:
    return ANYWHERE if any(map(math.isnan, span)) else span


def _least(weights: Sequence[float], box: Sequence[Span]) -> float:
    return sum(weight * span[0 if weight > 0.0 else 1] for weight, span in zip(weights, box, strict=True) if weight)


ANYWHERE = (-math.inf, math.inf)
INFEASIBLE = 2  # scipy's: no point is in both; any other answer, trouble included, counts as touched
NEARLY = 1e-9  # a zone is touched from this near, as a share of what the axes can do


def parse_zone(text: str) -> Zone:
    """Return the zone that `text` describes; raise SettingsError where it is not linear inequalities joined by and."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        rows = [row for part in _parts(tree) for row in _rows(part)]
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError) as error:
        said = one_line(error) or type(error).__name__
        raise SettingsError(f"zone {text[:200]!r}: {said}; expected linear inequalities such as {EXAMPLE}") from error
    if not all(math.isfinite(number) for row in rows for number in row.values()):
        raise SettingsError(
            f"zone {text[:200]!r}: a number is too large; expected linear inequalities such as {EXAMPLE}"
        )
    axes = tuple(sorted({name for row in rows for name in row if name}))
    return Zone(
        text=text,
        axes=axes,
        weights=tuple(tuple(row.get(axis, 0.0) for axis in axes) for row in rows),
        bounds=tuple(-row.get("", 0.0) for row in rows),
    )


# A linear form: axis -> weight, and "" -> what is added.
Form = dict[str, float]


def _parts(tree: ast.expr) -> Sequence[ast.expr]:
    return tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]


def _rows(tree: ast.expr) -> Iterator[Form]:
    """Each comparison as a form that is 0 or below inside; an edge belongs to the zone."""
    if not isinstance(tree, ast.Compare):
        raise ValueError(f"{ast.unparse(tree)} compares nothing")
    for left, comparison, right in zip([tree.left, *tree.comparators], tree.ops, tree.comparators, strict=False):
        if not isinstance(comparison, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
            raise ValueError(f"{ast.unparse(tree)} is no < or >")
        sign = 1.0 if isinstance(comparison, ast.Lt | ast.LtE) else -1.0
        row = _sum(_form(left), _form(right), -1.0)
        if not any(weight for name, weight in row.items() if name):
            raise ValueError(f"{ast.unparse(tree)} names no axis")
        yield _sum({}, row, sign)


def _form(tree: ast.expr) -> Form:
    match tree:
        case ast.Constant(value=bool()):
            raise ValueError(f"{tree.value!r} is no number")
        case ast.Constant(value=int() | float() as number):
            return {"": float(number)}
        case ast.Name(id=name):
            return {name: 1.0}
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _sum({}, _form(operand), -1.0)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as joined, right=right):
            return _sum(_form(left), _form(right), 1.0 if isinstance(joined, ast.Add) else -1.0)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _scaled(_form(left), _form(right), tree)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return _sum({}, _form(left), 1.0 / _number(_form(right), tree))
    raise ValueError(f"{ast.unparse(tree)} is not linear in the axes")


def _scaled(left: Form, right: Form, tree: ast.expr) -> Form:
    form, number = (right, left) if set(left) <= {""} else (left, right)
    return _sum({}, form, _number(number, tree))


def _number(form: Form, tree: ast.expr) -> float:
    if not set(form) <= {""}:
        raise ValueError(f"{ast.unparse(tree)} is not linear in the axes")
    return form.get("", 0.0)


def _sum(left: Form, right: Form, factor: float) -> Form:
    return {name: left.get(name, 0.0) + factor * right.get(name, 0.0) for name in {*left, *right}}
