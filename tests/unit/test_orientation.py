"""UB from reflections: diffcalc-core's scenarios through our functions, what must hold, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from models.bcdi.geometry import HC_KEV_ANGSTROM
from service.alignment.angles import hkl_at
from service.alignment.orientation import Orientation, orient, refined, refined_with_lattice
from service.alignment.reflection import Reflection, crystal
from service.errors import GeometryError, SettingsError
from tests.helpers.diffcalc_scenarios import (
    BISECT,
    LATTICES,
    PT_FOUND,
    PT_U,
    SCENARIOS,
    SI,
    SI_CHI,
    SI_MU,
    SI_U,
    UNIT,
    ZERO,
    cubic,
    found,
    lattice,
    reached,
    scenario,
    solved,
    standing,
    turns,
)

GOLD = lattice("cubic", 4.0782, 4.0782, 4.0782)
FOUR_CIRCLES = {"mu": 0, "nu": 0, "bisect": True}


@pytest.mark.parametrize("name", SCENARIOS)
def test_ub_is_diffcalcs(name) -> None:
    cell, reflections = scenario(name)
    *_, u, b, _ = SCENARIOS[name]
    np.testing.assert_allclose(orient(cell, reflections).ub, np.array(u) @ np.array(b), atol=1e-4)


@pytest.mark.parametrize("name", SCENARIOS)
def test_found_angles_are_read_as_diffcalc_reads_them(name) -> None:
    cell, (first, second, *_) = scenario(name)
    orientation = orient(cell, [first, second])
    np.testing.assert_allclose(hkl_at(orientation, first.angles_deg, first.energy_kev), first.hkl, atol=2e-4)
    np.testing.assert_allclose(
        hkl_at(orientation, second.angles_deg, second.energy_kev), SCENARIOS[name][-1], atol=2e-4
    )


@pytest.mark.parametrize(
    ("cell", "seen", "u"),
    [
        (lattice("orthorhombic", *SI), SI_MU, SI_U),
        (lattice("orthorhombic", *SI), SI_CHI, SI_U),
        (lattice("triclinic", 6.204, 4.806, 23.215, 90, 90, 49.8), PT_FOUND, PT_U),
    ],
)
def test_u_of_surfaces_is_diffcalcs(cell, seen, u) -> None:
    orientation = orient(cell, [found(hkl, angles, 19.5005033) for hkl, angles in seen])
    np.testing.assert_allclose(orientation.u, u, atol=1e-4)


@pytest.mark.parametrize("name", ["orthorhombic", "triclinic", "monoclinic"])
def test_lattice_and_u_are_refined_as_diffcalcs(name) -> None:
    cell, reflections = scenario(name)
    stretched = [value * factor for value, factor in zip(cell.cell, (1.06, 1.07, 0.94, 1.05, 1.06, 0.95), strict=True)]
    free = {"orthorhombic": 3, "triclinic": 6, "monoclinic": 3}[name]
    start = lattice(name, *stretched[:free], *cell.cell[free:])
    if name == "monoclinic":
        start = replace(start, beta_deg=cell.beta_deg * 1.06)
    orientation = refined_with_lattice(start, reflections)
    np.testing.assert_allclose(orientation.lattice.cell, cell.cell, atol=5e-3)
    np.testing.assert_allclose(orientation.u, SCENARIOS[name][3], atol=5e-4)
    assert max(orientation.residuals_deg) < 0.01


@pytest.mark.parametrize("name", SCENARIOS)
def test_refined_agrees_with_the_scenarios(name) -> None:
    cell, reflections = scenario(name)
    orientation = refined(cell, reflections)
    assert np.rad2deg(Rotation.from_matrix(orientation.u @ orient(cell, reflections).u.T).magnitude()) < 1.2
    assert (
        np.square(orientation.residuals_deg).sum() <= np.square(orient(cell, reflections).residuals_deg).sum() + 1e-12
    )


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(LATTICES), turns)
def test_ub_of_its_own_angles(cell, u) -> None:
    truth, reflections = standing(cell, u), []
    for hkl in [(1, 1, 1), (2, 0, 0), (0, 2, 1), (-1, 0, 2)]:
        positions = reached(truth, FOUR_CIRCLES, hkl, 12.0)
        assume(positions)
        reflections.append(Reflection(hkl=hkl, angles_deg=positions[0], energy_kev=12.0))
    for orientation in (orient(cell, reflections), refined(cell, reflections), refined_with_lattice(cell, reflections)):
        np.testing.assert_allclose(orientation.ub, truth.ub, atol=2e-4 if orientation.lattice != cell else 1e-6)
        assert max(orientation.residuals_deg) < 0.01


def noisy(truth: Orientation, sigma_deg: float, rng: np.random.Generator, energy_kev: float = 10.0) -> list[Reflection]:
    """Bisecting, so that errors of eta and chi move q by as much in its two directions."""
    reflections = []
    for hkl in [(1, 1, 1), (-1, 1, 1), (2, 0, 0), (0, 2, 2), (1, -1, 3), (3, 1, -1), (0, -2, 2), (1, 3, 1)]:
        angles = solved(truth, FOUR_CIRCLES, hkl, energy_kev, {"delta": (0, 180)})[0]
        moved = angles | {axis: angles[axis] + rng.normal(0.0, sigma_deg) for axis in ("eta", "chi")}
        reflections.append(Reflection(hkl=hkl, angles_deg=moved, energy_kev=energy_kev))
    return reflections


def off_deg(orientation: Orientation, truth: Orientation):
    """Rotation vector in degrees from the true U to the found one, You's frame."""
    return np.rad2deg(Rotation.from_matrix(orientation.u @ truth.u.T).as_rotvec())


