"""Geometry and strain beside cdiutils, cohere_beamlines and xrayutilities, on the same scan and the same objects.

    python benchmarks/geometry.py --peer-python /path/to/python --scan scan54.h5 [--object object.npz] [--out folder]

The peers run under their own Python (cdiutils, cohere_beamlines, xrayutilities). The scan is the 34-ID-C rocking scan
named in docs/measurements.md; without it its angles are used and the peak is taken where it lies. `--object` adds a
reconstructed object (arrays `object` and `support`, 64 voxels a side around the peak) to the simulated one; its crystal
is the isosurface inside that support. Writes geometry.json and geometry.png; exits 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import binary_erosion

from models.bcdi.geometry import (
    Geometry,
    crop_geometry,
    crystal_momentum_transfer,
    direct_basis,
    momentum_transfer,
    parse_geometry,
    reciprocal_basis,
)
from models.bcdi.isosurface import isosurface
from models.bcdi.resample import to_lab
from models.bcdi.strain import displacement_and_strain

EDGE_BAR = 0.005
CORRELATION_BAR = 0.99
SIZE = (64, 64, 64)
SCAN_PEAK = (98, 126, 127)
# The middle of cohere's 512 x 512 chip, its seam of 4 columns and 5 rows counted in.
SCAN_CENTER_PX = (261.0, 260.0)
# Where the simulated crystal swells (laboratory x, y, z) and how wide.
SWELLING_NM = (60.0, -40.0, 90.0)
SWELLING_WIDTH_NM = 180.0


def scan54(path: Path | None) -> Geometry:
    rocking = np.linspace(-0.28, 0.72, 201)
    angles = {"delta": 32.174, "gamma": 12.6346, "mu": 0.0, "chi": 90.0, "phi": -5.0}
    if path is not None:
        import h5py

        with h5py.File(path) as file:
            rocking = file["entry/positioners/theta"][()]
            angles = {name: float(file[f"entry/positioners/{name}"][()]) for name in angles}
    return parse_geometry(
        instrument="34-ID-C", energy_kev=9.0, distance_m=0.5, pixel_size_m=55e-6, beam_center_px=SCAN_CENTER_PX,
        angles_deg=angles, rocking_axis="theta", rocking_deg=rocking,
    )  # fmt: skip


def id01(mu_deg: float) -> Geometry:
    return parse_geometry(
        instrument="ID01", energy_kev=13.0, distance_m=1.1, pixel_size_m=55e-6, beam_center_px=(250.0, 270.0),
        angles_deg={"mu": mu_deg, "phi": 12.0, "nu": 9.0, "delta": 22.0},
        rocking_axis="eta", rocking_deg=np.linspace(10.5, 11.1, 121),
    )  # fmt: skip


def question(geometry: Geometry, peak: tuple[int, int, int], start: tuple[int, int, int]) -> dict[str, Any]:
    """What a peer needs to know; rocking angles counted from the peak, the crop told by its start on the detector."""
    center = geometry.beam_center_px or (0.0, 0.0)
    return {
        **geometry.angles_deg,
        "energy_kev": geometry.energy_kev,
        "distance_m": geometry.distance_m,
        "beam_center_px": np.array(center) + start[1:],
        "rocking_deg": geometry.rocking_deg - geometry.rocking_deg[peak[0]],
        geometry.rocking_axis: geometry.rocking_deg[peak[0]],
        "peak": peak,
        "start": start,
        "shape": SIZE,
    }


def simulated(basis_nm: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A lopsided polyhedron with a swelling of 5e-4 inside: object complex64 and support [z, y, x]."""
    places = np.moveaxis(np.indices(SIZE), 0, -1) - np.array(SIZE) // 2
    r = places @ basis_nm.T
    normals = np.random.default_rng(3).normal(size=(14, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    support = np.all(r @ normals.T < np.linspace(280.0, 420.0, 14), axis=-1)
    swelling = np.exp(-np.sum((r - SWELLING_NM) ** 2, axis=-1) / (2 * SWELLING_WIDTH_NM**2))
    displacement_nm = 0.15 * swelling + 2e-4 * (r @ [0.4, 0.1, -0.3])
    phase = -10.0 * np.linalg.norm(q) * displacement_nm
    return (support * np.exp(1j * phase)).astype(np.complex64), support


def known_strain(ours: dict[str, Any]) -> np.ndarray:
    """The simulated crystal's strain along Q on our laboratory grid, to within a constant."""
    places = np.moveaxis(np.indices(ours["strain"].shape), 0, -1) - (np.array(ours["strain"].shape) - 1) / 2
    r = places[..., ::-1] * ours["voxel_nm"] + ours["middle_nm"] - SWELLING_NM
    along = ours["q"] / np.linalg.norm(ours["q"])
    swelling = 0.15 * np.exp(-np.sum(r**2, axis=-1) / (2 * SWELLING_WIDTH_NM**2))
    return -swelling * (r @ along) / SWELLING_WIDTH_NM**2


def ours_on(object_: np.ndarray, support: np.ndarray, basis_nm: np.ndarray, q: np.ndarray) -> dict[str, Any]:
    begun = time.perf_counter()
    object_lab, support_lab, voxel_nm = to_lab(object_, support, basis_nm)
    _, strain = displacement_and_strain(object_lab, support_lab, q, voxel_nm)
    seconds = time.perf_counter() - begun
    middle = basis_nm @ (np.argwhere(support).mean(axis=0) - np.array(SIZE) // 2)
    return {
        "object": object_, "support": support, "object_lab": object_lab, "support_lab": support_lab, "strain": strain,
        "voxel_nm": voxel_nm, "q": q, "middle_nm": middle, "seconds": seconds,
    }  # fmt: skip


def ask(python: Path, questions: dict[str, Any]) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder) / "asked.npz", Path(folder) / "answered.npz"
        np.savez(asked, **questions)
        script = Path(__file__).with_name("geometry_peers.py")
        subprocess.run([python, script, asked, answered], check=True, stdout=subprocess.DEVNULL)
        with np.load(answered) as found:
            return {key: found[key] for key in found.files}


def compare_bases(name: str, basis: np.ndarray, q: np.ndarray, peer: dict[str, np.ndarray]) -> dict[str, Any]:
    """Voxel edges of the object, |Q| and directions; the largest deviation decides."""
    ours, theirs = (np.linalg.norm(direct_basis(b, SIZE), axis=0) for b in (basis, peer["basis"]))
    q_ours, q_theirs = np.linalg.norm(q), np.linalg.norm(peer["q"])
    unit, peer_unit = (b / np.linalg.norm(b, axis=0) for b in (basis, peer["basis"]))
    cosine = np.sum(unit * peer_unit, axis=0)
    worst = max(np.abs(ours / theirs - 1).max(), abs(q_ours / q_theirs - 1))
    return {
        "name": name,
        "edges_nm": ours.tolist(),
        "peer_edges_nm": theirs.tolist(),
        "q": float(q_ours),
        "peer_q": float(q_theirs),
        "q_vector_off": float(np.linalg.norm(q - peer["q"]) / q_ours),
        "worst_direction_deg": float(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))).max()),
        "worst_relative": float(worst),
        "passed": bool(worst <= EDGE_BAR),
    }


