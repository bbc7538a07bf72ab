"""What the classifier of single frames sees and learns."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from models.defects.classes import CLASSES
from models.defects.extent import THRESHOLD
from models.defects_slice import train
from models.defects_slice.train import TASK, examples, loss, metrics, turned
from models.defects_slice.view import CHANNELS, EDGE, skewed, upright
from models.invert.view import REACH
from models.simulate.crystals import random_polyhedra
from models.simulate.diffraction import far_field, intensity
from models.simulate.dislocations import straight_dislocation
from models.simulate.displacement import phase_of
from models.simulate.draws import normal, seeded, unit
from models.simulate.families import FAMILIES, Defect, Shape
from models.simulate.grid import Grid
from models.simulate.scenes import Scenes, random_scenes
from models.simulate.specimens import REFLECTIONS, random_specimens

N, RADIUS_NM = 48, 100.0
# Weaker fringes than these counts show are those of the voxels, which turn with the detector.
COUNTS = 1e5
MIDDLE = EDGE // 2
KNOWN = torch.tensor([1])
# z along the laboratory's third axis, nm a voxel along z, y, x: frames as finely sampled as the view, or finer.
SHAPE = (24, 96, 96)
STEPS_NM = torch.diag(torch.tensor([20.0, 5.0, 5.5])).flip(0)[None]
Z = torch.tensor([[0.0, 0.0, 1.0]])


def frame(grid: Grid, filling: Tensor, phase: Tensor | None = None) -> Tensor:
    """The frame through the peak of a crystal, COUNTS in all, without noise."""
    object_ = filling.to(torch.complex64) if phase is None else torch.polar(filling, phase)
    counts = intensity(far_field(object_))[:, object_.shape[1] // 2]
    return counts * (COUNTS / counts.sum())


def rolled(angle_deg: float, basis_nm: Tensor = STEPS_NM) -> Grid:
    """A grid whose y and x are turned about the normal of the frame."""
    cos, sin = (getattr(torch.deg2rad(torch.tensor(angle_deg)), name)() for name in ("cos", "sin"))
    turn = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    return Grid(basis_nm=turn @ basis_nm, shape=SHAPE)


def apart(first: Tensor, second: Tensor) -> float:
    """How far two views are apart in the worst of: logarithms, autocorrelation, that of the roots."""
    fields = (slice(0, 1), slice(1, 3), slice(3, 5))
    return max(float((first - second)[:, field].norm() / first[:, field].norm()) for field in fields)


@cache
def drawn() -> Scenes:
    return random_scenes(seeded(1), FAMILIES["defects"], 8, (N, N, N))


@pytest.mark.parametrize("angle_deg", [15.0, 45.0, 90.0, 160.0])
def test_a_frame_looks_the_same_at_any_roll_of_the_detector(angle_deg: float) -> None:
    crystal, q = random_polyhedra(seeded(0), torch.tensor([RADIUS_NM])), torch.tensor([[20.0, 12.0, 7.0]])
    before, after = rolled(0.0), rolled(angle_deg)
    views = [upright(frame(grid, crystal.filling(grid)), grid.basis_nm, q, KNOWN) for grid in (before, after)]
    assert apart(*views) < 0.05
    other = upright(frame(after, crystal.filling(after)), before.basis_nm, q, KNOWN)  # told of another roll
    assert apart(views[0], other) > 0.3


def test_a_frame_looks_the_same_however_finely_it_is_sampled() -> None:
    crystal, q = random_polyhedra(seeded(2), torch.tensor([RADIUS_NM])), torch.tensor([[20.0, 12.0, 7.0]])
    coarse, fine = rolled(30.0), rolled(30.0, STEPS_NM * torch.tensor([1.0, 0.8, 0.9]))
    views = [upright(frame(grid, crystal.filling(grid)), grid.basis_nm, q, KNOWN) for grid in (coarse, fine)]
    assert apart(*views) < 0.05


def test_the_part_of_q_in_the_plane_lies_along_y_and_its_angle_is_told() -> None:
    """A slab twice as long along that part as across it."""
    q = torch.tensor([[3.0, 4.0, 5.0]])
    along = torch.tensor([[0.6, 0.8, 0.0]])
    across = torch.tensor([[-0.8, 0.6, 0.0]])
    for angle_deg in (0.0, 70.0):
        grid = rolled(angle_deg)
        parts = [
            (grid.project(axis).abs() < half).float() for axis, half in ((along, 100.0), (across, 50.0), (Z, 80.0))
        ]
        view = upright(frame(grid, parts[0] * parts[1] * parts[2]), grid.basis_nm, q, KNOWN)[0, :, 0]
        seen = view[1] > 0.05
        assert float(seen[:, MIDDLE].sum()) == pytest.approx(2.0 * float(seen[MIDDLE].sum()), rel=0.15)
        torch.testing.assert_close(view[CHANNELS - 1], torch.full((EDGE, EDGE), 0.5**0.5))
        told = torch.zeros(len(REFLECTIONS) + 1)
        told[1] = 1.0
        torch.testing.assert_close(view[5:-1, 0, 0], told)


def test_sizes_are_those_of_the_crystals() -> None:
    plain = replace(FAMILIES["defects"], shapes=(Shape.WULFF, Shape.POLYHEDRON), defects=(Defect.NONE,))
    specimens = random_specimens(seeded(3), plain, 8, (N, N, N))
    pattern = intensity(far_field(specimens.object_))[:, N // 2]
    counts = pattern * (COUNTS / pattern.sum((1, 2), keepdim=True))
    views = upright(counts, specimens.grid.basis_nm, specimens.q, torch.zeros(8, dtype=torch.int64))
    away = (torch.stack(torch.meshgrid(*[torch.arange(EDGE) - MIDDLE] * 2, indexing="ij")) ** 2).sum(0).sqrt()
    reach = ((views[:, 1:3, 0].norm(dim=1) > THRESHOLD) * away).amax((1, 2)) / (
        (1.0 - THRESHOLD**0.5) * EDGE / 2 / REACH
    )
    assert bool(((reach > 1.8) & (reach < 2.2)).all())


def test_a_gap_through_the_peak_that_is_filled_badly_changes_no_size() -> None:
    """Its errors are noise all over the autocorrelation, which a search for the farthest place would take for it."""
    crystal, q, grid = (
        random_polyhedra(seeded(0), torch.tensor([RADIUS_NM])),
        torch.tensor([[20.0, 12.0, 7.0]]),
        rolled(20.0),
    )
    counts = frame(grid, crystal.filling(grid))
    wrong = torch.ones_like(counts)
    wrong[:, 46:50] = (0.3 * normal(seeded(1), 1, 4, counts.shape[-1])).exp()
    views = [upright(one, grid.basis_nm, q, KNOWN) for one in (counts, counts * wrong)]
    areas = [(view[0, 1, 0] > 0.3).sum().item() for view in views]
    assert areas[1] == pytest.approx(areas[0], rel=0.35)


def test_q_along_the_normal_and_a_frame_without_a_photon_are_told_all_the_same() -> None:
    grid = rolled(20.0)
    crystal = random_polyhedra(seeded(4), torch.tensor([RADIUS_NM]))
    assert upright(frame(grid, crystal.filling(grid)), grid.basis_nm, Z, KNOWN).isfinite().all()
    assert upright(torch.zeros(1, N, N), grid.basis_nm, Z, KNOWN).isfinite().all()
    assert skewed(torch.zeros(1, N, N)).isfinite().all()


def test_a_screw_along_the_normal_darkens_the_middle() -> None:
    """With g.b = 1 all that lies around the line cancels: the frame is a ring."""
    grid = rolled(35.0)
    ball = (grid.points_nm().norm(dim=1) < RADIUS_NM).float()
    burgers_nm, q = 0.3 * Z, torch.tensor([[12.0, 5.0, 2.0 * torch.pi / 0.3]])
    glide = torch.tensor([[0.0, 1.0, 0.0]])
    screw = phase_of(straight_dislocation(grid.points_nm(), Z, burgers_nm, torch.zeros(1, 3), glide), q)
    dark, bright = (upright(frame(grid, ball, phase), grid.basis_nm, q, KNOWN)[0, 0, 0] for phase in (screw, None))
    assert dark[MIDDLE, MIDDLE] < 0.7 * dark.max()
    assert bright[MIDDLE, MIDDLE] == bright.max()


def test_shapes_and_classes() -> None:
    shown = examples(drawn(), seeded(2))
    assert shown.inputs.shape == (3 * 8, CHANNELS, 1, EDGE, EDGE)  # three frames of each
    assert shown.inputs.isfinite().all()
    assert bool(((shown.targets >= 0) & (shown.targets < len(CLASSES))).all())
    sines, unknown = shown.inputs[:, -1, 0, 0, 0], shown.inputs[:, -2, 0, 0, 0] == 1.0
    assert bool(unknown.any())
    assert not bool(unknown.all())
    assert bool((sines[unknown] == 0.0).all())
    known = train.tests(drawn(), seeded(2)).inputs[:, -1, 0, 0, 0]
    # The detector stands across the diffracted beam: Q leaves its plane by half of two theta.
    assert bool(((known > 0.13) & (known < 0.51)).all())


def test_frames_across_each_axis_know_how_they_lie_to_q() -> None:
    """The plane of a frame stands across the object's step along the axis that it cuts."""
    scenes = drawn()
    shown = examples(scenes, seeded(2)).inputs.view(3, 8, CHANNELS, EDGE, EDGE)
    steps, q = scenes.specimens.grid.basis_nm, scenes.specimens.q
    for axis, views in enumerate(shown):
        sines = torch.linalg.vecdot(unit(q), unit(steps[..., axis])).abs()
        known = views[:, -1, 0, 0] != 0.0
        assert int(known.sum()) >= 2
        torch.testing.assert_close(views[known, -1, 0, 0], sines[known], atol=1e-4, rtol=0.0)


