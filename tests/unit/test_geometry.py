"""Q and voxels: against peers' numbers, and what must hold for any geometry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from models.bcdi.geometry import (
    Geometry,
    bin_geometry,
    center_beam,
    check_geometry,
    crop_geometry,
    crystal_momentum_transfer,
    described,
    direct_basis,
    momentum_transfer,
    parse_geometry,
    reciprocal_basis,
    rocking_angle,
)
from tests.helpers.scans import SCAN54_PEAK, SCAN54_SHAPE, id01, scan54

# Golden numbers by benchmarks/geometry_peers.py, with cdiutils 0.2.1, cohere_beamlines 4.5.6 and xrayutilities 1.8.0.
# 34-ID-C: cohere_beamlines' get_geometry (forward differences) and get_pixelQ at SCAN54_PEAK of scan54().
COHERE_BASIS = np.array(
    [
        [6.732231317308e-05, 6.219922227224e-05, 4.282889175355e-04],
        [3.102993959363e-16, -4.877056696111e-04, 1.717938323753e-06],
        [2.011088379253e-04, 9.907702071678e-05, -2.609772064930e-04],
    ]
)
COHERE_Q = np.array([2.304994353511, 1.063488933819, -0.771719336751])
# The same by cdiutils' SpaceConverter, a least-squares fit over the 64 voxels around the peak.
CDIUTILS_BASIS = np.array(
    [
        [6.736612810602e-05, 6.222134851938e-05, 4.282927447752e-04],
        [6.807264494606e-09, -4.876964592507e-04, 1.724323610245e-06],
        [2.011449232079e-04, 9.909492719782e-05, -2.609727257803e-04],
    ]
)
# ID01: xrayutilities' QConversion (central differences) on id01(3.0), turned to the laboratory, at ID01_PEAK.
ID01_SHAPE, ID01_PEAK = (121, 516, 516), (50, 190, 210)
XRAYUTILITIES_BASIS = np.array(
    [
        [-1.135504244340e-05, -1.944935132350e-05, 3.251979931848e-04],
        [4.482298076164e-05, -3.050409996395e-04, 3.729277208770e-07],
        [2.166671169555e-04, 1.227794206789e-04, 5.243282391614e-05],
    ]
)
XRAYUTILITIES_Q = np.array([-0.973907736602, 2.486229566529, -0.565378749833])
# ID01 of cdiutils (Geometry.from_setup) on id01(0.0), fit over the 64 voxels around the peak.
CDIUTILS_ID01_BASIS = np.array(
    [
        [1.630787064966e-09, -1.947859902847e-05, 3.252386442782e-04],
        [4.933611464008e-05, -3.049291288595e-04, 1.948310550451e-07],
        [2.171883950077e-04, 1.229167422039e-04, 5.219239762618e-05],
    ]
)

angles = st.floats(-50.0, 50.0)


@st.composite
def geometries(draw) -> Geometry:
    """Scans of three instruments with the detector well off the beam."""
    instrument = draw(st.sampled_from(["34-ID-C", "ID01", "general"]))
    names = {"34-ID-C": "theta", "ID01": "eta", "general": "omega"}
    axes = None
    if instrument == "general":
        vectors = st.tuples(*[st.floats(-1, 1) for _ in range(3)]).filter(lambda v: np.linalg.norm(v) > 0.1)
        axes = {
            "sample": [("kappa", draw(vectors)), ("omega", draw(vectors))],
            "detector": [("delta", "y+"), ("gamma", "x-")],
            "row": "y-",
            "column": "x+",
        }
    return Geometry(
        instrument=instrument,
        energy_kev=draw(st.floats(5.0, 25.0)),
        distance_m=draw(st.floats(0.3, 3.0)),
        pixel_size_m=(draw(st.floats(2e-5, 2e-4)), draw(st.floats(2e-5, 2e-4))),
        beam_center_px=(draw(st.floats(0, 60)), draw(st.floats(0, 60))),
        angles_deg={
            **{name: draw(angles) for name in ("chi", "phi", "kappa")},
            **{name: draw(st.floats(8.0, 40.0)) for name in ("delta", "gamma", "nu")},
        },
        rocking_axis=names[instrument],
        rocking_deg=draw(angles) + draw(st.sampled_from([-0.01, 0.004])) * np.arange(40),
        axes=axes,
    )


SHAPE, PEAK = (40, 60, 60), (17.5, 30.0, 22.25)


def basis_of(geometry: Geometry) -> np.ndarray:
    """The basis; examples whose rocking axis all but follows Q are left out."""
    q = momentum_transfer(geometry, PEAK)
    turned = crystal_momentum_transfer(geometry, (PEAK[0] + 1, *PEAK[1:]), PEAK[0]) - q
    across = np.linalg.norm(turned) / np.linalg.norm(q)
    k = q + 2 * np.pi * geometry.energy_kev / 12.398419843320026 * np.array([0, 0, 1])
    assume(abs(turned @ k) > 0.02 * np.linalg.norm(k) * np.linalg.norm(turned))
    assume(across > 1e-6)
    return reciprocal_basis(geometry, PEAK, SHAPE)


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest deviation of a column, as a share of its length."""
    return float((np.linalg.norm(ours - theirs, axis=0) / np.linalg.norm(theirs, axis=0)).max())