def on_our_voxels(ours: dict[str, Any], peer: dict[str, np.ndarray]) -> np.ndarray:
    """The peer's strain on our grid: the two differ by whole voxels only."""
    theirs = np.full(ours["strain"].shape, np.nan)
    mine, other = [], []
    for n, axis, middle in zip(theirs.shape, "zyx", ours["middle_nm"][::-1], strict=True):
        places = np.rint((peer[f"{axis}_nm"] - middle) / ours["voxel_nm"]).astype(int) + (n - 1) // 2
        kept = (places >= 0) & (places < n)
        mine.append(places[kept])
        other.append(np.flatnonzero(kept))
    theirs[np.ix_(*mine)] = peer["strain"][np.ix_(*other)]
    return theirs


def agreement(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Correlation and slope, surface included, wherever both have a strain."""
    both = np.isfinite(ours) & np.isfinite(theirs)
    return float(np.corrcoef(ours[both], theirs[both])[0, 1]), float(np.polyfit(theirs[both], ours[both], 1)[0])


def bulk(strain: np.ndarray) -> np.ndarray:
    """Strain without its surface: there two supports that differ by a voxel take different neighbours."""
    return np.where(binary_erosion(np.isfinite(strain)), strain, np.nan)


def compare_strains(name: str, ours: dict[str, Any], peer: dict[str, np.ndarray]) -> dict[str, Any]:
    given, own = (on_our_voxels(ours, part(kind, peer)) for kind in ("given", "own"))
    correlation, slope = agreement(ours["strain"], given)
    truth = ours.get("truth")
    return {
        "name": name,
        "voxels": int(np.isfinite(ours["strain"]).sum()),
        "voxels_compared": int((np.isfinite(ours["strain"]) & np.isfinite(given)).sum()),
        "correlation": correlation,
        "slope": slope,
        "correlation_own_support": agreement(bulk(ours["strain"]), bulk(own))[0],
        "correlation_same_voxels": agreement(ours["strain"], peer["same_voxels"])[0],
        "truth": None if truth is None else agreement(truth, ours["strain"])[0],
        "peer_truth": None if truth is None else agreement(truth, given)[0],
        "strain_rms": float(np.nanstd(ours["strain"])),
        "seconds": ours["seconds"],
        "peer_seconds": float(peer["given/seconds"]),
        "passed": bool(correlation >= CORRELATION_BAR and slope > 0.0),
        "maps": (ours["strain"], given),
    }


def curvature(geometry: Geometry, peak: tuple[int, int, int], basis: np.ndarray) -> float:
    """Largest distance, in voxels, between the curved Ewald sphere and the straight grid over the volume's corners."""
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in SIZE], indexing="ij"), axis=-1).reshape(-1, 3)
    curved = crystal_momentum_transfer(geometry, corners, peak[0]) - momentum_transfer(geometry, peak)
    return float(np.abs(np.linalg.solve(basis, curved.T).T - (corners - peak)).max())


