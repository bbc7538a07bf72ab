"""A crystal oriented with an instrument's own axes: reflections kept, U and UB from them, and where a reflection is.

What `[orientation]` of the settings says, done; nothing is moved here. Axes and circles are in degrees.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from models.files import written_whole
from models.simulate.metals import LATTICE_NM
from service.alignment import orientation_file, reflection_list
from service.alignment.angles import ROUNDING_DEG, Limits, Mode, hkl_at, positions_for, within_limits
from service.alignment.circles import PRESENT, SAMPLE, Constraints, circles_of, preset
from service.alignment.orientation import Orientation, orient, refined, refined_with_lattice
from service.alignment.orientation_settings import LatticeSettings
from service.alignment.plan import PlannedAxis
from service.alignment.reflection import Hkl, Lattice, Reflection
from service.alignment.reflection_list import Kept
from service.errors import GeometryError, ResultError, SettingsError, SourceError
from service.settings import Settings

ANGSTROM_PER_NM = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place at which a reflection diffracts: the instrument's axes, You's circles, and the travel of all axes."""

    axes_deg: Mapping[str, float]
    circles_deg: Mapping[str, float]
    travel_deg: float


class Orienting:
    """The orientation that some settings tell of. Files are read anew each time: other processes change them too.

    Raises SettingsError where circles or lattice say nothing.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._geometry = settings.orientation, settings.geometry
        self._circles = circles_of(self._geometry.instrument, self._settings.circles)
        self.file = settings.out / self._settings.file
        self.reflections_file = self.file.with_name(f"{self.file.stem}-reflections.json")

    @property
    def axes(self) -> tuple[str, ...]:
        """The instrument's axes that turn circles."""
        return self._circles.axes

    @property
    def lattice(self) -> Lattice:
        """The lattice of the settings, not one that was fitted."""
        given, element = self._settings.lattice, self._settings.element
        if given is not None:
            return _lattice(given)
        if not element:
            raise SettingsError("orientation: no lattice; name an element, or give [orientation.lattice]")
        edge = LATTICE_NM[element] * ANGSTROM_PER_NM
        return Lattice(name=element, a_angstrom=edge, b_angstrom=edge, c_angstrom=edge, system="cubic")

    def energy_kev(self, given: float | None = None) -> float:
        """Return the energy that is given, or the settings'; raise SettingsError where there is none."""
        energy_kev = self._geometry.energy_kev if given is None else given
        if energy_kev is None:
            raise SettingsError("no photon energy: give --energy, or energy_kev in [geometry]")
        return energy_kev

    def standing(self, axes_deg: Mapping[str, float]) -> dict[str, float]:
        """Return where all axes stand: as told, or as `geometry.angles_deg` says of those that nobody tells.

        Raises GeometryError where an axis is no axis of the circles, or is told by nobody.
        """
        if unknown := sorted(set(axes_deg) - set(self.axes)):
            raise GeometryError(f"{', '.join(unknown)} turns no circle: expected {', '.join(self.axes)}")
        told = {**self._geometry.angles_deg, **axes_deg}
        if missing := [axis for axis in self.axes if axis not in told]:
            raise GeometryError(
                f"nobody says where {', '.join(missing)} stands: give --angle {missing[0]}=DEGREES, a device in"
                " [alignment.devices], or an angle in geometry.angles_deg"
            )
        return {axis: float(told[axis]) for axis in self.axes}

    # Reflections

    def reflections(self) -> dict[int, Kept]:
        """Return number -> reflection, of those that were not removed."""
        return reflection_list.read(self.reflections_file)

    def add(self, hkl: Hkl, axes_deg: Mapping[str, float], energy_kev: float | None, tag: str) -> tuple[int, Kept]:
        """Keep a reflection that is found where the axes stand; return it with its number."""
        standing = self.standing(axes_deg)
        reflection = Reflection(
            hkl=hkl, angles_deg=self._circles.of(standing), energy_kev=self.energy_kev(energy_kev), tag=tag
        )
        kept = Kept(reflection=reflection, axes_deg=standing, added=_now())
        return reflection_list.add(self.reflections_file, kept), kept

    def remove(self, numbers: Iterable[int]) -> None:
        reflection_list.remove(self.reflections_file, numbers, _now())

    # Orientation

    def fit(self) -> Orientation:
        """Return U and UB from all reflections, saved: of two by Busing and Levy, of more by least squares."""
        found, tolerance_deg = self._found(), self._settings.two_theta_tolerance_deg
        if len(found) > 2:
            return self._saved(refined(self.lattice, found, tolerance_deg))
        return self._saved(orient(self.lattice, found, tolerance_deg))

    def fit_with_lattice(self) -> Orientation:
        """Return `fit` with the lattice fitted first, within its system."""
        return self._saved(refined_with_lattice(self.lattice, self._found(), self._settings.two_theta_tolerance_deg))

    def orientation(self) -> Orientation:
        """Return the orientation that was saved last; raise SourceError where there is none."""
        try:
            return orientation_file.load(self.file)
        except SourceError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            raise SourceError(f"no orientation {self.file}: add two reflections or more, then fit them") from error

    def current(self, orientation: Orientation) -> bool:
        """Whether an orientation rests on the reflections as they are now."""
        return tuple(self._found()) == orientation.reflections

    def _found(self) -> list[Reflection]:
        return [kept.reflection for kept in self.reflections().values()]

    def _saved(self, orientation: Orientation) -> Orientation:
        """Save it; a former one is kept beside it, under the time at which it was replaced."""
        try:
            if self.file.exists():
                former = self.file.with_name(f"{self.file.stem}-until-{_stamp()}.json")
                with written_whole(former) as partial:
                    partial.write_bytes(self.file.read_bytes())
        except OSError as error:
            raise ResultError(f"orientation {self.file}: {error.strerror}; the former one cannot be kept") from error
        orientation_file.save(orientation, self.file)
        return orientation

    # There and back

    def hkl_at(self, axes_deg: Mapping[str, float], energy_kev: float | None = None) -> Hkl:
        """Return the indices, not rounded, of what diffracts into the detector's centre where the axes stand."""
        circles_deg = self._circles.of(self.standing(axes_deg))
        return hkl_at(self.orientation(), circles_deg, self.energy_kev(energy_kev))

    def limits(
        self, planned: Mapping[str, PlannedAxis], axes_deg: Mapping[str, float]
    ) -> dict[str, tuple[float, float]]:
        """Return axis -> (low, high): the plan's; an axis that it does not name stays, unless it names none of them."""
        limits = {axis: (planned[axis].low, planned[axis].high) for axis in self.axes if axis in planned}
        standing = self.standing(axes_deg)
        return {axis: limits.get(axis, (standing[axis], standing[axis])) for axis in self.axes} if limits else {}

    def positions(
        self, hkl: Hkl, axes_deg: Mapping[str, float], energy_kev: float | None, limits_deg: Limits
    ) -> list[Position]:
        """Return where the axes may go for a reflection, the least travel first.

        `limits_deg` maps axis -> (low, high); others turn freely. Raises GeometryError where the reflection cannot be
        reached, or not within limits: then with the axis, where it would be, and both limits.
        """
        standing = self.standing(axes_deg)
        current_deg = self._circles.of(standing)
        found = positions_for(
            self.orientation(), hkl, self.energy_kev(energy_kev), mode=self._mode(current_deg),
            limits_deg=self._circles.limits_of(limits_deg), current_deg=current_deg,
        )  # fmt: skip
        ways = [_clipped(self._circles.axes_at(circles), limits_deg) for circles in found]
        return [
            Position(axes_deg=axes, circles_deg=self._circles.of(axes), travel_deg=_travel_deg(axes, standing))
            for axes in within_limits(hkl, ways, limits_deg)
        ]

    def _mode(self, current_deg: Mapping[str, float]) -> Mode:
        """Circles that nothing turns are held, and what the settings say; "present" is where a circle is now."""
        held = {name: current_deg[name] if value == PRESENT else value for name, value in self._constraints.items()}
        return Mode(
            constraints={**self._circles.fixed_deg, **held},
            reference_hkl=self._settings.reference_hkl,
            surface_hkl=self._settings.surface_hkl,
        )

    @property
    def _constraints(self) -> Constraints:
        if self._settings.constraints:
            return self._settings.constraints
        known = None if self._settings.circles else preset(self._geometry.instrument)
        if known is None:
            raise SettingsError(
                "orientation.constraints: says nothing of what is held; name three with the circles that stand, such as"
                f" {SAMPLE[2]} = 'present', {SAMPLE[3]} = 'present'"
            )
        return known.constraints