def test_34idc_equals_cohere_beamlines() -> None:
    basis = reciprocal_basis(scan54(), SCAN54_PEAK, SCAN54_SHAPE)
    assert relative(basis, COHERE_BASIS) < 5e-4
    np.testing.assert_allclose(momentum_transfer(scan54(), SCAN54_PEAK), COHERE_Q, rtol=1e-9)


def test_34idc_equals_cdiutils() -> None:
    basis = reciprocal_basis(scan54(), SCAN54_PEAK, SCAN54_SHAPE)
    assert relative(basis, CDIUTILS_BASIS) < 5e-4
    edges, theirs = (np.linalg.norm(direct_basis(b, (64, 64, 64)), axis=0) for b in (basis, CDIUTILS_BASIS))
    np.testing.assert_allclose(edges, theirs, rtol=0.005)
    np.testing.assert_allclose(edges, [48.807, 20.126, 20.105], rtol=1e-4)


def test_id01_equals_xrayutilities() -> None:
    basis = reciprocal_basis(id01(3.0), ID01_PEAK, ID01_SHAPE)
    assert relative(basis, XRAYUTILITIES_BASIS) < 1e-6
    np.testing.assert_allclose(momentum_transfer(id01(3.0), ID01_PEAK), XRAYUTILITIES_Q, rtol=1e-9)


def test_id01_equals_cdiutils() -> None:
    assert relative(reciprocal_basis(id01(0.0), ID01_PEAK, ID01_SHAPE), CDIUTILS_ID01_BASIS) < 2e-3


def test_bragg_law() -> None:
    """|Q| = 4 pi sin(theta) / lambda where the arm points, cos(2 theta) = cos(delta) cos(gamma)."""
    half = np.arccos(np.cos(np.deg2rad(32.174)) * np.cos(np.deg2rad(12.6346))) / 2
    q = momentum_transfer(scan54(), (0, 261.0, 260.0))
    assert np.linalg.norm(q) == pytest.approx(4 * np.pi * np.sin(half) * 9.0 / 12.398419843320026, rel=1e-12)


def test_real_peak_is_gold_111() -> None:
    spacing = 2 * np.pi / np.linalg.norm(momentum_transfer(scan54(), SCAN54_PEAK))
    assert spacing == pytest.approx(4.0782 / np.sqrt(3), rel=0.01)


@given(geometries())
def test_direct_and_reciprocal_bases_are_dual(geometry) -> None:
    basis = basis_of(geometry)
    direct_angstrom = 10.0 * direct_basis(basis, SHAPE)
    np.testing.assert_allclose(direct_angstrom.T @ basis, np.diag(2 * np.pi / np.array(SHAPE)), atol=1e-9)
    np.testing.assert_allclose(direct_basis(direct_basis(basis, SHAPE), SHAPE), basis, rtol=1e-6, atol=1e-12)


@given(geometries())
def test_basis_is_the_tangent_of_the_exact_map(geometry) -> None:
    basis = basis_of(geometry)
    for axis in range(3):
        ahead, behind = (np.array(PEAK) + sign * 0.25 * np.eye(3)[axis] for sign in (1, -1))
        tangent = crystal_momentum_transfer(geometry, ahead, PEAK[0]) - crystal_momentum_transfer(
            geometry, behind, PEAK[0]
        )
        np.testing.assert_allclose(2.0 * tangent, basis[:, axis], rtol=1e-5, atol=1e-9)


