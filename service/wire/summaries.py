"""Summaries of results as CBOR with tag 40 arrays: bytes <-> ResultSummary, no sockets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from service.errors import WireError
from service.records import Accounting, Figures, ResultSummary, SeriesStatus
from service.wire import arrays

SUMMARY_BYTES_LIMIT = 1 << 27  # three central slices of 3000x3000 float32


def encode_summary(summary: ResultSummary) -> bytes:
    """Write one summary; a field that is None is left out."""
    tree = {name: value for name in _names(ResultSummary) if (value := getattr(summary, name)) is not None}
    tree["accounting"] = asdict(summary.accounting)
    if summary.figures is not None:
        tree["figures"] = asdict(summary.figures)
    for name in ("path", "picture"):
        if name in tree:
            tree[name] = str(tree[name])
    return arrays.encode({"type": "result", **tree})


def decode_summary(message: bytes | memoryview) -> ResultSummary:
    """Read one summary, `slices` as float32; raise WireError where the bytes are something else."""
    tree = arrays.decode(message, SUMMARY_BYTES_LIMIT)
    if not isinstance(tree, dict) or tree.pop("type", None) != "result":
        raise WireError("not a summary of a result: no map of type 'result'")
    known = {name: tree[name] for name in _names(ResultSummary) if name in tree}
    try:
        return ResultSummary(**known | _records(known))
    except (TypeError, ValueError) as error:
        raise WireError(f"summary of a result: {error}") from error


def _records(tree: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "sequence": _whole(tree, "sequence"),
        "series_id": _whole(tree, "series_id"),
        "series_unique_id": _text(tree, "series_unique_id"),
        "status": SeriesStatus(tree.get("status", "")),
        "accounting": Accounting(**_map(tree, "accounting")),
        "latencies_s": {str(stage): float(value) for stage, value in _map(tree, "latencies_s").items()},
        "slices": {str(name): _plane(name, plane) for name, plane in _map(tree, "slices").items()},
        "finished_at": float(tree.get("finished_at", 0.0)),
        "error": str(tree.get("error", "")),
        **{name: tuple(str(line) for line in tree.get(name, [])) for name in ("notes", "warnings")},
        "journal": str(tree.get("journal", "")),
        "again": tree.get("again") is True,
    }
    found |= {name: float(tree[name]) for name in ("latency_s", "voxel_nm") if name in tree}
    if "figures" in tree:
        found["figures"] = Figures(**_map(tree, "figures"))
    return found | {name: Path(_text(tree, name)) for name in ("path", "picture") if name in tree}


def _plane(name: Any, plane: Any) -> Any:
    if not isinstance(plane, np.ndarray) or plane.ndim != 2:
        raise WireError(f"summary of a result: slice {str(name)[:40]} is no array [row, column]")
    return plane.astype(np.float32, copy=False)


def _map(tree: Mapping[str, Any], name: str) -> dict[Any, Any]:
    value = tree.get(name, {})
    if not isinstance(value, dict):
        raise WireError(f"summary of a result: {name} is {type(value).__name__}, expected a map")
    return value


def _text(tree: Mapping[str, Any], name: str) -> str:
    value = tree.get(name)
    if not isinstance(value, str):
        raise WireError(f"summary of a result: {name} is {type(value).__name__}, expected text")
    return value


def _whole(tree: Mapping[str, Any], name: str) -> int:
    value = tree.get(name)
    if type(value) is not int:
        raise WireError(f"summary of a result: {name} is {type(value).__name__}, expected a whole number")
    return value


def _names(record: type) -> list[str]:
    return [field.name for field in fields(record)]