def test_mirrored_examples_are_those_of_mirrored_frames() -> None:
    """A frame and its autocorrelation stay a pair of transforms, and what is known of them stays."""
    shown = train.tests(drawn(), seeded(2))
    after = turned(shown, seeded(3))
    assert not torch.equal(after.inputs, shown.inputs)
    assert torch.equal(after.targets, shown.targets)
    assert torch.equal(after.inputs[:, 5:], shown.inputs[:, 5:])
    correlation = torch.complex(after.inputs[:, 1], after.inputs[:, 2])
    told, logs = far_field(correlation).real.clamp(min=0.0).flatten(1), after.inputs[:, 0].flatten(1)
    counts = torch.expm1(5.0 * logs)
    cosine = (told * counts).sum(1) / told.norm(dim=1) / counts.norm(dim=1)
    assert cosine.min() > 0.999


def test_a_mirrored_crystal_shows_the_mirrored_frame() -> None:
    """Along each axis of the upright view, whatever the angle of Q to the plane."""
    grid = Grid(basis_nm=STEPS_NM, shape=SHAPE)
    q = torch.tensor([[20.0, 0.0, 9.0]])  # its part in the plane lies along the first axis, x of the grid or y
    crystal = random_polyhedra(seeded(6), torch.tensor([RADIUS_NM]))
    phase = (
        0.01 * grid.project(torch.tensor([[1.0, 0.7, 0.3]])) + 2e-4 * grid.project(torch.tensor([[0.2, 1.0, 0.1]])) ** 2
    )
    filling = crystal.filling(grid)
    first = upright(frame(grid, filling, phase), grid.basis_nm, q, KNOWN)
    for axis in (2, 3):
        twin = upright(
            frame(grid, filling.flip(axis).roll(1, axis), phase.flip(axis).roll(1, axis)), grid.basis_nm, q, KNOWN
        )
        flips = [apart(first.flip(along).roll(1, along), twin) for along in (3, 4)]
        assert min(flips) < 0.02
        assert max(flips) > 0.1


def test_the_classifier_learns() -> None:
    shown = train.tests(drawn(), seeded(4))
    torch.manual_seed(0)
    network = TASK.build()
    assert 4e5 < sum(weight.numel() for weight in network.parameters()) < 6e5
    optimizer, losses = torch.optim.Adam(network.parameters(), 1e-3), []
    for _ in range(12):
        optimizer.zero_grad()
        told = network(shown.inputs)
        off = loss(told, shown)
        off.backward()
        optimizer.step()
        losses.append(off.item())
    assert told.shape == (8, len(CLASSES))
    assert losses[-1] < 0.6 * losses[0]
    assert set(metrics(told, shown)) >= {"accuracy", "three", "unknown", "cross_entropy"}