def test_refined_recovers_u_within_its_uncertainty() -> None:
    rng, sigma_deg, runs, squares, of_two, of_all = np.random.default_rng(54), 0.02, 60, [], [], []
    for _ in range(runs):
        truth = standing(GOLD, Rotation.random(random_state=rng).as_matrix())
        reflections = noisy(truth, sigma_deg, rng)
        orientation = refined(GOLD, reflections)
        directions = np.array([truth.u @ reflection.hkl / np.linalg.norm(reflection.hkl) for reflection in reflections])
        information = (len(directions) * np.eye(3) - directions.T @ directions) / sigma_deg**2
        off = off_deg(orientation, truth)
        squares.append(off @ information @ off)
        of_all.append(np.linalg.norm(off))
        of_two.append(np.linalg.norm(off_deg(orient(GOLD, reflections), truth)))
        degrees_of_freedom = 2 * len(reflections) - 3
        expected = sigma_deg * np.sqrt(degrees_of_freedom / len(reflections))
        assert np.sqrt(np.mean(np.square(orientation.residuals_deg))) == pytest.approx(expected, rel=0.6)
    assert np.mean(squares) == pytest.approx(3.0, abs=4 * np.sqrt(6 / runs))  # chi square, three degrees of freedom
    assert np.mean(of_all) < 0.6 * np.mean(of_two)


def test_lattice_is_refined_within_its_system() -> None:
    rng, true = np.random.default_rng(3), lattice("tetragonal", 3.84, 3.84, 5.43)
    truth = standing(true, Rotation.random(random_state=rng).as_matrix())
    reflections = noisy(truth, 0.005, rng)
    orientation = refined_with_lattice(lattice("tetragonal", 3.86, 3.86, 5.40), reflections)
    np.testing.assert_allclose(orientation.lattice.cell, true.cell, rtol=1e-5)
    assert orientation.lattice.a_angstrom == orientation.lattice.b_angstrom
    assert orientation.lattice.gamma_deg == 90.0
    assert np.abs(orientation.two_theta_offsets_deg).max() < 1e-3
    assert np.abs(refined(lattice("tetragonal", 3.86, 3.86, 5.40), reflections).two_theta_offsets_deg).max() > 0.05


def test_lattice_of_a_fit_is_free_of_diffcalcs_h_c() -> None:
    truth = standing(GOLD, Rotation.from_euler("XYZ", [10, 20, 30], True).as_matrix())
    reflections = noisy(truth, 0.0, np.random.default_rng(0))
    assert refined_with_lattice(GOLD, reflections).lattice.a_angstrom == pytest.approx(4.0782, rel=2e-7)


