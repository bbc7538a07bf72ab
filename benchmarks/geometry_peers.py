"""The peers' side of benchmarks/geometry.py: run by a Python that has cdiutils, cohere_beamlines and xrayutilities.

Reads one .npz of questions and writes one .npz of answers. Vectors go out in the NeXus laboratory frame (x, y, z), with
the crystal as it stands at the peak: the peers answer for the crystal at zero angles, so the rocking angles come in
counted from the peak.
"""

from __future__ import annotations

import sys
import time
import warnings
from typing import Any

import numpy as np

# xrayutilities names its axes x along the beam, z up: NeXus x, y, z are its y, z, x.
XU_TO_NEXUS = [1, 2, 0]
NEXUS_TO_XU = [2, 0, 1]
# Share of the largest amplitude where cdiutils draws its support.
ISOSURFACE = 0.3


def cdiutils_converter(case: dict[str, Any], circles: tuple[list[str], list[str]], angles: dict[str, Any]) -> Any:
    from cdiutils import Geometry, SpaceConverter

    _, rows, columns = case["shape"]
    first_row, first_column = case["start"][1:]
    center = case["beam_center_px"]
    converter = SpaceConverter(
        Geometry(
            sample_circles=circles[0],
            detector_circles=circles[1],
            detector_axis0_orientation="y-",
            detector_axis1_orientation="x+",
        ),
        {"cch1": center[0], "cch2": center[1], "distance": case["distance_m"], "pwidth1": 55e-6, "pwidth2": 55e-6},
        energy=case["energy_kev"] * 1e3,
        roi=[first_row, first_row + rows, first_column, first_column + columns],
    )
    converter.init_q_space(**angles)
    return converter


def converter_34idc(case: dict[str, Any]) -> Any:
    """cdiutils has two sample circles and no 34-ID-C: theta is the outer one, what lies inside only turns the frame."""
    return cdiutils_converter(
        case,
        (["y+", "x-"], ["y+", "x-"]),
        {
            "sample_outofplane_angle": case["rocking_deg"],
            "sample_inplane_angle": 0.0,
            "detector_inplane_angle": case["delta"],
            "detector_outofplane_angle": case["gamma"],
        },
    )


def converter_id01(case: dict[str, Any]) -> Any:
    from cdiutils import Geometry

    own = Geometry.from_setup("ID01")
    return cdiutils_converter(
        case,
        (own.sample_circles, own.detector_circles),
        {
            "sample_outofplane_angle": case["rocking_deg"],
            "sample_inplane_angle": 0.0,
            "detector_inplane_angle": case["nu"],
            "detector_outofplane_angle": case["delta"],
        },
    )


def answer_cdiutils(converter: Any, peak: tuple[int, int, int]) -> dict[str, Any]:
    q = np.array(converter.index_det_to_q_lab(peak))
    basis = converter.get_transformation_matrix(peak)
    return {"q": q[XU_TO_NEXUS], "basis": basis[XU_TO_NEXUS]}


def answer_cohere(case: dict[str, Any]) -> dict[str, Any]:
    from cohere_beamlines.aps_34idc.detectors import Detector_34idcTIM2
    from cohere_beamlines.aps_34idc.diffractometers import Diffractometer
    from cohere_beamlines.aps_34idc.instrument import Instrument_aps_34idc

    rocking = case["rocking_deg"]
    settings = {
        "detector": "34idcTIM2",
        "energy": case["energy_kev"],
        "delta": case["delta"],
        "gamma": case["gamma"],
        "chi": case["chi"],
        "phi": case["phi"],
        "detdist": case["distance_m"] * 1e3,
        "scanmot": "th",
        "scanmot_posns": rocking,
        "scan_step": float(rocking[-1] - rocking[0]) / (len(rocking) - 1),
        "det_roi": [0, 256, 0, 256],
    }
    config = {"config_instr": settings}
    instrument = Instrument_aps_34idc(Detector_34idcTIM2(settings), Diffractometer(), config)
    _, row, column = np.array(case["start"]) + np.array(case["peak"])
    place = [int(column), int(row), int(case["peak"][0])]
    reciprocal, _, arm_q, *_ = instrument.get_geometry(place, None, config)
    # cohere orders its columns x, y, z and counts in 1/nm.
    return {"basis": reciprocal[:, ::-1] / 10.0, "q": instrument.get_pixelQ(place, None) / 10.0, "arm_q": arm_q}


def answer_xrayutilities(case: dict[str, Any]) -> dict[str, Any]:
    """ID01 with all its three sample circles, finite differences around the peak, z along the beam."""
    import xrayutilities as xu

    conversion = xu.QConversion(["y-", "x-", "y-"], ["y-", "x-"], [0, 0, 1], en=case["energy_kev"] * 1e3)
    row, column = (np.array(case["start"]) + np.array(case["peak"]))[1:]
    center = case["beam_center_px"]
    conversion.init_area(
        "y-", "x+", center[0], center[1], 0, 0,
        distance=case["distance_m"], pwidth1=55e-6, pwidth2=55e-6, roi=[row - 1, row + 2, column - 1, column + 2],
    )  # fmt: skip
    frame = case["peak"][0]
    eta = case["eta"] + case["rocking_deg"][frame - 1 : frame + 2]
    q = np.array(conversion.area(case["mu"], eta, case["phi"], case["nu"], case["delta"]))
    ahead, behind = (q[:, 2, 1, 1], q[:, 1, 2, 1], q[:, 1, 1, 2]), (q[:, 0, 1, 1], q[:, 1, 0, 1], q[:, 1, 1, 0])
    steps = [(after - before) / 2 for after, before in zip(ahead, behind, strict=True)]
    attitude = (case["mu"], case["eta"], case["phi"])
    turned = [conversion.transformSample2Lab(vector, *attitude) for vector in (*steps, q[:, 1, 1, 1])]
    return {"basis": np.array(turned[:3]).T, "q": np.array(turned[3])}


