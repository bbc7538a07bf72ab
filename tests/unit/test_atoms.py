"""Nanocrystals of atoms: defects as inserted and as LAMMPS leaves them, found again in the positions alone."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from rich.console import Console
from scipy.spatial import cKDTree

from models.cards import read_card
from models.simulate.atoms import pinned
from models.simulate.atoms.bulk import lattice_constant_nm, stacking_fault_energy_mj_m2
from models.simulate.atoms.catalogue import make, relaxed_nanocrystal, table
from models.simulate.atoms.labels import SURFACE_DEPTH, depth_nm, hcp_layers
from models.simulate.atoms.lines import Dislocations, dislocations
from models.simulate.atoms.nanocrystals import CHARACTERS_DEG, Inserted, nanocrystal, random_facets, random_nanocrystal
from models.simulate.atoms.potentials import POTENTIALS, Potential, potential_of, potentials_folder
from models.simulate.atoms.relaxation import relaxed
from models.simulate.atoms.specimens import frozen_atomic_scenes
from models.simulate.atoms.store import entries, gather, require_catalogue, write_at_rest, write_crystal
from models.simulate.atoms.threads import dislocation_threads, neighbour_vectors
from models.simulate.draws import seeded
from models.simulate.families import SINGLE, Defect
from models.simulate.fcc import shockley_partials, slip_systems
from models.training.run import Plan, Run
from tests.helpers.training import TICK_S, TINY, TickingClock

LATTICE_NM = 0.4
RADIUS_NM = 3.0
STRAIGHT = (Defect.EDGE, Defect.SCREW, Defect.MIXED, Defect.DISSOCIATED)


def inserted(defect: Defect, seed: int = 0) -> tuple[np.ndarray, Inserted]:
    generator = seeded(seed)
    return random_nanocrystal(generator, "Al", LATTICE_NM, random_facets(generator, RADIUS_NM), defect)


def found_in(positions_nm: np.ndarray, seed: int = 0) -> Dislocations:
    threads = dislocation_threads(positions_nm, LATTICE_NM)
    facets = random_facets(seeded(seed), RADIUS_NM)
    depth = facets.distances_nm[0].numpy() - threads.middle_nm @ facets.normals[0].numpy().T
    return dislocations(threads[depth.min(1) > SURFACE_DEPTH * LATTICE_NM], LATTICE_NM)


# As inserted


@pytest.mark.parametrize("defect", list(SINGLE))
def test_no_atoms_lie_on_each_other(defect: Defect) -> None:
    positions, _ = inserted(defect)
    nearest = cKDTree(positions).query(positions, k=2)[0][:, 1]
    assert nearest.min() > 0.65 * LATTICE_NM / 2**0.5


def test_the_first_partial_never_puts_atoms_on_atoms() -> None:
    normals, steps = slip_systems()
    layer = torch.tensor([[x, y, z] for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)]) / 2
    sites = layer[(2 * layer.sum(1)).round() % 2 == 0]
    for normal, partial in zip(normals, shockley_partials(normals, steps)[:, 0], strict=True):
        height = sites @ normal
        above, here = sites[(height > 0.5) & (height < 0.6)], sites[height.abs() < 0.1]
        assert torch.cdist(above + partial, here).min() == pytest.approx(0.5**0.5, abs=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("defect", STRAIGHT)
def test_a_straight_dislocation_is_found_as_it_was_inserted(defect: Defect, seed: int) -> None:
    positions, what = inserted(defect, seed)
    found = found_in(positions, seed)
    same_sense = np.sign(found.along @ what.line)
    assert found.along * same_sense == pytest.approx(what.line, abs=0.04)
    assert found.burgers * same_sense == pytest.approx(what.burgers)
    assert not found.loops
    assert [line.partial for line in found.through] == ([True, True] if defect == Defect.DISSOCIATED else [False])
    if defect != Defect.DISSOCIATED:
        assert found.through[0].character_deg == pytest.approx(CHARACTERS_DEG[defect], abs=2.0)


def test_the_partials_are_those_of_the_slip_system() -> None:
    positions, what = inserted(Defect.DISSOCIATED)
    found = found_in(positions)
    sense = np.sign(found.along @ what.line)
    partials = shockley_partials(*(torch.from_numpy(each).float() for each in (what.glide, what.burgers)))
    of_lines = sorted((sense * line.burgers).round(4).tolist() for line in found.through)
    assert np.allclose(of_lines, sorted(partials.numpy().round(4).tolist()), atol=1e-3)
    # The first one bounds the fault on the side where the ribbon ends in good crystal.
    ahead, other = sorted(found.through, key=lambda line: np.linalg.norm(sense * line.burgers - partials[0].numpy()))
    across = np.cross(what.glide, what.line)
    assert (ahead.middle_nm - other.middle_nm) @ across == pytest.approx(1.5, abs=0.3)
    assert found.ribbon_nm == pytest.approx(1.5, abs=0.3)
    assert found_in(inserted(Defect.EDGE)[0]).ribbon_nm == 0.0


def test_a_dislocation_lies_where_it_is_put() -> None:
    (normal, *_), (step, *_) = slip_systems()
    middle_nm = LATTICE_NM * torch.tensor([2.5, -1.0, 1.5], dtype=torch.float64)
    system = normal[None].double(), step[None].double()
    positions, what = nanocrystal(
        "Al", LATTICE_NM, random_facets(seeded(0), RADIUS_NM), Defect.EDGE, *system, middle_nm
    )
    (line,) = found_in(positions).through
    away = line.middle_nm - middle_nm.numpy()
    assert np.linalg.norm(np.cross(away, what.line)) < LATTICE_NM


def test_sites_are_vectors_of_the_lattice_near_enough() -> None:
    generator = seeded(0)
    sites = torch.stack([pinned.random_site(generator, LATTICE_NM, 2.0) for _ in range(50)])
    assert torch.allclose((sites / LATTICE_NM).round() * LATTICE_NM, sites)
    assert 1.0 < sites.norm(dim=1).amax() < 2.0 + LATTICE_NM


def test_lomers_edges_lie_on_planes_of_the_cube() -> None:
    normals, steps = pinned.lomer_systems()
    assert len(np.unique(torch.cat([normals, steps], 1).numpy(), axis=0)) == 12
    assert not (normals * steps).sum(1).any()
    assert torch.allclose(steps.norm(dim=1), torch.tensor(0.5**0.5))


@pytest.mark.parametrize(("defect", "planes"), [(Defect.EDGE, 1), (Defect.SCREW, 2), (Defect.NONE, 0)])
def test_atoms_are_held_where_glide_planes_meet_the_surface(defect: Defect, planes: int) -> None:
    positions, what = inserted(defect)
    depths_nm = depth_nm(positions, random_facets(seeded(0), RADIUS_NM))
    held = pinned.belt(positions, depths_nm, what)
    assert (depths_nm[held] < pinned.BELT_DEPTH_NM).all()
    out_of_planes_nm = np.sort(np.abs(positions[held] @ what.glide))
    assert (planes > 0) == (len(out_of_planes_nm) > 0)
    # Of a single plane the belt is flat; the second one leads away from it.
    assert (planes > 1) == (out_of_planes_nm.max(initial=0.0) > pinned.BELT_HALF_WIDTH_NM)


def test_a_vacancy_loop_is_found() -> None:
    positions, what = inserted(Defect.LOOP)
    found = found_in(positions)
    assert not found.through
    (loop,) = found.loops
    # A vacancy loop: the sense of the line is right-handed about b.
    assert loop.burgers * np.sign(loop.direction @ what.burgers) == pytest.approx(what.burgers)
    assert loop.character_deg < 5.0
    assert loop.length_nm == pytest.approx(2 * np.pi * 0.4 * RADIUS_NM * 0.8, rel=0.25)


@pytest.mark.parametrize("defect", [Defect.NONE, Defect.FAULT, Defect.TWIN])
def test_perfect_crystals_faults_and_twins_have_no_lines(defect: Defect) -> None:
    found = found_in(inserted(defect)[0])
    assert not found.through
    assert not found.loops
    assert not found.burgers.any()


def test_neighbours_of_the_lattice_and_of_its_twins() -> None:
    vectors = neighbour_vectors()
    lengths, counts = np.unique((vectors**2).sum(1), return_counts=True)
    assert lengths.tolist() == [18, 36]
    assert counts.tolist() == [12 + 4 * 6, 6 + 4 * 6]
    assert cKDTree(vectors / 6).query(vectors / 6, k=2)[0][:, 1].min() > 0.33


def test_layers_stacked_as_in_hcp_are_told_by_their_normal() -> None:
    x, y = np.meshgrid(np.arange(30.0), np.arange(30.0))  # rows of more than FEWEST_IN_LAYER atoms
    normal = np.array([1.0, -1.0, 1.0]) / 3**0.5
    first, second = np.array([1.0, 1.0, 0.0]) / 2**0.5, np.array([-1.0, 1.0, 2.0]) / 6**0.5
    sheet = 0.3 * (x[..., None] * first + y[..., None] * second).reshape(-1, 3)
    spacing = LATTICE_NM / 3**0.5
    found, heights = hcp_layers(np.concatenate([sheet, sheet + spacing * normal]), LATTICE_NM)
    assert np.abs(found @ normal) == pytest.approx(1.0)
    assert np.ptp(heights) == pytest.approx(spacing)
    assert hcp_layers(np.zeros((0, 3)), LATTICE_NM)[1] == []


# LAMMPS


def test_every_potential_is_there() -> None:
    assert set(POTENTIALS) == {"Au", "Pt", "Pd", "Ni", "Cu", "Al"}
    for potential in POTENTIALS.values():
        assert (potentials_folder() / potential.file).exists()
    with pytest.raises(ValueError, match="no potential for 'Fe'"):
        potential_of("Fe")


def test_lammps_own_words_are_in_the_error() -> None:
    wrong = Potential(
        element="Cu", file="none.eam", style="eam", lattice_nm=0.36, stacking_fault_mj_m2=None, source="nobody"
    )
    with pytest.raises(ValueError, match=r"LAMMPS failed: ERROR.*none\.eam"):
        relaxed(np.array([[0.0, 0, 0], [0.25, 0, 0]]), wrong)


def test_lattice_constant_and_stacking_fault_of_copper_are_the_published_ones() -> None:
    copper = potential_of("Cu")
    lattice_nm = lattice_constant_nm(copper)
    assert lattice_nm == pytest.approx(copper.lattice_nm, rel=0.001)
    assert stacking_fault_energy_mj_m2(copper, lattice_nm) == pytest.approx(copper.stacking_fault_mj_m2, rel=0.02)


@pytest.mark.parametrize("defect", [Defect.NONE, Defect.TWIN, Defect.FAULT])
def test_what_is_at_rest_stays(defect: Defect) -> None:
    crystal = relaxed_nanocrystal("Cu", defect, 2.2, 3)
    assert crystal.found.defect == defect
    assert crystal.after.energies_ev.sum() < crystal.before.energies_ev.sum()
    across = crystal.found.burgers - crystal.inserted.burgers
    assert ((2 * across).round(6) % 1 == 0).all()  # the shift of a fault, to within a lattice vector


def test_a_screw_in_copper_splits_into_partials_that_add_up() -> None:
    crystal = relaxed_nanocrystal("Cu", Defect.SCREW, 2.6, 2)
    found, what = crystal.found, crystal.inserted
    assert found.defect == Defect.DISSOCIATED
    assert found.partials == 2
    assert found.faulted == 2
    sense = np.sign(found.line @ what.line)
    assert sense * found.burgers == pytest.approx(what.burgers)
    assert found.visibility == pytest.approx(np.array([[1, 1, 1], [2, 0, 0], [2, 2, 0]]) @ found.burgers)


@pytest.mark.parametrize("seed", range(6))
def test_an_edge_leaves_a_tiny_crystal_of_aluminium_and_the_label_says_so(seed: int) -> None:
    """Three nanometres across, every line is within reach of a surface; one partial may leave its fault behind."""
    found = relaxed_nanocrystal("Al", Defect.EDGE, 1.6, seed).found
    assert found.defect in (Defect.NONE, Defect.FAULT)
    assert found.lines == ()
    assert found.defect != Defect.NONE or not found.burgers.any()


def test_atoms_that_are_held_stay_and_all_others_come_to_rest() -> None:
    positions, _ = inserted(Defect.NONE)
    positions = positions[np.linalg.norm(positions, axis=1) < 1.5]
    held = positions[:, 0] > 1.0
    before, after = relaxed(positions, potential_of("Al"), held=held, force_tolerance=0.01)
    assert np.array_equal(after.positions_nm[held], before.positions_nm[held])
    assert np.abs(after.positions_nm - before.positions_nm)[~held].max() > 0.005
    assert after.largest_force < 0.01 < before.largest_force


@pytest.mark.parametrize("defect", [Defect.EDGE, Defect.SCREW])
def test_a_pinned_dislocation_stays(defect: Defect) -> None:
    crystal = pinned.pinned_nanocrystal("Al", defect, (2.5, 3.0), 1)
    found, what = crystal.found, crystal.inserted
    assert 2.5 <= crystal.radius_nm <= 3.0
    assert found.defect == defect
    assert np.sign(found.line @ what.line) * found.burgers == pytest.approx(what.burgers)
    assert found.ribbon_nm == 0.0


@pytest.mark.parametrize("defect", [Defect.LOOP, Defect.FAULT, Defect.TWIN])
def test_what_glides_nowhere_stays_without_being_held(defect: Defect) -> None:
    crystal = pinned.pinned_nanocrystal("Al", defect, (3.5, 4.0), 2)
    assert crystal.found.defect == defect
    assert not crystal.found.line.any()
    moved_nm = np.linalg.norm(crystal.after.positions_nm - crystal.before.positions_nm, axis=1)
    assert (moved_nm > 0.0).all()


# The catalogue


def test_a_catalogue_of_pinned_crystals_goes_on_where_it_was_and_is_read_back(tmp_path: Path) -> None:
    out, again = tmp_path / "pinned.h5", tmp_path / "again.h5"
    parts = tmp_path / "pinned.h5.parts"
    parts.mkdir()
    crystal = pinned.pinned_nanocrystal("Cu", Defect.SCREW, (2.5, 2.6), 0)
    write_at_rest(parts / "Cu-screw-0001-1.8-2nm-0.h5", crystal)
    wanted = [Defect.NONE, Defect.SCREW], ["Al", "Cu"], 2, 0, Console(quiet=True), (1.8, 2.0)
    pinned.make(out, *wanted)
    read = {entry.name: entry for entry in entries(out)}
    assert set(read) == {"Al-none-0000", "Cu-none-0001", "Al-screw-0000", "Cu-screw-0001"}
    assert read["Cu-screw-0001"].radius_nm == pytest.approx(crystal.radius_nm)
    assert read["Cu-screw-0001"].ribbon_nm == pytest.approx(crystal.found.ribbon_nm)
    assert np.allclose(read["Cu-screw-0001"].positions_nm, crystal.after.positions_nm, atol=1e-5)
    assert 1.8 <= read["Al-none-0000"].radius_nm != read["Cu-none-0001"].radius_nm <= 2.0
    assert pinned.tally(out).row_count == 4
    with h5py.File(out) as file:
        assert set(file["Al-none-0000/after"]) == {"positions_nm", "structure"}
        assert set(file["Al-none-0000"]) == {"after", "lines"}
    (scenes,) = frozen_atomic_scenes(out, "test", 2, (24, 24, 24), batch=2)
    assert torch.isfinite(scenes.expected).all()

    pinned.make(again, [Defect.NONE], ["Al"], 1, 0, Console(quiet=True), (1.8, 2.0))
    (same,) = entries(again)
    assert np.array_equal(same.positions_nm, read["Al-none-0000"].positions_nm)


def test_a_catalogue_is_gathered_from_what_is_there_and_read_back(tmp_path: Path) -> None:
    """All parts but one are there already: a run that was stopped goes on."""
    out = tmp_path / "catalogue.h5"
    parts = tmp_path / "catalogue.h5.parts"
    parts.mkdir()
    crystal = relaxed_nanocrystal("Cu", Defect.TWIN, 2.0, 0)
    for defect in SINGLE:
        if defect != Defect.NONE:
            write_crystal(parts / f"Cu-{defect.name.lower()}-2nm-0.h5", crystal)
    make(out, ["Cu"], 2.0, 0, Console(quiet=True))
    assert not parts.exists()
    read = {entry.name: entry for entry in entries(out)}
    assert set(read) == {f"Cu-{defect.name.lower()}" for defect in SINGLE}
    assert read["Cu-none"].inserted == Defect.NONE
    twin = read["Cu-twin"]
    assert twin.defect == Defect.TWIN
    assert np.allclose(twin.positions_nm, crystal.after.positions_nm, atol=1e-5)
    assert np.allclose(twin.glide, crystal.found.glide)
    assert table(out).row_count == len(SINGLE)
    with h5py.File(out) as file:
        assert file["Cu-twin"].attrs["potential"] == "Cu_mishin1.eam.alloy"
        assert file["Cu-twin/after"].attrs["energy_ev"] < file["Cu-twin/before"].attrs["energy_ev"]

    first, again = (list(frozen_atomic_scenes(out, "test", 3, (24, 24, 24), batch=2)) for _ in range(2))
    assert [len(scenes.counts) for scenes in first] == [2, 1]
    assert torch.equal(first[0].counts, again[0].counts)
    assert set(first[0].specimens.labels.defect.tolist()) <= {Defect.NONE, Defect.TWIN}
    (cut,) = frozen_atomic_scenes(out, "test", 1, (24, 24, 24), batch=2)
    assert torch.equal(cut.counts, first[0].counts[:1])

    plan = Plan(folder=tmp_path, minutes=TICK_S / 60.0, validation_volumes=2, test_volumes=2, catalogue=out)
    metrics = Run(TINY, plan, TickingClock()).train(lambda said, share: None).metrics
    assert metrics.keys() == {"train", "detectors", "atoms"}
    assert metrics["atoms"].keys() == metrics["train"].keys()
    assert metrics["atoms"]["error"] not in (0.0, metrics["train"]["error"])
    assert read_card(tmp_path).metrics == metrics
    assert torch.isfinite(first[0].expected).all()
    assert first[0].specimens.filling.amax() > 0.8


def test_what_is_no_catalogue_is_told(tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    other.write_text("no HDF5")
    with pytest.raises(ValueError, match="is no catalogue of crystals: Unable"):
        require_catalogue(other)
    for content in ({}, {"counts": np.zeros(3)}, {"Au-edge/before": np.zeros(3)}):
        with h5py.File(other, "w") as file:
            for name, values in content.items():
                file[name] = values
        with pytest.raises(ValueError, match="is no catalogue of crystals: it lacks after/positions_nm; make one with"):
            require_catalogue(other)


def test_a_catalogue_is_whole_or_not_there(tmp_path: Path) -> None:
    out = tmp_path / "catalogue.h5"
    out.write_bytes(b"the one before")
    with pytest.raises(FileNotFoundError):
        gather({"Cu-none": tmp_path / "missing.h5"}, out)
    assert out.read_bytes() == b"the one before"
