"""An alignment that knows how its crystal stands: reflections at the present positions, UB, and going to h k l."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from service.adapters.tango import AxisPositions
from service.alignment.angles import ROUNDING_DEG
from service.alignment.goto_plan import goto_plan, moved, require_way
from service.alignment.orientation import Orientation
from service.alignment.orienting import Orienting
from service.alignment.plan import AlignmentSettings
from service.alignment.reflection import Hkl
from service.devices.alignment_status import AlignmentStatus
from service.devices.procedure_alignment import ProcedureAlignment
from service.errors import RefusedError, SettingsError, SourceError
from service.ports import Beamline
from service.settings import Settings


class OrientedAlignment(ProcedureAlignment):
    """Commands of a person; each returns at once, what moves is the loop's. Files are those of `braggloop orient`."""

    def __init__(self, settings: Settings, open_beamline: Callable[[AlignmentSettings], Beamline]) -> None:
        super().__init__(settings.alignment, open_beamline, settings.out)
        self._all = settings
        self._seen = (0, 0)
        self._look_again()

    def add_reflection(self, words: Sequence[str]) -> None:
        """Keep a reflection, h, k, l and a tag where there is one, that is found where the axes stand now."""
        hkl, tag = _indices("AddReflection", words[:3]), " ".join(words[3:])
        orienting = self._orienting()
        orienting.add(hkl, self._standing(orienting), None, tag)
        self._show_reflections()

    def remove_reflection(self, number: int) -> None:
        """Leave a reflection out from now on."""
        self._orienting().remove([number])
        self._show_reflections()

    def fit_orientation(self) -> None:
        """Fit U and UB to the reflections."""
        self._show_orientation(self._orienting().fit())

    def fit_lattice(self) -> None:
        """Fit the lattice, then U and UB."""
        self._show_orientation(self._orienting().fit_with_lattice())

    def hkl(self) -> Hkl:
        """Return h, k, l of what diffracts where the axes stand now."""
        orienting = self._orienting()
        return orienting.hkl_at(self._standing(orienting))

    def goto_hkl(self, indices: Sequence[float]) -> None:
        """Move the axes to a reflection by the shortest way within limits, while armed."""
        hkl, orienting = _indices("GotoHkl", indices), self._orienting()
        self.must_be_armed("GotoHkl")
        standing, planned = self._standing(orienting), self.settings.axes
        best, *_ = orienting.positions(hkl, standing, None, orienting.limits(planned, standing))
        there = moved(best.axes_deg, standing, ROUNDING_DEG)
        if not there:
            raise RefusedError("GotoHkl: the axes stand there already")
        plan = goto_plan(self.settings, there)
        require_way(plan, AxisPositions(self.settings.devices)())
        self.run_plan(plan)

    def wait(self, seen: AlignmentStatus | None, timeout_s: float) -> AlignmentStatus:
        self._look_again()
        return super().wait(seen, timeout_s)

    def _orienting(self) -> Orienting:
        """Made anew each time, so that settings that say nothing of a crystal leave the alignment as it is."""
        return Orienting(self._all)

    def _standing(self, orienting: Orienting) -> Mapping[str, float]:
        if self.settings.client:
            raise RefusedError("a client moves these axes: nobody here knows where they stand; use `braggloop orient`")
        devices = self.settings.devices
        return orienting.standing(AxisPositions({axis: devices[axis] for axis in orienting.axes if axis in devices})())

    def _look_again(self) -> None:
        """Show what is in the files where they have changed: `braggloop orient` writes them, too."""
        try:
            orienting = self._orienting()
        except SettingsError:  # nothing is said of a crystal: whoever asks for one is told
            return
        written = _written_ns(orienting.reflections_file), _written_ns(orienting.file)
        if written == self._seen:
            return
        self._seen = written
        self._show_reflections()
        try:
            self._show_orientation(orienting.orientation())
        except SourceError:
            self._board.update(ub=(), residual_deg=math.nan)

    def _show_reflections(self) -> None:
        try:
            kept = self._orienting().reflections()
        except (SettingsError, SourceError) as error:
            self._board.update(reflections=(str(error),))
            return
        self._board.update(reflections=tuple(f"{number}: {each.reflection.label}" for number, each in kept.items()))

    def _show_orientation(self, orientation: Orientation) -> None:
        self._board.update(ub=tuple(orientation.ub.ravel().tolist()), residual_deg=max(orientation.residuals_deg))


def _written_ns(path: Path) -> int:
    """When a file was written last, 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _indices(command: str, given: Sequence[object]) -> Hkl:
    try:
        h, k, l_ = (float(str(each)) for each in given)
    except ValueError:
        raise SettingsError(
            f"{command}: {' '.join(map(str, given))!r} is not h, k, l: expected three numbers"
        ) from None
    return h, k, l_