def test_three_vectors_give_a_triclinic_lattice() -> None:
    cell, reflections = scenario("triclinic")
    three = [reflections[number] for number in (0, 3, 4)]
    orientation = refined_with_lattice(lattice("triclinic", *[value * 1.004 for value in cell.cell]), three)
    np.testing.assert_allclose(orientation.lattice.cell, cell.cell, atol=5e-3)


def test_small_angles_are_not_taken_for_parallel() -> None:
    cell = lattice("cubic", 200.0, 200.0, 200.0)
    truth = standing(cell, Rotation.from_euler("XYZ", [10, 20, 30], True).as_matrix())
    reflections = [
        Reflection(hkl=hkl, angles_deg=solved(truth, BISECT, hkl, 20.0)[0], energy_kev=20.0)
        for hkl in [(1, 0, 0), (0, 1, 0)]
    ]
    np.testing.assert_allclose(orient(cell, reflections).u, truth.u, atol=1e-6)


def test_each_reflection_has_its_own_energy() -> None:
    cell, (first, second, *_) = scenario("orthorhombic")
    angles = solved(orient(cell, [first, second]), BISECT, (1, 0, 2), 18.0)[0]
    other = Reflection(hkl=(1, 0, 2), angles_deg=angles, energy_kev=18.0)
    orientation = orient(cell, [first, other])
    np.testing.assert_allclose(orientation.ub, orient(cell, [first, second]).ub, atol=1e-3)
    assert orientation.wavelength_angstrom == pytest.approx(HC_KEV_ANGSTROM / 15.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hkl": (0, 0, 0)}, "hkl is 0 0 0, the direct beam"),
        ({"hkl": (1, 0, math.nan)}, "hkl is 1 0 nan: expected three finite numbers"),
        ({"hkl": (1, 0)}, "expected three finite numbers"),
        ({"energy_kev": -8.0}, "photon energy is -8 keV"),
        ({"energy_kev": math.inf}, "photon energy is inf keV"),
        ({"angles_deg": {"mu": 0, "nu": 0, "delta": 60, "eta": 30}}, "angles lack chi, phi: expected mu, delta, nu"),
        ({"angles_deg": ZERO | {"delta": math.nan}}, "delta is nan deg: expected a finite angle"),
        ({"angles_deg": ZERO | {"delta": 60, "gamma": 1.0}}, "there is no axis gamma: expected mu, delta, nu"),
        ({"angles_deg": ZERO}, r"reflection 1 0 0 \(first\): nu and delta leave the detector in the direct beam"),
    ],
)
def test_reflections_that_are_none(changes, words) -> None:
    good = {"hkl": (1, 0, 0), "angles_deg": ZERO | {"delta": 60, "eta": 30}, "energy_kev": 8.0, "tag": "first"}
    Reflection(**good)
    with pytest.raises(GeometryError, match=words):
        Reflection(**good | changes)


@pytest.mark.parametrize("eta", range(0, 360, 10))
def test_two_theta_ends_at_180(eta) -> None:
    assert found((2, 0, 0), (0, 180, 0, eta, eta / 3, 0)).two_theta_deg == pytest.approx(180.0, abs=1e-5)


@pytest.mark.parametrize(
    ("system", "cell", "words"),
    [
        ("cubic", (4.0, 4.0, 5.0), "lattice of crystal: 4 4 5 90 90 90 is not cubic, which would be 4 4 4 90 90 90"),
        ("monoclinic", (4.0, 5.0, 6.0, 100.0), "is not monoclinic, which would be 4 5 6 90 90 90"),
        ("hexagonal", (4.0, 4.0, 6.0), "is not hexagonal, which would be 4 4 6 90 90 120"),
        ("triclinic", (4.0, 4.0, 6.0, 30.0, 40.0, 110.0), "is no triclinic cell"),
        ("triclinic", (4.0, -4.0, 6.0), "expected edges and angles that are finite and positive"),
        ("icosahedral", (4.0, 4.0, 4.0), "is no icosahedral cell"),
    ],
)
def test_lattices_that_are_none(system, cell, words) -> None:
    with pytest.raises(SettingsError, match=words):
        lattice(system, *cell)


