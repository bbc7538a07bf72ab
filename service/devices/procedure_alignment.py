"""An alignment that runs procedures too: chains of loops, each with every rule of the plan."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace

from service.alignment.chain import Chain
from service.alignment.dead_man import DeadMan
from service.alignment.journal import Journal, new_name
from service.alignment.loop import Loop
from service.alignment.methods.choose import chosen
from service.alignment.methods.port import Method, Point
from service.alignment.plan import Plan
from service.alignment.procedures.bench import Bench, Result, attempted, bench_of
from service.alignment.procedures.height import eucentric_height
from service.alignment.procedures.reflection import centre_reflection
from service.alignment.procedures.rocking import rocking_curve
from service.alignment.procedures.rotation import centre_of_rotation
from service.alignment.procedures.track import track
from service.alignment.progress import Outcome, Phase, Progress
from service.devices.alignment import Alignment
from service.devices.status import State
from service.errors import RefusedError, SettingsError, one_line


class ProcedureAlignment(Alignment):
    """Each command returns at once; `status` tells the rest, `result` what was found."""

    def rocking_curve(self, axis: str) -> None:
        """Scan an axis ("": that of the settings), and go to the middle of the peak."""
        axis = axis or self._settings.procedures.rotation
        self._start_procedure("RockingCurve", lambda bench: rocking_curve(bench, axis), axis)

    def centre_of_rotation(self) -> None:
        """Tell how far the crystal, which is in the beam, lies from the axis of rotation; correct nothing."""
        self._start_procedure("CentreOfRotation", centre_of_rotation, *self._rotating)

    def eucentric_height(self) -> None:
        """Bring the crystal onto the axis of rotation."""
        self._start_procedure("EucentricHeight", eucentric_height, *self._rotating)

    def centre_reflection(self) -> None:
        """Bring a reflection's spot onto its pixel by the detector's axes."""
        self._start_procedure("CentreReflection", centre_reflection, *self._settings.procedures.detector)

    def track(self, seconds: float) -> None:
        """Keep the crystal in the beam for some seconds, within those of the arming; a Stop ends it in order."""
        if not seconds > 0.0:
            raise SettingsError(f"Track: for {seconds} s; give a time above 0")
        self._start_procedure("Track", lambda bench: track(bench, seconds=seconds))

    @property
    def _rotating(self) -> tuple[str, str, str]:
        names = self._settings.procedures
        return names.rotation, names.across, names.along

    def _start_procedure(self, name: str, procedure: Callable[[Bench], Result], *axes: str) -> None:
        self.must_be_armed(name)
        armed = self._loop.progress
        if self._settings.client:
            raise RefusedError(f"{name}: a client moves these axes; procedures want axes of the server")
        if missing := [axis for axis in axes if axis not in self._settings.axes]:
            raise SettingsError(f"{name}: no {', '.join(missing)} in alignment.axes; name them in procedures")
        self._forget_points()
        message = f"{name}, armed by {armed.armed_by}"
        self._board.update(state=State.RUNNING, message=message, procedure=name, result="", exposures=0)
        chain = Chain(
            by=armed.armed_by, seconds=0.0, told=self._stage_told, commands=self._next, journal=self._stage_journal,
            make=self._stage_loop,
        )  # fmt: skip
        until_s = armed.armed_until_s or time.monotonic()
        self._begin(lambda: self._go_through(procedure, chain, until_s))

    def _go_through(self, procedure: Callable[[Bench], Result], chain: Chain, until_s: float) -> None:
        settings = self._settings
        result, why = None, ""
        try:
            with DeadMan(settings.devices, settings.dead_man_s) as dead_man:
                chain.alive = dead_man.beat
                bench = bench_of(settings, self._open, chain, settings.plan())
                chain.seconds = until_s - time.monotonic()  # the beamline has a clock of its own
                chain.left_s(bench.beamline)
                result, why = attempted(procedure, bench)
        except Exception as error:  # noqa: BLE001 - the axes stand; whatever it was, a person must know
            why = one_line(error)
        last = chain.done[-1].progress if chain.done else Progress(phase=Phase.ENDED)
        if why and last.outcome in (Outcome.NONE, Outcome.ALIGNED):
            last = replace(last, outcome=Outcome.FAILED, reason=why)
        self._loop = Loop(settings, chosen)  # the next Arm is one for all axes
        self._board.update(result=json.dumps(result.figures()) if result else "")
        self._told(last)

    def _stage_told(self, progress: Progress) -> None:
        """While stages follow each other none of them is the end."""
        if progress.running:
            self._told(progress)

    def _stage_journal(self, stage: str, plan: Plan) -> Journal:
        journal = Journal(new_name(self._out).with_suffix(f".{stage}.jsonl"), plan)
        self._board.update(journal=str(journal.path))
        return journal

    def _stage_loop(self, plan: Plan, choose: Callable[[Plan, Point], Method]) -> Loop:
        self._loop = Loop(plan, choose)
        return self._loop
