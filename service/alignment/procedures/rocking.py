"""The rocking curve: counts over an angle, the fit to them, and the axis in the middle of it."""

from __future__ import annotations

from dataclasses import dataclass

from models.peak import Curve
from service.alignment.procedures.bench import Bench


@dataclass(frozen=True, slots=True, kw_only=True)
class RockingCurve:
    """`places` of `axis`, read back, with their `counts`, and the `curve` that is fitted to them."""

    axis: str
    places: tuple[float, ...]
    counts: tuple[float, ...]
    curve: Curve

    def figures(self) -> dict[str, object]:
        centre, width, height, background = self.curve.deviations
        return {
            "axis": self.axis,
            "centre": self.curve.place, "centre_deviation": centre,
            "width": self.curve.width, "width_deviation": width,
            "height": self.curve.height, "height_deviation": height,
            "background": self.curve.background, "background_deviation": background,
        }  # fmt: skip


def rocking_curve(bench: Bench, axis: str = "") -> RockingCurve:
    """Scan `axis` (that of the settings where "" is given), go to the middle of the peak, and return the curve.

    Its width is that at half height; deviations are standard deviations, of counting and of a shape other than that of
    the fit. Raises ChainEnded where there is no peak within the scan.
    """
    axis = axis or bench.settings.rotation
    settings = bench.settings
    plan = bench.part(axis, method="rocking", reach=settings.rocking_widths, points=settings.rocking_points)
    stage = bench.chain.run("scan", plan, bench.beamline)
    return RockingCurve(
        axis=axis,
        places=tuple(float(told.at[0]) for told in stage.told),
        counts=tuple(told.value for told in stage.told),
        curve=bench.fitted(stage, axis),
    )
