"""Crystals with defects as a measurement finds them: turned into a reflection, on the grid of a rocking scan."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from models.simulate.crystals import (
    CUBOCTAHEDRON_100_TO_111,
    WULFF_100_TO_111,
    Polyhedra,
    SmoothSurfaces,
    hollowed,
    random_polyhedra,
    random_smooth,
    random_wulff,
    surface_nm,
)
from models.simulate.dislocations import circle, dislocation_loop, dissociated, straight_dislocation
from models.simulate.displacement import phase_of, radial_basis_field, smooth_field, spanning, surface_relaxation
from models.simulate.draws import choice, chosen, directions, log_uniform, signs, uniform, unit
from models.simulate.families import Defect, Family, Shape
from models.simulate.fcc import (
    line_of_character,
    momentum_transfer,
    shockley_partials,
    slip_systems,
    standing,
    visibility,
)
from models.simulate.grains import beyond_plane, random_grains
from models.simulate.grid import Grid, RockingFrame, Triple, orthogonal_frame, oversampled_grid, random_frame
from models.simulate.metals import LATTICE_NM

# Angle between line and Burgers vector, degrees.
CHARACTERS_DEG = {Defect.SCREW: (0.0, 0.0), Defect.EDGE: (90.0, 90.0), Defect.MIXED: (25.0, 65.0)}
STRAIGHT = (Defect.EDGE, Defect.SCREW, Defect.MIXED)
# Reflections that are measured on fcc crystals.
REFLECTIONS = ((1.0, 1.0, 1.0), (2.0, 0.0, 0.0), (2.0, 2.0, 0.0))
# A defect lies within this share of the radius from the centre: farther out it is hardly in the crystal.
DEFECT_OFFSET = 0.5
# A second line lies on the other side, this far from the centre.
OTHER_OFFSET = (0.1, 0.5)
# Radius of a dislocation loop, as a share of the crystal's.
LOOP_RADIUS = (0.15, 0.5)
# Correlation length of a smooth phase, as a share of the radius: shorter ones are defects, not smooth fields.
SMOOTH_LENGTHS = (0.4, 1.5)
# Surfaces relax in this share of the crystals, by so much, over so much of the radius.
RELAXED_SHARE = 0.25
RELAXATION_NM = (-0.05, 0.05)
RELAXATION_DEPTH = (0.1, 0.4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What is wrong with each crystal; vectors float32 (batch, 3) in the axes of the cube.

    `defect` int64 (batch,), see Defect; of several lines the vectors are those of the first. `burgers` is u's gain
    around the line, or the displacement across a fault, in lattice constants, zero where there is neither. `line` unit,
    the sense of a straight line, zero where none is.
    `glide` unit, the normal of the line's plane, of the fault or of the twin, zero where nothing is wrong; that of a
    loop has the line turn right about it, so b.glide > 0 is a loop of vacancies and b.glide < 0 one of interstitials.
    `reflection` h, k, l. `visibility` (batch,) is g.b, an integer's worth of 2 pi in phase around a line, and of a twin
    1 where it is dark; at 0 the reflection shows nothing of the defect.
    """

    defect: Tensor
    burgers: Tensor
    line: Tensor
    glide: Tensor
    reflection: Tensor
    visibility: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimens:
    """A batch of crystals: `object_` complex64 (batch, z, y, x), origin at index n // 2, mean amplitude 1 inside;
    `filling` float32 the share of each voxel that diffracts; `grid` and `q` (batch, 3), 1/nm, laboratory frame; `turn`
    (batch, 3, 3) from the axes of the cube to the laboratory; `kind` int64 (batch,), see Shape.
    """

    object_: Tensor
    filling: Tensor
    grid: Grid
    q: Tensor
    turn: Tensor
    kind: Tensor
    labels: Labels