def _lattice(given: LatticeSettings) -> Lattice:
    right_deg = 120.0 if given.system == "hexagonal" else 90.0
    return Lattice(
        name=given.name,
        system=given.system,
        a_angstrom=given.a_angstrom,
        b_angstrom=given.a_angstrom if given.b_angstrom is None else given.b_angstrom,
        c_angstrom=given.a_angstrom if given.c_angstrom is None else given.c_angstrom,
        alpha_deg=given.alpha_deg,
        beta_deg=given.beta_deg,
        gamma_deg=right_deg if given.gamma_deg is None else given.gamma_deg,
    )


def _clipped(axes_deg: Mapping[str, float], limits_deg: Limits) -> dict[str, float]:
    """Return the same position with the last digits that signs and offsets cost taken back to the limits."""
    clipped = dict(axes_deg)
    for axis, (low, high) in limits_deg.items():
        inside = min(max(axes_deg[axis], low), high)
        if abs(inside - axes_deg[axis]) <= ROUNDING_DEG:
            clipped[axis] = inside
    return clipped


def _travel_deg(axes_deg: Mapping[str, float], standing_deg: Mapping[str, float]) -> float:
    return sum(abs(angle - standing_deg[axis]) for axis, angle in axes_deg.items())


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _stamp() -> str:
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**9:09}"
