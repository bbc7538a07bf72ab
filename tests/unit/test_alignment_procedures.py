"""Procedures on the twin, beside its truth: a rocking curve, the centre of rotation, the eucentric height, a drift."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import peak
from models.simulate.goniometer import Drift, offset
from service.adapters import twin_scene
from service.adapters.twin_beamline import Counting, TwinBeamline
from service.alignment import events
from service.alignment.chain import Chain, ChainEnded, part
from service.alignment.methods.port import Axis
from service.alignment.methods.rocking import rocking
from service.alignment.plan import AlignmentSettings
from service.alignment.procedures.bench import Bench
from service.alignment.procedures.height import eucentric_height
from service.alignment.procedures.rocking import rocking_curve
from service.alignment.procedures.rotation import centre_of_rotation
from service.alignment.procedures.settings import ProcedureSettings
from service.alignment.procedures.track import track
from service.alignment.rotation_centre import correction
from service.devices.alignment_status import AlignmentStatus
from service.devices.procedure_alignment import ProcedureAlignment
from service.errors import DataError, RefusedError, SettingsError
from service.settings import parse_section
from tests.helpers.streams import until

SEEDS = range(20)
BEAM_M, ROCKING_DEG = twin_scene.BEAM_M, twin_scene.ROCKING_DEG


class Twin(NamedTuple):
    beamline: TwinBeamline
    scene: twin_scene.Scene
    bench: Bench


def twin(seed: int, scene: twin_scene.Scene | None = None, seconds: float = 1e5, **changes: object) -> Twin:
    scene = scene or twin_scene.centred(seed)
    beamline, plan = twin_scene.beamline(scene), twin_scene.plan("peak", 600)
    bench = Bench(
        plan=part(plan, {**plan.axes, "z": twin_scene.translation()}),
        settings=parse_section(ProcedureSettings, changes),
        beamline=beamline,
        centring=Counting(beamline, "fluorescence", twin_scene.EXPOSURE_S),
        chain=Chain(by="a test", seconds=seconds),
    )
    return Twin(beamline, scene, bench)


@pytest.mark.parametrize("seed", range(5))
def test_a_rocking_curve_is_that_of_the_twin_and_eta_ends_in_its_middle(seed: int) -> None:
    beamline, scene, bench = twin(seed)
    curve = rocking_curve(bench).curve
    true = scene.goniometer.reflection_deg - scene.goniometer.drifts["eta"].at(beamline.now_s())
    assert curve.place == pytest.approx(true, abs=0.001)
    assert abs(curve.place - true) < 3.0 * curve.deviations[0]
    assert curve.width == pytest.approx(ROCKING_DEG, rel=0.05)
    assert abs(curve.background - 2.0) < 3.0 * curve.deviations[3]
    assert abs(beamline.off().eta_deg) < 0.002


def test_a_rocking_curve_beside_the_reflection_ends_with_its_reason() -> None:
    _, scene, _ = twin(0)
    away = scene._replace(start={**scene.start, "eta": scene.start["eta"] + 1.0})
    with pytest.raises(ChainEnded, match="scan: exhausted: no peak: the most was "):
        rocking_curve(twin(0, away).bench)


@pytest.mark.parametrize("background", [0.0, 5.0, 200.0, 5000.0])
def test_the_background_of_a_scan_is_told_though_another_was_expected(background: float) -> None:
    places = np.linspace(-2.5, 2.5, 41)
    expected = 2e4 * np.exp(-4.0 * math.log(2.0) * places**2) + background
    curve = peak.along_one(places, np.random.default_rng(1).poisson(expected), 1.0, 1.0)
    assert abs(curve.background - background) < 3.0 * curve.deviations[3] + 1.0
    assert curve.deviations[3] < max(200.0, 0.5 * background)
    assert curve.width == pytest.approx(1.0, rel=0.05)
    assert curve.height == pytest.approx(2e4, rel=0.05)


@pytest.mark.parametrize("level", [0.0, 3.0, 200.0, 1e5])
def test_flat_noise_has_no_rocking_curve(level: float) -> None:
    axis = Axis(name="eta", low=-10.0, high=10.0, width=1.0, tolerance=0.01)
    random = np.random.default_rng(2)
    found = 0
    for _ in range(50):
        method = rocking([axis], np.zeros(1), 1.0, 2.5, 41)
        while (place := method.ask()) is not None:
            method.tell(place, float(random.poisson(level)), 0.0)
        found += not method.failure()
    assert found <= 1


@settings(max_examples=40, deadline=None)
@given(st.floats(-1.0, 1.0), st.floats(0.4, 2.5), st.floats(1e2, 1e5), st.floats(1e-9, 1e3))
def test_a_fit_along_one_axis_tells_a_peak_of_another_width_in_any_unit(
    place: float, width: float, height: float, unit: float
) -> None:
    places = np.linspace(-5.0, 5.0, 81)
    counts = peak.Curve(place, width, height, 2.0, (0.0,) * 4).counts(places)
    curve = peak.along_one(places * unit, counts, unit, 2.0)
    told, true = curve[:4], (place * unit, width * unit, height)
    assert all(abs(a - b) < 2.0 * dev for a, b, dev in zip(told, true, curve.deviations, strict=False))
    assert curve.deviations[0] < 0.1 * width * unit


def test_a_fit_needs_two_places() -> None:
    with pytest.raises(ValueError, match="two different places or more"):
        peak.along_one([1.0, 1.0], [3.0, 4.0], 1.0, 1.0)


def test_the_centre_of_rotation_is_the_twins_as_surely_as_it_says() -> None:
    pulls = []
    for seed in SEEDS:
        beamline, _, bench = twin(seed)
        true_m = beamline.off_axis_m()
        rotation = centre_of_rotation(bench)
        assert rotation.deviation < 1e-6
        pulls.append((rotation.off - true_m) / rotation.deviation)
        assert abs(beamline.off().y_m) < 0.1 * BEAM_M
    assert np.max(np.abs(pulls)) < 2.0
    assert 0.3 < np.sqrt(np.mean(np.square(pulls))) < 1.2


@pytest.mark.parametrize("method", ["scan", "golden"])
def test_it_is_centred_by_any_method_and_corrected_where_asked(method: str) -> None:
    beamline, _, bench = twin(7)
    other = replace(bench, plan=bench.plan.model_copy(update={"method": method}))
    before_m = beamline.off_axis_m()
    rotation = centre_of_rotation(other, correct=True)
    assert abs(before_m) > 20e-6
    assert abs(beamline.off_axis_m()) < 3.0 * rotation.deviation
    assert abs(beamline.off().y_m) < 0.1 * BEAM_M


def test_three_angles_over_degrees_tell_it_too() -> None:
    beamline, _, bench = twin(5, angles_deg=(-1.0, 1.0, 3.0))
    true_m = beamline.off_axis_m()
    rotation = centre_of_rotation(bench)
    assert abs(rotation.off - true_m) < 3.0 * rotation.deviation


def test_a_correction_keeps_the_crystal_in_the_beam_at_its_angle() -> None:
    goniometer = twin_scene.centred(0).goniometer
    across_m, along_m = correction(30e-6, 25.0)
    at = [offset(goniometer, {"y": y, "z": z, "eta": 25.0}, 0.0).y_m for y, z in ((0.0, 0.0), (across_m, along_m))]
    skewed = across_m * (1.0 - math.cos(math.radians(goniometer.skew_deg)))
    assert at[1] == pytest.approx(at[0], abs=2.0 * abs(skewed) + 1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_at_eucentric_height_the_crystal_stays_in_the_beam(seed: int) -> None:
    beamline, scene, bench = twin(seed)
    height = eucentric_height(bench)
    stands = {name: axis.true_position() for name, axis in beamline.axes.items()}
    for turned in np.linspace(-0.5, 0.5, 11):
        off = offset(scene.goniometer, {**stands, "eta": stands["eta"] + turned}, beamline.now_s())
        assert abs(off.y_m) < 0.1 * BEAM_M
    assert height.wander < 0.1 * BEAM_M
    assert len(height.rounds) <= 3


def test_the_wrong_sense_is_told() -> None:
    with pytest.raises(DataError, match=r"is procedures\.sense the other one"):
        eucentric_height(twin(0, sense=-1).bench)


def drifting(seed: int, rate_m: float, rate_deg: float) -> twin_scene.Scene:
    scene = twin_scene.centred(seed)
    drifts = {"x": Drift(rate=rate_m), "y": Drift(rate=-rate_m, swing=5e-9), "eta": Drift(rate=rate_deg)}
    return scene._replace(goniometer=replace(scene.goniometer, drifts=drifts))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_crystal_that_drifts_out_of_the_beam_is_kept_in_it(seed: int) -> None:
    """It walks by 0.9 beam sizes along x and y in the time; its first 40 exposures look for it."""
    beamline, _, bench = twin(seed, drifting(seed, 3e-9, 5e-6))
    offs = []
    bench.chain.told = lambda progress: offs.append((progress.exposures, beamline.off()))
    found = track(bench, exposures=500)
    each = {exposures: off for exposures, off in offs if exposures > 40}
    near = [max(abs(off.x_m), abs(off.y_m)) <= 0.2 * BEAM_M and abs(off.eta_deg) <= 0.02 for off in each.values()]
    assert len(near) == 460
    assert np.mean(near) >= 0.93
    assert max(abs(beamline.off().x_m), abs(beamline.off().y_m)) < 0.1 * BEAM_M
    assert found.walks["x"].per_hour == pytest.approx(-3e-9 * 3600.0, rel=0.2)


def test_a_track_ends_in_time_for_its_arming() -> None:
    beamline, _, bench = twin(1, seconds=30.0)
    found = track(bench)
    assert found.ended == "aligned"
    assert 25.0 < beamline.now_s() < 30.0
    with pytest.raises(SettingsError, match="give a time above 0"):
        track(bench, seconds=0.0)


def test_a_stop_ends_a_track_at_the_best_point() -> None:
    beamline, _, bench = twin(2, drifting(2, 3e-9, 0.0))
    stops = [events.Stop(now_s=0.0)]
    bench.chain.commands = lambda: stops.pop() if stops and beamline.now_s() > 30.0 else None
    assert track(bench).ended == "stopped"
    assert max(abs(beamline.off().x_m), abs(beamline.off().y_m)) < 0.1 * BEAM_M


def test_a_chain_is_armed_once_for_all_its_stages() -> None:
    _, _, bench = twin(0, seconds=8.0)
    with pytest.raises(ChainEnded, match="the arming ended"):
        centre_of_rotation(bench)
    assert len(bench.chain.done) > 1
    assert bench.chain.done[-1].progress.reason.startswith("the arming ended")


def test_the_largest_travel_is_that_of_all_stages_together() -> None:
    beamline, _, bench = twin(0)
    here = beamline.axes["x"].read()
    x = bench.plan.axes["x"].model_copy(update={"largest_travel": 1.5 * BEAM_M})
    there, back = (part(bench.plan, {"x": x}, method="goto", goto=[to]) for to in (here + BEAM_M, here))
    bench.chain.run("there", there, beamline)
    with pytest.raises(ChainEnded, match=r"largest travel of x: .* since arming"):
        bench.chain.run("back", back, beamline)


def test_axes_that_are_missing_are_told() -> None:
    _, _, bench = twin(0, along="height")
    with pytest.raises(SettingsError, match=r"no axis .height. in alignment\.axes; there are x, y, eta, z"):
        centre_of_rotation(bench)


# The controller, on a twin whose clock is that of people


VALUE = "test/counter/1/reflection"


@pytest.fixture
def aligning(tmp_path: Path) -> Iterator[tuple[ProcedureAlignment, TwinBeamline]]:
    _, scene, bench = twin(3)
    beamline = twin_scene.beamline(scene._replace(goniometer=replace(scene.goniometer, drifts={})))
    beamline.rest(time.monotonic())
    settings = parse_section(
        AlignmentSettings,
        {
            **bench.plan.model_dump(), "devices": {name: f"test/axis/{name}" for name in bench.plan.axes},
            "value": VALUE, "procedures": {"value": "test/counter/1/fluorescence"},
        },
    )  # fmt: skip

    def opened(asked: AlignmentSettings) -> Counting:
        return Counting(beamline, asked.value.rpartition("/")[2], twin_scene.EXPOSURE_S)

    alignment = ProcedureAlignment(settings, opened, tmp_path)
    yield alignment, beamline
    alignment.close()


def run(alignment: ProcedureAlignment, begin: Callable[[], None]) -> AlignmentStatus:
    alignment.arm("a test", 1000.0)
    begin()
    until(lambda: alignment.status.phase == "ended", 60.0)
    return alignment.status


def test_the_controller_runs_each_procedure_and_tells_what_it_found(
    aligning: tuple[ProcedureAlignment, TwinBeamline],
) -> None:
    alignment, beamline = aligning
    height = run(alignment, alignment.eucentric_height)
    assert (height.outcome, height.procedure, height.state) == ("aligned", "EucentricHeight", "STANDBY")
    assert abs(json.loads(height.result)["off"]) < 3e-6
    assert abs(beamline.off_axis_m()) < 3e-6
    assert Path(height.journal).exists()
    rotation = run(alignment, alignment.centre_of_rotation)
    assert set(json.loads(rotation.result)["moves"]) == {"y", "z"}
    rocking = run(alignment, lambda: alignment.rocking_curve(""))
    assert json.loads(rocking.result)["width"] == pytest.approx(ROCKING_DEG, rel=0.05)
    tracked = run(alignment, lambda: alignment.track(20.0))
    assert set(json.loads(tracked.result)["walked"]) == {"x", "y", "eta"}


def test_the_controller_refuses_procedures_that_do_not_fit(aligning: tuple[ProcedureAlignment, TwinBeamline]) -> None:
    alignment, _ = aligning
    with pytest.raises(RefusedError, match="CentreOfRotation: the loop is idle; Arm it first"):
        alignment.centre_of_rotation()
    alignment.arm("a test", 1e7)
    with pytest.raises(SettingsError, match=r"RockingCurve: no mu in alignment\.axes"):
        alignment.rocking_curve("mu")
    with pytest.raises(SettingsError, match="Track: for -1 s; give a time above 0"):
        alignment.track(-1)
    alignment.track(1e6)
    until(lambda: alignment.status.exposures > 5)
    with pytest.raises(RefusedError, match="RockingCurve: the loop is "):
        alignment.rocking_curve("")
    alignment.tell(events.Stop)
    until(lambda: alignment.status.phase == "ended")
    assert (alignment.status.outcome, alignment.status.restored) == ("stopped", "best")
    with pytest.raises(RefusedError, match="no best point is known"):
        alignment.restore("best")


@pytest.mark.parametrize("command", [events.Stop, events.Abort])
@pytest.mark.parametrize("procedure", [True, False])
def test_a_stop_right_after_the_start_stops_it(
    aligning: tuple[ProcedureAlignment, TwinBeamline], command: type[events.Event], procedure: bool
) -> None:
    alignment, _ = aligning
    alignment.arm("a test", 1e7)
    if procedure:
        alignment.track(1e6)
    else:
        alignment.start()
    alignment.tell(command)  # no loop runs yet
    until(lambda: alignment.status.phase == "ended", 30.0)
    assert alignment.status.outcome == {events.Stop: "stopped", events.Abort: "aborted"}[command]
    assert alignment.status.exposures <= 1


def test_a_procedure_that_fails_is_a_fault_with_its_reason(aligning: tuple[ProcedureAlignment, TwinBeamline]) -> None:
    alignment, beamline = aligning
    beamline.axes["eta"].fail("stuck")
    status = run(alignment, alignment.centre_of_rotation)
    assert (status.state, status.outcome, status.result) == ("FAULT", "failed", "")
    assert status.reason.startswith("disagreement of eta: ")
