"""Angles that lie beside a folder of images: a JSON file of ours, or a SPEC file.

JSON: {"axes": {"theta": [0.1, 0.2], "delta": 32.2}, "rocking_axis", "energy_kev", "distance_m", "pixel_size_m": one or
[row, column], "beam_center_px": [row, column], "roi", "monitor", "transmission", "count_time_s", "instrument",
"sample", "title", and "dark", "flat", "mask" as names of image files in the folder}; degrees; only "axes" is needed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from silx.io.specfile import SpecFile

from service.adapters.scans.hdf5_values import ANGLES
from service.adapters.scans.scan import Facts
from service.adapters.scans.units import kev
from service.errors import SourceError

IMAGES = ("dark", "flat", "mask")
NUMBERS = ("energy_kev", "distance_m")
SERIES = ("monitor", "transmission", "count_time_s")
TEXTS = ("rocking_axis", "instrument", "sample", "title")
PAIRS = ("pixel_size_m", "beam_center_px")
JSON_KEYS = frozenset({"axes", "roi", *IMAGES, *NUMBERS, *SERIES, *TEXTS, *PAIRS})

SPEC_START = re.compile(rb"#[FS] ")
SPEC_MONITORS = ("Monitor", "Current", "mon")
# Pixel edges of the detectors that 34-ID-C names in #UIMDET, m.
SPEC_DETECTORS_M = {"34idcTIM1": 55e-6, "34idcTIM2": 55e-6}
SPEC_ROI = "UIMR5"  # 34-ID-C: first column, columns, first row, rows that were read out
MILLIMETRE = 1e-3


def is_spec(path: Path) -> bool:
    """Whether the file begins as a SPEC file does."""
    with path.open("rb") as file:
        return SPEC_START.match(file.read(3)) is not None


def json_names(path: Path) -> Mapping[str, Any] | None:
    """The content of a JSON file of angles; None where it is another JSON file. Raises SourceError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: not readable as JSON ({error}); mend it or take it out of the folder") from error
    return content if isinstance(content, dict) and "axes" in content else None


def json_facts(path: Path, content: Mapping[str, Any], images: Mapping[str, NDArray[Any]]) -> Facts:
    """Facts from the content of a JSON file; `images` are the dark, flat and mask that it names."""
    if unknown := sorted(set(content) - JSON_KEYS):
        raise SourceError(f"{path}: unknown {', '.join(unknown)}; expected: {', '.join(sorted(JSON_KEYS))}")
    try:
        given: dict[str, Any] = {key: str(content[key]) for key in TEXTS if key in content}
        given |= {key: float(content[key]) for key in NUMBERS if key in content}
        given |= {key: np.atleast_1d(np.asarray(content[key], np.float64)) for key in SERIES if key in content}
        given |= {key: _pair(content[key]) for key in PAIRS if key in content}
        given["axes"] = {
            str(name): np.atleast_1d(np.asarray(value, np.float64)) for name, value in dict(content["axes"]).items()
        }
        if "roi" in content:
            top, bottom, left, right = (int(value) for value in content["roi"])
            given["roi"] = (top, bottom, left, right)
    except (TypeError, ValueError) as error:
        raise SourceError(f"{path}: {error}; expected numbers as docs/reference/recorded-scans.md has them") from error
    mask = images.get("mask")
    return Facts(
        **given, dark=images.get("dark"), flat=images.get("flat"), mask=None if mask is None else np.asarray(mask) > 0
    )


def spec_facts(path: Path, scan: str) -> Facts:
    """Facts from one scan of a SPEC file; `scan` is 'N' or 'N.M'. Raises SourceError, which lists scans that exist."""
    try:
        file = SpecFile(str(path))
        keys = file.keys()
        key = scan if "." in scan else f"{scan}.1"
        if key not in keys:
            raise SourceError(
                f"{path}: no scan {scan or '(none given)'}, it has {keys[0]} to {keys[-1]}; give --scan N"
            )
        found = file[key]
        header = dict(found.scan_header_dict)
        columns = dict(zip(found.labels, np.asarray(found.data, np.float64), strict=True))
        motors = dict(zip(found.motor_names, found.motor_positions, strict=False))
    except (OSError, ValueError, IndexError) as error:
        raise SourceError(f"{path}: not readable as a SPEC file ({error}); copy it again") from error
    return _spec_facts(header, columns, motors)


def _spec_facts(
    header: Mapping[str, str], columns: Mapping[str, NDArray[np.float64]], motors: Mapping[str, float]
) -> Facts:
    lower = {name.lower(): value for name, value in motors.items()}
    axes = {name: np.array([value]) for name, value in lower.items() if name in ANGLES}
    axes |= {name.lower(): values for name, values in columns.items() if name.lower() in ANGLES}
    command = header.get("S", "").split()
    pixel = SPEC_DETECTORS_M.get(header.get("UIMDET", "").rstrip(": "))
    return Facts(
        axes=axes,
        rocking_axis=command[2] if len(command) > 2 else "",
        energy_kev=kev(lower["energy"]) if "energy" in lower else None,
        distance_m=lower["camdist"] * MILLIMETRE if "camdist" in lower else None,
        pixel_size_m=None if pixel is None else (pixel, pixel),
        roi=_spec_roi(header.get(SPEC_ROI, "")),
        monitor=next((columns[name] for name in SPEC_MONITORS if name in columns), None),
        count_time_s=columns.get("Seconds"),
        instrument=header.get("UIMDET", "").rstrip(": "),
        title=" ".join(["scan", *command]),
    )


def _spec_roi(text: str) -> tuple[int, int, int, int] | None:
    numbers = text.split()[:4]
    if len(numbers) != 4:
        return None
    left, columns, top, rows = (int(number) for number in numbers)
    return top, top + rows, left, left + columns


def _pair(value: Any) -> tuple[float, float]:
    first, second = (float(part) for part in (value if isinstance(value, list) else [value, value]))
    return first, second
