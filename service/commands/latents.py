"""`braggloop latents`: how the crystal changes over a series of results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.invert.series import on_crystal_grid, semi_axes_of, trajectory
from service.commands.report import Report
from service.errors import DataError, raised_as
from service.results.latent_map import write_latent_map
from service.results.nexus import read_result


def map_latents(paths: Sequence[Path], picture: Path, report: Report) -> None:
    """Tell how the crystals of result files change, in the order given, and draw it to `picture`; all are seen in units
    of the first one's size.

    Raises SourceError for a file that is no result, DataError where there are too few, or one shows no crystal.
    """
    crystals, semi_axes_nm = [], np.zeros(3)
    with report.progress() as advance, raised_as(DataError):
        for number, path in enumerate(paths):
            advance("reading", number / len(paths))
            result = read_result(path)
            try:
                if not number:
                    semi_axes_nm = np.array(semi_axes_of(result.support_lab)) * result.voxel_nm
                axes = semi_axes_nm / result.voxel_nm
                crystals.append(on_crystal_grid(result.object_lab, result.support_lab, axes.tolist()))
            except ValueError as error:
                raise DataError(f"{path}: {error}; leave it out") from error
        found = trajectory(crystals)
    names = [path.stem for path in paths]
    write_latent_map(found, names, picture)
    changes = zip(names, found.surface, found.phase, strict=True)
    rows = [(name, f"surface {surface:.2%} of the radius, phase {phase:.3f} rad") for name, surface, phase in changes]
    report.table("against the first crystal, rms", [*rows, ("picture", str(picture))])
    report.finish(
        {
            "names": names,
            "surface": found.surface.tolist(),
            "phase_rad": found.phase.tolist(),
            "places": found.places.tolist(),
            "shares": list(found.shares),
            "picture": str(picture),
        }
    )
