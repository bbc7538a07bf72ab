"""Numbers of diffcalc-core's tests (Diamond Light Source, Apache-2.0): crystals, reflections, where they are reached.

From its tests/diffcalc/scenarios.py and tests/diffcalc/hkl/: SPEC at b16, I16, I21, surfaces, made-up crystals.
"""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from service.alignment.angles import Mode, angles_for
from service.alignment.orientation import Orientation
from service.alignment.reflection import AXES, CELL, Lattice, Reflection
from service.errors import GeometryError

RIGHT_REFUSALS = ("Ewald", "within limits", "uniquely", "undefined", "redundant")
ZERO = dict.fromkeys(AXES, 0.0)
UNIT = (1.0, 1.0, 1.0, 90.0, 90.0, 90.0)
THEIR_HC = 12.39842


def lattice(system: str, *cell: float) -> Lattice:
    return Lattice(name="crystal", system=system, **dict(zip(CELL, cell, strict=False)))


def you(*angles: float) -> dict[str, float]:
    """Angles in diffcalc-core's order: mu, delta, nu, eta, chi, phi."""
    return dict(zip(AXES, angles, strict=True))


def found(hkl, angles, energy_kev=10.0) -> Reflection:
    return Reflection(hkl=hkl, angles_deg=you(*angles), energy_kev=energy_kev)


def standing(cell: Lattice, u) -> Orientation:
    """An orientation that nobody measured."""
    return Orientation(lattice=cell, reflections=(), u=np.array(u, dtype=float))


def cubic(about_z_deg: float = 0.0, about_y_deg: float = 0.0) -> Orientation:
    return standing(lattice("cubic", *UNIT), Rotation.from_euler("ZY", [about_z_deg, about_y_deg], True).as_matrix())