def picture(path: Path, strains: list[dict[str, Any]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(len(strains), 3, figsize=(10, 3.4 * len(strains)), squeeze=False)
    for row, result in zip(panels, strains, strict=True):
        ours, theirs = (volume[volume.shape[0] // 2] for volume in result["maps"])
        limit = float(np.nanpercentile(np.abs(ours), 99))
        maps = (("Braggloop", ours), ("cdiutils", theirs), ("difference", ours - theirs))
        for panel, (title, image) in zip(row, maps, strict=True):
            drawn = panel.imshow(image, cmap="RdBu_r", vmin=-limit, vmax=limit, origin="lower")
            panel.set_title(f"{result['name']}: {title}")
            figure.colorbar(drawn, ax=panel, shrink=0.8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def report(bases: list[dict[str, Any]], strains: list[dict[str, Any]], bend_voxels: float) -> None:
    print(f"{'geometry':24} {'edges z, y, x (nm)':>24} {'|Q| (1/A)':>10}  worst off  directions")
    for line in bases:
        edges = " ".join(f"{edge:7.3f}" for edge in line["edges_nm"])
        print(f"{line['name']:24} {edges:>24} {line['q']:10.5f}  {line['worst_relative']:9.1e}  "
              f"{line['worst_direction_deg']:.4f} deg  {'passed' if line['passed'] else 'MISSED'}")  # fmt: skip
    print(f"\n{'strain, with cdiutils':24} correlation   slope  own, bulk    same voxels  rms      seconds, cdiutils'")
    for line in strains:
        print(f"{line['name']:24} {line['correlation']:11.5f} {line['slope']:7.4f} "
              f"{line['correlation_own_support']:12.5f} {line['correlation_same_voxels']:12.5f}  "
              f"{line['strain_rms']:.1e}  {line['seconds']:.2f}, {line['peer_seconds']:.2f}  "
              f"{'passed' if line['passed'] else 'MISSED'}")  # fmt: skip
        if line["truth"] is not None:
            print(f"{'  with the known strain':24} {line['truth']:11.5f}, cdiutils {line['peer_truth']:.5f}")
    print(f"\nEwald curvature left out of the straight grid, worst corner of {SIZE}: {bend_voxels:.3f} voxels")


def id01_scans() -> tuple[tuple[int, int, int], tuple[int, int, int], dict[str, Geometry]]:
    """Start and peak of the crop, and the scan for each peer: cdiutils knows no mu, xrayutilities does."""
    start = (20, 150, 190)
    scans = {"cdiutils": crop_geometry(id01(0.0), start, SIZE), "xrayutilities": crop_geometry(id01(3.0), start, SIZE)}
    return start, (30, 40, 20), scans


def load_objects(paths: list[Path], basis_nm: np.ndarray, q: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    objects = {"simulated": simulated(basis_nm, q)}
    for path in paths:
        with np.load(path) as found:
            objects[path.stem] = (found["object"], isosurface(found["object"], found["support"]))
    return objects


def prefixed(name: str, part: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}/{key}": value for key, value in part.items()}


def part(name: str, answers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key.removeprefix(f"{name}/"): value for key, value in answers.items() if key.startswith(f"{name}/")}


def run(python: Path, scan_file: Path | None, object_files: list[Path]) -> tuple[list[Any], list[Any], float]:
    peak = (SIZE[0] // 2, SIZE[1] // 2, SIZE[2] // 2)
    start = (SCAN_PEAK[0] - peak[0], SCAN_PEAK[1] - peak[1], SCAN_PEAK[2] - peak[2])
    scan = crop_geometry(scan54(scan_file), start, SIZE)
    basis, q = reciprocal_basis(scan, peak, SIZE), momentum_transfer(scan, peak)
    id_start, id_peak, id_scans = id01_scans()

    objects = load_objects(object_files, direct_basis(basis, SIZE), q)
    results = {name: ours_on(*pair, direct_basis(basis, SIZE), q) for name, pair in objects.items()}
    results["simulated"]["truth"] = known_strain(results["simulated"])
    questions = prefixed("scan", question(scan, peak, start)) | {"objects": np.array(list(objects))}
    questions |= prefixed("id01", question(id_scans["xrayutilities"], id_peak, id_start))
    for name, result in results.items():
        questions |= prefixed(name, result)
    answers = ask(python, questions)

    bases = [
        compare_bases(f"34-ID-C, {peer}", basis, q, part(f"scan/{peer}", answers)) for peer in ("cdiutils", "cohere")
    ]
    for peer, geometry in id_scans.items():
        own = reciprocal_basis(geometry, id_peak, SIZE), momentum_transfer(geometry, id_peak)
        bases.append(compare_bases(f"ID01, {peer}", *own, part(f"id01/{peer}", answers)))
    strains = [compare_strains(name, results[name], part(name, answers)) for name in objects]
    return bases, strains, curvature(scan, peak, basis)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", type=Path, required=True, help="Python with the peers installed")
    parser.add_argument("--scan", type=Path, help="the real rocking scan, HDF5")
    parser.add_argument("--object", type=Path, action="append", default=[], help=".npz with object and support")
    parser.add_argument("--out", type=Path, default=Path("braggloop-results"), help="folder of the results")
    arguments = parser.parse_args()

    bases, strains, bend_voxels = run(arguments.peer_python, arguments.scan, arguments.object)
    report(bases, strains, bend_voxels)
    arguments.out.mkdir(parents=True, exist_ok=True)
    picture(arguments.out / "geometry.png", strains)
    table = {"bases": bases, "strains": [{k: v for k, v in line.items() if k != "maps"} for line in strains]}
    (arguments.out / "geometry.json").write_text(json.dumps(table, indent=2))
    print(f"written: {arguments.out}/geometry.json, geometry.png")
    return 0 if all(line["passed"] for line in (*bases, *strains)) else 1


if __name__ == "__main__":
    sys.exit(main())
