"""CrystalAlignment: brings a crystal into the beam and onto its reflection, with any Tango motors, within limits."""

from __future__ import annotations

from tango.server import command

from service.alignment import events
from service.devices.alignment_status import AlignmentStatus
from service.errors import SettingsError
from tango_devices.attributes import rendered
from tango_devices.controlled import ControlledDevice, refusals


class CrystalAlignment(rendered(AlignmentStatus, ControlledDevice)):  # type: ignore[misc]
    """Aligns the axes of [alignment] in the settings; every move is judged, written down and watched by a dead man."""

    status_class = AlignmentStatus

    @command(doc_in="an [alignment] section as TOML, or the path of a file with one")
    def Configure(self, settings: str) -> None:
        """Take axes, limits, method and value; disarms."""
        with refusals(self):
            self.controller.configure(settings)

    @command(dtype_in=(str,), doc_in="who allows moves, and for how many seconds")
    def Arm(self, who: list[str]) -> None:
        """Allow moves, by name, for a limited time."""
        with refusals(self):
            try:
                by, seconds = who[0], float(who[1])
            except (IndexError, ValueError):
                raise SettingsError(f"Arm: {list(who)} is not a name and a number of seconds") from None
            self.controller.arm(by, seconds)

    @command
    def Start(self) -> None:
        """Look for the best point; RUNNING or MOVING until it is found."""
        with refusals(self):
            self.controller.start()

    @command(doc_in="the axis; empty: procedures.rotation of the settings")
    def RockingCurve(self, axis: str) -> None:
        """Count along an axis and go to the middle of the peak; `result` tells centre, width, height and background."""
        with refusals(self):
            self.controller.rocking_curve(axis)

    @command
    def CentreOfRotation(self) -> None:
        """Centre the crystal at several angles; `result` tells how far it lies from the axis, and the moves there."""
        with refusals(self):
            self.controller.centre_of_rotation()

    @command
    def EucentricHeight(self) -> None:
        """Bring the crystal onto the axis of rotation, so that it stays in the beam as it turns."""
        with refusals(self):
            self.controller.eucentric_height()

    @command
    def CentreReflection(self) -> None:
        """Bring a reflection's spot onto its pixel by the detector's axes; `result` tells how far off it is."""
        with refusals(self):
            self.controller.centre_reflection()

    @command(doc_in="for how long, s; no longer than it is armed")
    def Track(self, seconds: float) -> None:
        """Keep the crystal in the beam; Stop ends it at the best point; `result` tells where that walked."""
        with refusals(self):
            self.controller.track(seconds)

    @command
    def Pause(self) -> None:
        """Hold before the next move."""
        with refusals(self):
            self.controller.tell(events.Pause)

    @command
    def Resume(self) -> None:
        """Go on: look where the axes stand, measure anew, then move."""
        with refusals(self):
            self.controller.tell(events.Resume)

    @command
    def Stop(self) -> None:
        """Stop the axes, then go where the settings say that a stopped loop goes; at rest: disarm."""
        with refusals(self):
            self.controller.tell(events.Stop)

    @command
    def Abort(self) -> None:
        """Stop the axes and leave them there; at rest: disarm."""
        with refusals(self):
            self.controller.tell(events.Abort)

    @command(doc_in="start or best")
    def Restore(self, to: str) -> None:
        """Bring the axes of an ended loop back, while armed."""
        with refusals(self):
            self.controller.restore(to)

    @command
    def Approve(self) -> None:
        """Allow the move that waits for a person."""
        with refusals(self):
            self.controller.tell(events.Approve)

    @command
    def Reject(self) -> None:
        """Forbid the move that waits for a person."""
        with refusals(self):
            self.controller.tell(events.Reject)

    @command(doc_out="what to do: look, move, expose, wait, halt or end, its number and what belongs to it, as JSON")
    def Suggest(self) -> str:
        """Ask what a client that owns its motors is to do now; the same again until it is reported of."""
        with refusals(self):
            return str(self.controller.suggest())

    @command(doc_in="what came of a suggestion, by its number: standing, exposed, axes failed or result lost, as JSON")
    def Report(self, report: str) -> None:
        """Answer a suggestion."""
        with refusals(self):
            self.controller.report(report)

    @command(dtype_in=(str,), doc_in="h, k, l and, where wanted, a tag")
    def AddReflection(self, words: list[str]) -> None:
        """Keep a reflection that is found where the axes stand now."""
        with refusals(self):
            self.controller.add_reflection(words)

    @command(doc_in="its number, as `reflections` tells it")
    def RemoveReflection(self, number: int) -> None:
        """Leave a reflection out from now on; the others keep their numbers."""
        with refusals(self):
            self.controller.remove_reflection(number)

    @command
    def FitOrientation(self) -> None:
        """Fit U and UB to the reflections, two or more; `ub` and `residual` tell them."""
        with refusals(self):
            self.controller.fit_orientation()

    @command
    def FitLattice(self) -> None:
        """Fit the lattice within its system, then U and UB."""
        with refusals(self):
            self.controller.fit_lattice()

    @command(dtype_out=(float,), doc_out="h, k, l, not rounded")
    def Hkl(self) -> list[float]:
        """Tell h, k, l of what diffracts where the axes stand now."""
        with refusals(self):
            return list(self.controller.hkl())

    @command(dtype_in=(float,), doc_in="h, k, l")
    def GotoHkl(self, hkl: list[float]) -> None:
        """Move the axes to a reflection by the least travel within limits, while armed; MOVING until they are there."""
        with refusals(self):
            self.controller.goto_hkl(hkl)

    @command
    def Reset(self) -> None:
        """Acknowledge a fault; disarms."""
        with refusals(self):
            self.controller.reset()