# Numbers of diffcalc-core's tests (tests/diffcalc/scenarios.py and hkl/test_calc_surface.py; Apache-2.0).
B16 = (3.8401, 3.8401, 5.43072, 90, 90, 90)
B16_U = ((0.997161, -0.062217, 0.042420), (0.062542, 0.998022, -0.006371), (-0.041940, 0.009006, 0.999080))
B16_FOUND = [
    ((1, 0, 1.0628), (5, 22.79, 5, 1.552, 22.4, 14.255)),
    ((0, 1, 1.0628), (5, 22.79, 5, 4.575, 24.275, 101.32)),
]
ORTHORHOMBIC_FOUND = [
    ((0, 1, 2), (0, 122.4938, 0, 80.7181, 90, -45)),
    ((1, 0, 2), (0, 122.4938, 0, 61.2469, 70.5288, -45)),
    ((1, 0, 1), (0, 60.8172, 0, 30.4086, 54.7356, -45)),
    ((1, 1, 2), (0, 135.0736, 0, 67.5368, 63.4349, 0)),
]
DALYITE_FOUND = [
    ((0, 1, 2), (0, 23.7405, 0, 11.8703, 46.31, 43.1304)),
    ((1, 0, 3), (0, 34.4282, 0, 17.2141, 46.4799, 12.7852)),
    ((2, 2, 6), (0, 82.8618, 0, 41.4309, 41.5154, 26.9317)),
    ((4, 1, 4), (0, 71.2763, 0, 35.6382, 29.5042, 14.549)),
    ((8, 3, 1), (0, 97.885, 0, 48.9425, 5.6693, 16.7929)),
    ((6, 4, 5), (0, 129.6412, 0, 64.8206, 24.1442, 24.6058)),
    ((3, 5, 7), (0, 135.9159, 0, 67.9579, 34.3696, 35.1816)),
]
ACANTHITE_FOUND = [
    ((0, 1, 2), (0, 21.1188, 0, 10.5594, 59.6447, 61.8432)),
    ((1, 0, 3), (0, 35.2291, 0, 62.4207, 87.1516, -90.0452)),
    ((1, 1, 6), (0, 64.4264, 0, 63.9009, 97.794, -88.8808)),
    ((1, 2, 2), (0, 34.4369, 0, 72.4159, 60.1129, -29.0329)),
    ((2, 2, 1), (0, 43.0718, 0, 21.5359, 8.3873, 29.023)),
]
SI = (7.68, 53.48, 75.63, 90, 90, 90)
SI_U = ((-0.7178876, 0.6643924, -0.2078944), (-0.6559596, -0.5455572, 0.5216170), (0.2331402, 0.5108327, 0.8274634))
SI_MU = [((2, 19, 32), (-90, 21.975, 4.419, 0, 92, -416.2)), ((0, 7, 22), (-90, 11.292, 2.844, 0, 92, -214.1))]
SI_CHI = [((2, 19, 32), (0, 21.975, 4.419, 2, 90, -326.2)), ((0, 7, 22), (0, 11.292, 2.844, 2, 90, -124.1))]
PT_FOUND = [
    ((-1, 1, 6), (0, 9.3971025, 16.1812303, 2, 90, 52.1392905)),
    ((-2, -1, 7), (0, 11.0126958, -11.8636128, 2, 90, -40.3803393)),
]
PT_U = ((-0.0023763, -0.9999970, -0.0006416), (0.9999923, -0.0023783, 0.0031244), (-0.0031259, -0.0006342, 0.9999949))
DALYITE_U = ((0.99982, 0.00073, 0.01903), (0.00073, 0.99710, -0.07612), (-0.01903, 0.07612, 0.99692))
ACANTHITE_U = ((0.99411, 0.00079, 0.10835), (0.00460, 0.99876, -0.04949), (-0.10825, 0.04969, 0.99288))
ORTHORHOMBIC_U = ((0.70711, 0.70711, 0), (-0.70711, 0.70711, 0), (0, 0, 1))
# what: lattice, reflections, energy, U, B, and where in hkl they read the second reflection's angles
SCENARIOS = {
    "tetragonal": (
        lattice("tetragonal", *B16), B16_FOUND, 10.0, B16_U, np.diag([1.636204, 1.636204, 1.156971]),
        (-0.0329, 1.0114, 1.04),
    ),
    "cubic": (
        lattice("cubic", 1.54, 1.54, 1.54), [((1, 0, 0), (0, 60, 0, 30, 0, 0)), ((0, 1, 0), (0, 60, 0, 30, 0, -90))],
        THEIR_HC / 1.54, np.diag([1, -1, -1]), 4.07999 * np.eye(3), (0, 1, 0)
    ),
    "spec sixc": (
        lattice("tetragonal", *B16), B16_FOUND, THEIR_HC / 1.24, B16_U, np.diag([1.636204, 1.636204, 1.156971]),
        (-0.0329, 1.0114, 1.04),
    ),
    "orthorhombic": (
        lattice("orthorhombic", 1.41421, 1.41421, 1.0), ORTHORHOMBIC_FOUND, 15.0, ORTHORHOMBIC_U,
        np.diag([4.44288, 4.44288, 6.28319]), (1, 0, 2),
    ),
    "triclinic": (
        lattice("triclinic", 7.51, 7.73, 7.00, 106.0, 113.5, 99.5), DALYITE_FOUND, 12.3984, DALYITE_U,
        ((0.96021, 0.27759, 0.49527), (0, 0.84559, 0.25738), (0, 0, 0.89760)), (1, 0, 3),
    ),
    "monoclinic": (
        lattice("monoclinic", 4.229, 6.931, 7.862, 90, 99.61, 90), ACANTHITE_FOUND, 10.0, ACANTHITE_U,
        ((1.50688, 0, 0.13532), (0, 0.90653, 0), (0, 0, 0.79918)), (1, 0, 3),
    ),
}  # fmt: skip


def scenario(name: str) -> tuple[Lattice, list[Reflection]]:
    cell, seen, energy_kev, *_ = SCENARIOS[name]
    return cell, [found(hkl, angles, energy_kev) for hkl, angles in seen]


LATTICES = [
    lattice("cubic", 4.0782, 4.0782, 4.0782),
    SCENARIOS["monoclinic"][0],
    SCENARIOS["triclinic"][0],
    lattice("rhombohedral", 4.0, 4.0, 4.0, 80.0, 80.0, 80.0),
]
turns = st.tuples(*[st.floats(-180, 180)] * 3).map(lambda angles: Rotation.from_euler("XYZ", angles, True).as_matrix())

