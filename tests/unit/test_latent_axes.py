"""Latents as axes beside motors: bounds, steps, rates, the value that both make, and a crystal that is followed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.align import follow
from models.invert.directions import Directions, Frame, agreement, changing
from models.simulate.goniometer import Goniometer
from service.adapters.latent_axes import BesideLatents, LatentAxis
from service.adapters.twin_beamline import Trouble, TwinBeamline
from service.adapters.twin_drifting import LATENTS, Camera, beside_latents, drifting, follow_plan
from service.alignment.drive import Driver
from service.alignment.guard import Known, refusal
from service.alignment.journal import Journal, replayed
from service.alignment.loop import Loop
from service.alignment.methods.choose import chosen
from service.alignment.methods.port import Point
from service.alignment.plan import Plan
from service.alignment.progress import Outcome
from service.errors import SettingsError
from service.settings import AxisSettings

TRUE = {"radius": 1.0, "stretch": 0.0, "strain": 1.5}


@pytest.fixture(scope="module")
def crystal() -> Directions:
    return changing()


class Script:
    """A method that proposes points in their order, then believes the last one."""

    def __init__(self, points: list[tuple[float, float]]) -> None:
        self._points, self._best, self.refusals = list(points), points[-1], 0

    def ask(self) -> Point | None:
        return np.array(self._points.pop(0)) if self._points else None

    def tell(self, at: Point, value: float, time_s: float) -> None: ...

    def refused(self) -> None:
        self.refusals += 1

    def failure(self) -> str:
        return ""

    def best(self) -> Point:
        return np.array(self._best)


def flat(_: object) -> Frame:
    return np.ones((4, 4), dtype=np.float32)


def both() -> tuple[BesideLatents, TwinBeamline, list[float]]:
    """A motor and a latent, the motor's twin, and where the latent was when a pattern was asked of it."""
    settings = AxisSettings(position=0.0, velocity=1.0, low_limit=-100.0, high_limit=100.0)
    twin = TwinBeamline(Goniometer(rocking_fwhm_deg=5.0), {"eta": settings})
    asked: list[float] = []

    def predicted(latents: object) -> Frame:
        assert isinstance(latents, dict)
        asked.append(latents["radius"])
        return flat(latents)

    return BesideLatents(twin, {"radius": LatentAxis("radius", 1.0, 0.5, 1.5)}, flat, predicted), twin, asked


def plan(**radius: float) -> Plan:
    eta = {"low": -10.0, "high": 10.0, "width": 5.0, "tolerance": 0.05, "largest_step": 1.0}
    latent = {"low": 0.6, "high": 1.4, "width": 0.2, "tolerance": 0.01, "largest_step": 0.1, **radius}
    return Plan.model_validate({"axes": {"eta": eta, "radius": latent}, "collapse_share": 0.0})


def test_a_latent_is_where_it_was_sent_at_once_and_nowhere_else() -> None:
    axis = LatentAxis("radius", 1.0, 0.5, 1.5)
    axis.move(1.2)
    assert (axis.name, axis.read(), axis.moving) == ("radius", 1.2, False)
    axis.abort()
    for beyond in (0.4, 1.6, math.nan):
        with pytest.raises(SettingsError, match=r"radius: .* is outside 0\.5 to 1\.5; choose one inside"):
            axis.move(beyond)
    assert axis.read() == 1.2


def test_motors_and_latents_go_together_in_steps_that_the_plan_allows(tmp_path: Path) -> None:
    beamline, _, asked = both()
    points, asked_plan = [(0.5, 1.05), (1.0, 1.35)], plan()
    with Journal(tmp_path / "both.jsonl", asked_plan) as journal:
        loop = Loop(asked_plan, lambda _, __: Script(points))
        progress = Driver(loop, beamline, journal).align("a person", 1000.0)
    assert progress.outcome is Outcome.ALIGNED
    assert asked == pytest.approx([1.05, 1.35])
    assert progress.moves == 1 + 3 + 1  # a step, three legs of 0.1, and to the best point, where they stand
    assert replayed(journal.path, lambda asked: Loop(asked, lambda _, __: Script(points))) == []