def orthogonaliser(converter: Any, peak: tuple[int, int, int], voxel_nm: float, middle_nm: Any) -> list[Any]:
    """Ready cdiutils' interpolator; its axes (beam, outboard, up) in nm.

    Its grid is slid by less than a voxel until it meets the asker's, so that maps compare voxel by voxel.
    """
    converter.init_interpolator(direct_lab_voxel_size=voxel_nm, space="direct", shift_voxel=peak)
    interpolator = converter.direct_lab_interpolator
    slide = (middle_nm - np.round(middle_nm / voxel_nm) * voxel_nm)[NEXUS_TO_XU]
    grid = [axis + step for axis, step in zip(interpolator.target_grid, slide, strict=True)]
    inverse = np.linalg.inv(interpolator.original_to_target_matrix)
    interpolator.target_grid_in_original_space = interpolator._rotate_grid_axis(inverse, *grid)
    return [grid[0][:, 0, 0], grid[1][0, :, 0], grid[2][0, 0, :]]


def strain_by_given_support(converter: Any, asked: dict[str, Any], axes: list[Any]) -> dict[str, Any]:
    """cdiutils' orthogonalisation of object and support, and its strain: z, y, x maps with their axes in nm."""
    begun = time.perf_counter()
    orthogonal = converter.orthogonalise_to_direct_lab(asked["object"])
    support = converter.orthogonalise_to_direct_lab(asked["support"].astype(np.float64)) >= 0.5
    # Beam, outboard, up: the volume order z, y, x swaps the last two.
    object_lab, inside = np.swapaxes(orthogonal, 1, 2), np.swapaxes(support, 1, 2)
    q = converter.q_lab_shift[XU_TO_NEXUS]
    strain = strain_of_object(object_lab, inside, q, float(asked["voxel_nm"]))
    return {
        "strain": strain, "z_nm": axes[0], "y_nm": axes[2], "x_nm": axes[1], "seconds": time.perf_counter() - begun,
    }  # fmt: skip


def strain_by_own_support(converter: Any, asked: dict[str, Any], axes: list[Any]) -> dict[str, Any]:
    """cdiutils' whole post-processing with the support that it draws itself."""
    from cdiutils.process.postprocessor import PostProcessor
    from cdiutils.utils import CroppingHandler, make_support, normalise

    orthogonal = converter.orthogonalise_to_direct_lab(asked["object"])
    found = PostProcessor.get_structural_properties(
        orthogonal, ISOSURFACE, converter.q_lab_shift, (1, 1, 1), (float(asked["voxel_nm"]),) * 3
    )
    support = make_support(normalise(np.abs(orthogonal)), isosurface=ISOSURFACE, nan_values=False)
    where = CroppingHandler.get_position(support, "com")
    starts = [int(place) - size // 2 for place, size in zip(where, found["support"].shape, strict=True)]
    cut = [axis[start : start + size] for axis, start, size in zip(axes, starts, found["support"].shape, strict=True)]
    strain = np.where(found["support"] > 0, found["het_strain"] / 100.0, np.nan)
    return {"strain": np.swapaxes(strain, 1, 2), "z_nm": cut[0], "y_nm": cut[2], "x_nm": cut[1]}


def strain_of_object(object_lab: Any, support: Any, q: Any, voxel_nm: float) -> Any:
    """cdiutils' strain on an object that is orthogonal already, in its own steps, on the same voxels."""
    from cdiutils.process.postprocessor import PostProcessor

    inside = np.where(support, 1.0, np.nan)
    phase = PostProcessor.unwrap_phase(-np.angle(object_lab), inside) * inside
    phase = PostProcessor.phase_offset_to_zero(PostProcessor.remove_phase_ramp(phase))
    displacement_nm = PostProcessor.get_displacement(phase, q) * 0.1
    return PostProcessor.get_het_normal_strain(displacement_nm, q[::-1], (voxel_nm,) * 3)


def answer_strain(converter: Any, peak: tuple[int, int, int], asked: dict[str, Any]) -> dict[str, Any]:
    voxel_nm = float(asked["voxel_nm"])
    axes = orthogonaliser(converter, peak, voxel_nm, asked["middle_nm"])
    parts = {
        "given": strain_by_given_support(converter, asked, axes),
        "own": strain_by_own_support(converter, asked, axes),
    }
    found = {f"{name}/{key}": value for name, part in parts.items() for key, value in part.items()}
    found["same_voxels"] = strain_of_object(asked["object_lab"], asked["support_lab"], asked["q"], voxel_nm)
    return found


def part(name: str, asked: Any) -> dict[str, Any]:
    return {key.removeprefix(f"{name}/"): asked[key][()] for key in asked.files if key.startswith(f"{name}/")}


def main(questions: str, answers: str) -> None:
    asked = np.load(questions, allow_pickle=False)
    scan, id01 = part("scan", asked), part("id01", asked)
    peak, id01_peak = tuple(int(i) for i in scan["peak"]), tuple(int(i) for i in id01["peak"])
    found = {
        "scan/cdiutils": answer_cdiutils(converter_34idc(scan), peak),
        "scan/cohere": answer_cohere(scan),
        "id01/cdiutils": answer_cdiutils(converter_id01(id01), id01_peak),
        "id01/xrayutilities": answer_xrayutilities(id01),
    }
    for name in asked["objects"]:
        found[name] = answer_strain(converter_34idc(scan), peak, part(name, asked))
    np.savez(answers, **{f"{name}/{key}": value for name, answer in found.items() for key, value in answer.items()})


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*sys.argv[1:])