C4, C86 = math.cos(math.radians(4)), math.cos(math.radians(86))
C30 = math.cos(math.radians(30))
AT_B16 = standing(lattice("tetragonal", *B16), B16_U)
GAAS = standing(
    lattice("cubic", 5.65315, 5.65315, 5.65315),
    (
        (-0.71021455, 0.70390373, 0.01071626),
        (-0.39940627, -0.41542895, 0.81724747),
        (0.57971538, 0.5761409, 0.57618724),
    ),
)
HEXAGONAL = standing(
    lattice("hexagonal", 4.785, 4.785, 12.991, 90, 90, 120),
    (
        (-9.65616334e-01, -2.59922060e-01, 5.06142415e-03),
        (2.59918682e-01, -9.65629598e-01, -1.32559487e-03),
        (5.23201232e-03, 3.55426382e-05, 9.99986312e-01),
    ),
)
H_HKL = (-1.1812112493619709, -0.71251524866987204, 5.1997083010199221)
I21 = standing(lattice("tetragonal", 3.78, 3.78, 20.10), ((1, 0, 0), (0, 0.18482, -0.98277), (0, 0.98277, 0.18482)))
SI_5_5_12 = standing(lattice("orthorhombic", *SI), SI_U)
BISECT = {"bisect": True, "nu": 0, "omega": 0}
EQUAL = {"a_eq_b": True, "mu": 0, "nu": 0}
WAVE_8, WAVE_065 = THEIR_HC / 8, THEIR_HC / 0.65
# orientation, constraints, hkl, wavelength in angstrom, their position, decimals they agree to
POSITIONS = [
    (cubic(), {"delta": 60, "a_eq_b": True, "mu": 0}, (1, 0, 0), 1.0, (0, 60, 0, 30, 0, 0), 5),
    (cubic(), BISECT, (1, 0, 1), 1.0, (0, 90, 0, 45, 45, 0), 5),
    (cubic(), BISECT, (1, 0, -1), 1.0, (0, 90, 0, 45, -45, 0), 5),
    (cubic(), BISECT, (0.1, 0, 1.5), 1.0, (0, 97.46959231642, 0, 48.7348, 86.18593, 0), 5),
    (cubic(), {"eta": 0, "delta": 0, "phi": 30}, (0, 1, 0), 1.0, (90, 0, 60, 0, -90, 30), 5),
    (cubic(0, 45), {"eta": 0, "delta": 0, "phi": 0}, (C86, 0, C4), 1.0, (30, 0, 60, 0, -49, 0), 5),
    (cubic(-2), {"eta": 0, "delta": 0, "chi": 0}, (0, 1, 0), 1.0, (120, 0, 60, 0, 0, -2), 5),
    (cubic(), {"mu": 0, "nu": 0, "chi": 30}, (0.5, C30, 0), 1.0, (0, 60, 0, 120, 30, -30), 5),
    (cubic(), {"nu": 0, "mu": 90, "eta": 0}, (0.1, 0, 1.5), 1.0, (90, 97.46959231642, 0, 0, 37.4511290075, 0), 5),
    (cubic(), {"nu": 0, "chi": 90, "phi": 0}, (C86, 0, C4), 1.0, (-8.0196636066, 60, 0, 29.75677306, 90, 0), 5),
    (cubic(), {"nu": 0, "chi": 90, "phi": 0}, (0.1, 0, 1.5), 1.0, (-5.0770645, 97.4695923, 0, 48.6231045, 90, 0), 5),
    (cubic(), {"chi": 90, "phi": 0, "a_eq_b": True}, (1, 1, 1), 1.0, (-171.5789, 20.941, 122.3684, -30.3612, 90, 0), 4),
    (cubic(), {"psi": 90, "mu": 0, "phi": 0}, (0, 1, 0), 1.0, (0, 60, 0, 120, 0, 0), 5),
    (cubic(), {"chi": 0, "phi": 0, "a_eq_b": True}, (0.7, 0.8, 1), 1.0, (30, 57.0626, 96.8659, 86.6739, 0, 0), 4),
    (cubic(), {"chi": 90, "psi": 90, "phi": 0}, (1, 1, 0.1), 1.0, (-87.1331, 85.6995, 93.8232, 91.4339, 90, 0), 4),
    (cubic(), {"naz": 90, "psi": 0, "eta": 0}, (1, 1, 1), 1.0, (90, 120, 0, 0, 84.7356, -135), 4),
    (cubic(), {"eta": 90, "phi": 0, "mu": 0}, (0, 1, 1), 1.0, (0, 90, 0, 90, 90, 0), 4),
    (cubic(), {"chi": 0, "phi": 0, "eta": 0}, (0.01, 0.01, 0.1), 1.0, (8.6194, 0.573, 5.7607, 0, 0, 0), 4),
    (cubic(), {"chi": 0, "phi": 0, "eta": 0}, (1, 0, 0.1), 0.1, (30.3314, 5.7392, 0.497, 0, 0, 0), 4),
    (cubic(), {"chi": 90, "phi": 90, "mu": 0}, (1, 0, 1), 1.0, (0, 90, 0, 0, 90, 90), 4),
    (cubic(), {"chi": 90, "eta": 90, "mu": 90}, (-1, 1, 0), 1.0, (90, 90, 0, 90, 90, 0), 4),
    (cubic(45), {"psi": 90, "mu": 0, "nu": 0}, (0, 1, 0), 1.0, (0, 60, 0, 30, 0, 135), 5),
    (cubic(1), {"a_eq_b": True, "mu": 0, "qaz": 90}, (0, 1, 0), 1.0, (0, 60, 0, 30, 0, 91), 5),
    (AT_B16, EQUAL, (0.7, 0.9, 1.3), 1.24, (0, 27.3522, 0, 13.6761, 37.7745, 53.9655), 2),
    (AT_B16, EQUAL, (1, 0, 0), 1.24, (0, 18.58023, 0, 9.290115, -2.4035, 3.589), 2),
    (AT_B16, EQUAL, (1, 1, 0), 1.24, (0, 26.394192, 0, 13.197096, -1.3345, 48.602), 2),
    (GAAS, {"qaz": 90, "alpha": 11, "mu": 0}, (1, 1, 1), 1.239842, (0, 21.898, 0, 11, 89.8419, 10.8224), 3),
    (GAAS, {"qaz": 90, "alpha": 11, "mu": 0}, (0, 0, 2), 1.239842, (0, 25.3375, 0, 19.2083, 35.4478, 81.2389), 3),
    (HEXAGONAL, {"delta": 0, "a_eq_b": True, "eta": 0}, H_HKL, WAVE_8, (26, 0, 52, 0, 45.2453, -173.3067), 3),
    (HEXAGONAL, {"delta": 0, "psi": -90, "eta": 0}, H_HKL, WAVE_8, (26, 0, 52, 0, 45.2453, -173.3067), 3),
    (HEXAGONAL, {"delta": 0, "alpha": 17.9776, "eta": 0}, H_HKL, WAVE_8, (26, 0, 52, 0, 45.2453, -173.3067), 3),
    (I21, {"psi": 10, "mu": 0, "nu": 0}, (0, 0.2, 0.25), WAVE_065, (0, 62.44607, 0, 28.68407, 89.55247, -9.99008), 3),
    (SI_5_5_12, {"alpha": 2, "mu": -90, "eta": 0}, (2, -5, 12), 0.6358, (-90, 5.22397, 10.41544, 0, 92, -88.02751), 5),
    (SI_5_5_12, {"alpha": 2, "eta": 0, "chi": 0}, (2, 19, 32), 0.6358, (2, 4.09736, 22.03329, 0, 0, -64.02736), 5),
]  # fmt: skip


def solved(orientation, constraints, hkl, energy_kev, limits=None, current=None, **vectors) -> list[dict[str, float]]:
    mode = Mode(constraints=constraints, **vectors)
    return angles_for(orientation, hkl, energy_kev, mode=mode, limits_deg=limits or {}, current_deg=current or ZERO)


def reached(*arguments) -> list[dict[str, float]]:
    """Like `solved`; nothing where diffcalc-core, the energy or the limits rightly refuse."""
    try:
        return solved(*arguments)
    except GeometryError as error:
        if not any(words in str(error) for words in RIGHT_REFUSALS):
            raise
        return []