@given(geometries(), st.floats(-180, 180))
def test_turning_everything_about_the_beam_turns_q(geometry, angle_deg) -> None:
    basis = basis_of(geometry)
    turn = Rotation.from_euler("z", angle_deg, degrees=True)
    instrument = described(geometry)
    axes = {
        "sample": [(circle.name, turn.apply(circle.direction)) for circle in instrument.sample],
        "detector": [(circle.name, turn.apply(circle.direction)) for circle in instrument.detector],
        "row": turn.apply(instrument.row),
        "column": turn.apply(instrument.column),
    }
    turned = replace(geometry, instrument="general", axes=axes, angles_deg={**geometry.angles_deg, "mu": 0.0})
    np.testing.assert_allclose(reciprocal_basis(turned, PEAK, SHAPE), turn.apply(basis.T).T, atol=1e-12)


@given(geometries(), st.tuples(st.integers(-5, 10), st.integers(-10, 20), st.integers(-10, 20)))
def test_a_crop_sees_the_same_q(geometry, start) -> None:
    cropped = crop_geometry(geometry, start, (30, 32, 34))
    inside = np.array([[3.0, 4.0, 5.0], [20.0, 30.0, 11.5]])
    seen = crystal_momentum_transfer(cropped, inside, 3.0)
    np.testing.assert_allclose(seen, crystal_momentum_transfer(geometry, inside + start, 3.0 + start[0]), atol=1e-9)


@given(geometries(), st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)))
def test_binning_lengthens_the_steps(geometry, factors) -> None:
    basis = basis_of(geometry)
    binned = bin_geometry(geometry, factors)
    peak = (np.array(PEAK) - (np.array(factors) - 1) / 2) / factors
    shape = tuple(n // f for n, f in zip(SHAPE, factors, strict=True))
    np.testing.assert_allclose(reciprocal_basis(binned, peak, shape), basis * factors, rtol=1e-6, atol=1e-12)


def test_q_takes_many_indices_at_once() -> None:
    index = np.random.default_rng(0).uniform(0, 200, (4, 5, 3))
    q = momentum_transfer(scan54(), index)
    assert q.shape == (4, 5, 3)
    np.testing.assert_allclose(q[2, 3], momentum_transfer(scan54(), index[2, 3]))


def test_unknown_beam_centre_is_the_middle_of_the_volume() -> None:
    lost = replace(scan54(), beam_center_px=None)
    middle = replace(scan54(), beam_center_px=(127.5, 127.5))
    expected = reciprocal_basis(middle, SCAN54_PEAK, SCAN54_SHAPE)
    np.testing.assert_array_equal(reciprocal_basis(lost, SCAN54_PEAK, SCAN54_SHAPE), expected)
    assert center_beam(lost, (256, 256)).beam_center_px == (127.5, 127.5)
    assert center_beam(scan54(), (256, 256)).beam_center_px == (261.0, 260.0)
    with pytest.raises(ValueError, match="beam centre is unknown"):
        momentum_transfer(lost, SCAN54_PEAK)


def test_rocking_angle_goes_on_beyond_the_scan() -> None:
    np.testing.assert_allclose(rocking_angle(scan54(), [-2.0, 0.5, 200.0, 203.0]), [-0.29, -0.2775, 0.72, 0.735])


def facts(**other):
    return {
        "instrument": "34-ID-C",
        "energy_kev": 9,
        "distance_m": 0.5,
        "pixel_size_m": 55e-6,
        "beam_center_px": [261, 260],
        "angles_deg": {"del": 32.174, "gam": 12.6346, "mu": 0, "chi": 90, "phi": -5},
        "rocking_axis": "th",
        "rocking_deg": [0.0, 0.005, 0.01],
        **other,
    }


def test_parse_understands_specs_names() -> None:
    geometry = parse_geometry(**facts())
    assert geometry.angles_deg["delta"] == 32.174
    assert geometry.rocking_axis == "theta"
    assert geometry.pixel_size_m == (55e-6, 55e-6)
    assert geometry.beam_center_px == (261.0, 260.0)
    assert parse_geometry(**facts(pixel_size_m=(1e-4, 2e-4), beam_center_px=None)).pixel_size_m == (1e-4, 2e-4)


WITHOUT_DELTA = {"gamma": 1.0, "chi": 90.0, "phi": 0.0}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"energy_kev": None}, "energy_kev must be 1 number"),
        ({"energy_kev": 9000.0}, "energy_kev must lie between 1 and 200, got 9000"),
        ({"energy_kev": float("nan")}, "energy_kev must lie"),
        ({"energy_kev": "nine"}, "energy_kev must be numeric"),
        ({"energy_kev": [9.0, 9.1]}, "energy_kev must be 1 number"),
        ({"distance_m": 500.0}, "distance_m must lie"),
        ({"distance_m": -1.0}, "distance_m must lie"),
        ({"pixel_size_m": 55.0}, "pixel_size_m must lie"),
        ({"pixel_size_m": (1e-5, 1e-5, 1e-5)}, "pixel_size_m must be 1 number"),
        ({"beam_center_px": (1.0,)}, "beam_center_px must be 2 number"),
        ({"beam_center_px": (float("inf"), 2.0)}, "beam_center_px must be finite"),
        ({"angles_deg": WITHOUT_DELTA}, "angles of delta are missing for 34-ID-C"),
        ({"angles_deg": {**WITHOUT_DELTA, "delta": float("nan")}}, "angle delta must lie"),
        ({"angles_deg": {**WITHOUT_DELTA, "delta": None}}, "angle delta must be 1 number"),
        ({"angles_deg": {**WITHOUT_DELTA, "delta": 30.0, "mu": 3.0}}, "mu of 34-ID-C is not modelled: expected 0"),
        ({"rocking_axis": "delta"}, "'delta' is not a sample circle: expected theta, chi, phi"),
        ({"rocking_deg": [0.0]}, "at least two angles"),
        ({"rocking_deg": []}, "rocking_deg must be at least one"),
        ({"rocking_deg": [0.0, float("nan"), 0.1]}, "1 of 3 rocking angles are not finite"),
        ({"rocking_deg": [0.0, 0.0, 0.0]}, "rocking steps are uneven"),
        ({"rocking_deg": [0.0, 0.1, 0.2, 0.9]}, "rocking steps are uneven"),
        ({"instrument": "P10"}, "'P10' is not known"),
    ],
)
def test_impossible_geometries_are_refused_in_one_line(wrong, message) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        parse_geometry(**facts(**wrong))
    assert "\n" not in str(refused.value)