def test_a_latent_beyond_its_bounds_is_refused_and_the_next_proposal_made() -> None:
    beamline, _, asked = both()
    method = Script([(0.0, 1.45), (0.0, 1.1)])
    progress = Driver(Loop(plan(), lambda _, __: method), beamline).align("a person", 1000.0)
    assert (progress.outcome, progress.refused, method.refusals) == (Outcome.ALIGNED, 1, 1)
    assert asked == pytest.approx([1.1])


def test_rules_name_the_latent() -> None:
    limits = plan(largest_rate=0.05).limits()
    known = Known(now_s=1.0, armed_until_s=10.0, positions={"eta": 0.0, "radius": 1.0}, moved_s={"radius": 0.0})
    told = [str(refusal(limits, known, {"radius": to})) for to in (1.5, 1.3, 1.08, 1.04)]
    assert told[0].startswith("soft limit of radius: 1.5, allowed 0.6 to 1.4")
    assert told[1].startswith("largest step of radius: 0.3, allowed 0.1")
    assert told[2].startswith("largest rate of radius: 0.08 in 1 s, allowed 0.05 a second")
    assert told[3] == "None"


def test_a_largest_rate_makes_the_loop_wait() -> None:
    beamline, twin, _ = both()
    Driver(Loop(plan(largest_rate=0.01), lambda _, __: Script([(0.0, 1.1)])), beamline).align("a person", 1000.0)
    assert twin.now_s() > 10.0


@pytest.mark.parametrize("trouble", [Trouble.NAN, Trouble.NO_BEAM])
def test_where_nothing_is_counted_nothing_is_explained(trouble: Trouble) -> None:
    beamline, twin, asked = both()
    twin.trouble = trouble
    value = beamline.expose().value
    assert math.isnan(value) if trouble is Trouble.NAN else value == 0.0
    assert not asked


def test_the_agreement_knows_no_scale_and_falls_to_half_within_a_width(crystal: Directions) -> None:
    true = crystal.frame(TRUE)
    assert agreement(true, 1e4 * true) == pytest.approx(1.0, abs=1e-3)
    for name, latent in LATENTS.items():
        for side in (-0.5, 0.5):
            other = crystal.frame({**TRUE, name: TRUE[name] + side * latent.width})
            assert 0.3 < agreement(other, true) < 0.6


def test_a_frame_is_the_middle_slice_of_the_pattern(crystal: Directions) -> None:
    object_ = crystal.space.objects(crystal.latents(TRUE)[None])[0].numpy()
    field = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(object_.astype(np.complex128))))
    middle = np.abs(field[object_.shape[0] // 2]) ** 2
    assert np.allclose(crystal.frame(TRUE), middle / middle.sum(), rtol=1e-3, atol=1e-7)


def test_photons_shared_out_are_those_that_were_counted() -> None:
    scene = drifting(3)
    beamline, twin = beside_latents(scene)
    assert set(beamline.axes) == {"x", "y", "z", "eta", *LATENTS}
    counted = twin.expose()
    frame = Camera(scene, twin).seen(counted)
    assert frame.sum() == counted.value
    true = scene.crystal.frame(scene.latents(counted.taken_s))
    assert agreement(true, frame) > 0.5


def test_a_crystal_that_walks_and_changes_is_followed() -> None:
    found = follow.run([20], exposures=200)
    together, nothing = (np.abs(found[name].off[0, 100:]) for name in (follow.TOGETHER, follow.NOTHING))
    assert np.all(np.median(together, axis=0) < [0.15, 0.15, 0.15, 0.06, 0.06, 0.06])
    assert np.mean(together) < 0.5 * np.mean(nothing)
    assert found[follow.TOGETHER].lit.mean() > 0.8


def test_a_plan_that_follows_knows_latents_and_motors() -> None:
    asked = follow_plan("seeking", 10)
    assert tuple(asked.axes) == ("x", "y", "eta", *LATENTS)
    assert asked.follow
    beamline, _ = beside_latents(drifting(0))
    progress = Driver(Loop(asked, chosen), beamline).align("a person", 1000.0)
    assert (progress.outcome, progress.exposures) == (Outcome.EXHAUSTED, 10)