@pytest.mark.parametrize("make", [orient, refined])
@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ([], "an orientation needs two reflections or more, got 0"),
        ([((1, 0, 0), (0, 60, 0, 30, 0, 0))], "an orientation needs two reflections or more, got 1"),
        (
            [((1, 0, 0), (0, 60, 0, 30, 0, 0)), ((-1, 0, 0), (0, 60, 0, 30, 0, 180))],
            "reflections 1 0 0, -1 0 0 lie along one line, within 0.000 deg: expected one at least 1 deg from it",
        ),
        ([((1, 0, 0), (0, 60, 0, 30, 0, 0)), ((0, 1, 0), (0, 60, 0, 30, 0, 0))], "lie along one line"),
        (
            [((1, 0, 0), (0, 60, 0, 30, 0, 0)), ((0, 1, 0), (0, 61, 0, 30, 0, -90))],
            "reflection 0 1 0 was found at 2 theta 61.000 deg, the lattice says 60.000 deg at 12.3984 keV",
        ),
    ],
)
def test_reflections_that_give_no_orientation(make, seen, words) -> None:
    with pytest.raises(GeometryError, match=words):
        make(lattice("cubic", *UNIT), [found(hkl, angles, HC_KEV_ANGSTROM) for hkl, angles in seen])


def test_tolerance_is_the_callers() -> None:
    seen = [((1, 0, 0), (0, 60, 0, 30, 0, 0)), ((0, 1, 0), (0, 61, 0, 30, 0, -90))]
    reflections = [found(hkl, angles, HC_KEV_ANGSTROM) for hkl, angles in seen]
    assert orient(lattice("cubic", *UNIT), reflections, 1.1).two_theta_offsets_deg == pytest.approx((0, 1), abs=1e-9)
    with pytest.raises(GeometryError, match=r"tolerance 0.9 deg"):
        orient(lattice("cubic", *UNIT), reflections, 0.9)


def test_reflections_that_leave_the_lattice_open() -> None:
    flat = [((1, 0, 0), (0, 60, 0, 30, 0, 0)), ((0, 1, 0), (0, 60, 0, 30, 0, -90)), ((1, 1, 0), (0, 90, 0, 45, 0, -45))]
    reflections = [found(hkl, angles, HC_KEV_ANGSTROM) for hkl, angles in flat]
    with pytest.raises(GeometryError, match="1 0 0, 0 1 0, 1 1 0 tell 1 of the 2 numbers of a tetragonal lattice: add"):
        refined_with_lattice(lattice("tetragonal", *UNIT), reflections)
    with pytest.raises(GeometryError, match="tell 2 of the 3 directions of a triclinic lattice"):
        refined_with_lattice(lattice("triclinic", *UNIT), reflections)
    flat[2] = ((0, 0, 1), (0, 60, 0, 30, 0, -45))
    misread = [found(hkl, angles, HC_KEV_ANGSTROM) for hkl, angles in flat]
    with pytest.raises(GeometryError, match="tell 2 of the 3 directions of a triclinic lattice"):
        refined_with_lattice(lattice("triclinic", *UNIT), misread)
    with pytest.raises(GeometryError, match="tell 0 of the 1 numbers of a cubic lattice"):
        refined_with_lattice(lattice("cubic", *UNIT), [])


def test_nothing_is_printed(capsys) -> None:
    tilted = standing(lattice("cubic", *UNIT), Rotation.from_rotvec([1e-6, 2e-6, 0]).as_matrix())
    solved(tilted, FOUR_CIRCLES, (0, 0, 1), HC_KEV_ANGSTROM)
    solved(cubic(), {"naz": 90, "psi": 0, "eta": 0}, (1, 1, 0), HC_KEV_ANGSTROM)
    orient(*scenario("monoclinic"))
    refined_with_lattice(*scenario("triclinic"))
    refined_with_lattice(*scenario("monoclinic"))
    assert capsys.readouterr() == ("", "")


def test_b_is_busing_and_levys_with_two_pi() -> None:
    np.testing.assert_allclose(crystal(lattice("cubic", 4.0, 4.0, 4.0)).B, np.pi / 2 * np.eye(3), atol=1e-12)