def test_positions_of_other_motors_do_no_harm() -> None:
    check_geometry(replace(scan54(), angles_deg={**scan54().angles_deg, "samx": -5300.0}))


def test_id01_takes_mu_at_zero_where_nobody_says_it() -> None:
    silent = replace(id01(0.0), angles_deg={"phi": 12.0, "nu": 9.0, "delta": 22.0})
    ours, told = (reciprocal_basis(geometry, ID01_PEAK, ID01_SHAPE) for geometry in (silent, id01(0.0)))
    np.testing.assert_array_equal(ours, told)


def test_peak_outside_the_volume_is_refused() -> None:
    for peak in ((201, 3, 3), (-1, 3, 3), (np.nan, 3, 3), (3, 3)):
        with pytest.raises(ValueError, match="must lie inside the volume"):
            reciprocal_basis(scan54(), peak, SCAN54_SHAPE)


def test_direct_beam_and_useless_rocking_are_refused() -> None:
    at_zero = replace(scan54(), angles_deg={**scan54().angles_deg, "delta": 0.0, "gamma": 0.0})
    with pytest.raises(ValueError, match="does not sweep the Ewald sphere"):
        reciprocal_basis(replace(at_zero, beam_center_px=(126.0, 127.0)), SCAN54_PEAK, SCAN54_SHAPE)
    axes = {
        "sample": [("spin", momentum_transfer(scan54(), SCAN54_PEAK))],
        "detector": [("delta", "y+"), ("gamma", "x-")],
        "row": "y-",
        "column": "x+",
    }
    spinning = replace(scan54(), instrument="general", axes=axes, rocking_axis="spin")
    with pytest.raises(ValueError, match="rocking spin does not sweep"):
        reciprocal_basis(spinning, SCAN54_PEAK, SCAN54_SHAPE)