def random_specimens(generator: Generator, family: Family, batch: int, shape: Triple) -> Specimens:
    """Draw crystals of a family on grids of `shape` [z, y, x], each with a shape and a defect of its own."""
    frame = random_frame(generator, batch) if family.skewed else orthogonal_frame(batch, generator.device)
    lattice_nm, labels = _lattice(generator, family, batch)
    turn = standing(labels.reflection, frame.q, uniform(generator, 0.0, 2.0 * torch.pi, batch))
    q = momentum_transfer(frame.q, labels.reflection, lattice_nm)
    body = _body(generator, family, frame, turn, shape)
    phase = _smooth_phase(generator, family, body, q)
    filling = body.filling.clone()
    _add_grains(generator, body, filling, phase)
    object_ = torch.polar(filling, phase)
    _add_defects(generator, family, body, labels, turn, lattice_nm, q, object_, filling)
    return Specimens(object_=object_, filling=filling, grid=body.grid, q=q, turn=turn, kind=body.kind, labels=labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body:
    """Shapes of a batch: `kind` int64 (batch,), see Shape; the smooth ones are `surfaces`, all others `facets`."""

    kind: Tensor
    radius_nm: Tensor
    facets: Polyhedra
    surfaces: SmoothSurfaces
    grid: Grid
    filling: Tensor


def _lattice(generator: Generator, family: Family, batch: int) -> tuple[Tensor, Labels]:
    """Draw element, reflection, slip system and defect; return lattice constants (batch,) in nm and the labels."""
    device = generator.device
    constants = torch.tensor([LATTICE_NM[name] for name in family.elements], device=device)
    reflection = choice(generator, torch.tensor(REFLECTIONS, device=device), batch)
    defect = choice(generator, torch.tensor([int(kind) for kind in family.defects], device=device), batch)
    normals, steps = slip_systems(device)
    system = choice(generator, torch.arange(len(normals), device=device), batch)
    if Defect.MULTIPLE in family.defects:
        system = torch.where(defect == Defect.MULTIPLE, _visible_systems(generator, reflection), system)
    glide, step = normals[system], steps[system]
    line = line_of_character(glide, step, _character(generator, defect))
    partial = shockley_partials(glide, step)[:, 0]
    burgers = torch.where(_is(defect, Defect.FAULT), partial, step) * ~_is(defect, Defect.NONE, Defect.TWIN)
    loop = unit(step) * signs(generator, batch, 1)
    glide = torch.where(_is(defect, Defect.LOOP), loop, glide) * ~_is(defect, Defect.NONE)
    labels = Labels(
        defect=defect,
        burgers=burgers,
        line=line * _is(defect, *STRAIGHT, Defect.DISSOCIATED, Defect.MULTIPLE),
        glide=glide,
        reflection=reflection,
        visibility=visibility(reflection, burgers, glide, defect == Defect.TWIN),
    )
    return choice(generator, constants, batch), labels


def _visible_systems(generator: Generator, reflection: Tensor) -> Tensor:
    """Draw a slip system for each `reflection` (batch, 3) that it sees, number int64 (batch,) of `slip_systems`."""
    seen = (reflection @ slip_systems(reflection.device)[1].T).abs() > 0.5
    return torch.multinomial(seen.float(), 1, generator=generator).squeeze(1)


def _is(defect: Tensor, *kinds: Defect) -> Tensor:
    """Return bool (batch, 1): is `defect` (batch,) one of `kinds`?"""
    return torch.isin(defect, torch.tensor(kinds, device=defect.device))[:, None]


def _character(generator: Generator, defect: Tensor) -> Tensor:
    """Draw the angle between line and Burgers vector, rad (batch,), of either sense."""
    share = uniform(generator, 0.0, 1.0, len(defect))
    angle = 90.0 * share
    for kind, (low, high) in CHARACTERS_DEG.items():
        angle = torch.where(defect == kind, low + (high - low) * share, angle)
    return torch.deg2rad(torch.where(chosen(generator, 0.5, len(defect)), angle, -angle))


def _body(generator: Generator, family: Family, frame: RockingFrame, turn: Tensor, shape: Triple) -> _Body:
    batch, device = len(turn), turn.device
    radius_nm = log_uniform(generator, *family.radius_nm, batch)
    kind = choice(generator, torch.tensor([int(kind) for kind in family.shapes], device=device), batch)
    gold = torch.full((batch,), WULFF_100_TO_111, device=device)
    ratio = torch.where(kind == Shape.CUBOCTAHEDRON, CUBOCTAHEDRON_100_TO_111, gold)
    wulff, others = random_wulff(generator, radius_nm, turn, ratio), random_polyhedra(generator, radius_nm)
    odd = (kind == Shape.POLYHEDRON)[:, None]
    facets = Polyhedra(
        normals=torch.where(odd[..., None], others.normals, wulff.normals),
        distances_nm=torch.where(odd, others.distances_nm, wulff.distances_nm),
    )
    surfaces, smooth = random_smooth(generator, radius_nm), kind == Shape.SMOOTH
    points = torch.where(smooth[:, None, None], surface_nm(surfaces, batch, device), surface_nm(facets, batch, device))
    grid = oversampled_grid(frame, points, uniform(generator, *family.oversampling, batch, 3), shape)
    filling = facets.filling(grid)
    for index in _where(smooth):
        filling[index] = surfaces[index].filling(grid[index])
    for index in _where(kind == Shape.HOLLOW):
        filling[index] = hollowed(generator, facets[index], grid[index], filling[index])
    return _Body(kind=kind, radius_nm=radius_nm, facets=facets, surfaces=surfaces, grid=grid, filling=filling)


def _smooth_phase(generator: Generator, family: Family, body: _Body, q: Tensor) -> Tensor:
    """Draw the phase of what is smooth: a random field of some span, relaxed surfaces in some; (batch, z, y, x)."""
    batch, grid = body.grid.batch, body.grid
    length_nm = uniform(generator, *SMOOTH_LENGTHS, batch) * body.radius_nm
    field = smooth_field(generator, grid, length_nm)
    for index in _where(body.kind == Shape.SMOOTH):
        field[index] = radial_basis_field(generator, grid[index], body.radius_nm[index])
    phase = spanning(field, body.filling > 0.5, uniform(generator, *family.phase_range, batch))
    relaxed = chosen(generator, RELAXED_SHARE, batch)
    inward_nm = uniform(generator, *RELAXATION_NM, batch)
    depth_nm = uniform(generator, *RELAXATION_DEPTH, batch) * body.radius_nm
    smooth = body.kind == Shape.SMOOTH
    for shapes, those in ((body.surfaces, relaxed & smooth), (body.facets, relaxed & ~smooth)):
        for index in _where(those):
            moved = surface_relaxation(shapes[index], grid[index], inward_nm[index], depth_nm[index])
            phase[index] += phase_of(moved, q[index])
    return phase


def _add_grains(generator: Generator, body: _Body, filling: Tensor, phase: Tensor) -> None:
    for index in _where(body.kind == Shape.GRAINS):
        lit, ramps = random_grains(generator, body.radius_nm[index], body.grid[index])
        filling[index] *= lit
        phase[index] += ramps


def _add_defects(
    generator: Generator,
    family: Family,
    body: _Body,
    labels: Labels,
    turn: Tensor,
    lattice_nm: Tensor,
    q: Tensor,
    object_: Tensor,
    filling: Tensor,
) -> None:
    line, glide, burgers = (
        (turn @ vector[..., None]).squeeze(-1) for vector in (labels.line, labels.glide, labels.burgers)
    )
    burgers_nm = burgers * lattice_nm[:, None]
    away = directions(generator, len(q)) * uniform(generator, 0.0, DEFECT_OFFSET, len(q), 1)
    through_nm = away * body.radius_nm[:, None]

    def displaced(index: Tensor, displacement_nm: Tensor) -> None:
        object_[index] *= torch.polar(torch.ones_like(filling[index]), phase_of(displacement_nm, q[index]))

    def split(index: Tensor, width_nm: Tensor) -> None:
        partials_nm = shockley_partials(labels.glide[index], labels.burgers[index] * lattice_nm[index, None])
        partials_nm = partials_nm @ turn[index].mT
        points_nm = body.grid[index].points_nm()
        displaced(index, dissociated(points_nm, line[index], partials_nm, through_nm[index], glide[index], width_nm))

    for n in _where(_is(labels.defect, *STRAIGHT, Defect.MULTIPLE)[:, 0]):
        if family.split_nm[1] > 0.0:
            split(n, log_uniform(generator, *family.split_nm, len(n)))
        else:
            displaced(
                n, straight_dislocation(body.grid[n].points_nm(), line[n], burgers_nm[n], through_nm[n], glide[n])
            )
    for n in _where(labels.defect == Defect.MULTIPLE):
        displaced(n, _another_line(generator, body, labels.reflection[n], turn, lattice_nm, through_nm, n))
    for n in _where(labels.defect == Defect.DISSOCIATED):
        split(n, log_uniform(generator, *family.ribbon_nm, len(n)))
    for n in _where(labels.defect == Defect.LOOP):
        radius_nm = uniform(generator, *LOOP_RADIUS, len(n)) * body.radius_nm[n]
        corners_nm = circle(through_nm[n], glide[n], radius_nm)
        displaced(n, dislocation_loop(body.grid[n].points_nm(), corners_nm, burgers_nm[n]))
    for n in _where((labels.defect == Defect.FAULT) | (labels.defect == Defect.TWIN)):
        beyond = beyond_plane(glide[n], (glide[n] * through_nm[n]).sum(-1), body.grid[n])
        _add_plane(n, beyond, labels, (q[n] * burgers_nm[n]).sum(-1), object_, filling)


def _another_line(
    generator: Generator,
    body: _Body,
    reflection: Tensor,
    turn: Tensor,
    lattice_nm: Tensor,
    through_nm: Tensor,
    index: Tensor,
) -> Tensor:
    """Return what a second visible dislocation adds to the displacement, on the other side of the middle."""
    normals, steps = slip_systems(index.device)
    system = _visible_systems(generator, reflection)
    angle = torch.deg2rad(uniform(generator, 0.0, 90.0, len(index)))
    line = line_of_character(normals[system], steps[system], angle)
    line, glide, burgers = (
        (turn[index] @ vector[..., None]).squeeze(-1) for vector in (line, normals[system], steps[system])
    )
    opposite_nm = -unit(through_nm[index]) * uniform(generator, *OTHER_OFFSET, len(index), 1)
    opposite_nm = opposite_nm * body.radius_nm[index, None]
    burgers_nm = burgers * lattice_nm[index, None]
    return straight_dislocation(body.grid[index].points_nm(), line, burgers_nm, opposite_nm, glide)


def _add_plane(
    index: Tensor, beyond: Tensor, labels: Labels, q_dot_r: Tensor, object_: Tensor, filling: Tensor
) -> None:
    """Shift what lies beyond a fault by its phase; darken what lies beyond a twin boundary, unless the twin's lattice
    shares the reflection.
    """
    dark = (labels.defect[index] == Defect.TWIN) & (labels.visibility[index] != 0.0)
    jump = torch.polar((~dark).float(), -q_dot_r)[:, None, None, None]
    object_[index] *= 1.0 - beyond + beyond * jump
    filling[index] *= 1.0 - beyond * dark.float()[:, None, None, None]


def _where(those: Tensor) -> list[Tensor]:
    """Return the indices of the crystals meant, or nothing where there are none."""
    index = those.nonzero().squeeze(-1)
    return [index] if len(index) else []
