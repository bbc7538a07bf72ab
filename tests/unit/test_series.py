"""A series of crystals, its path through the space of crystals, and its picture."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from models.bcdi.modes import twin
from models.invert.series import on_crystal_grid, semi_axes_of, trajectory
from models.invert.view import EDGE, grid_space
from models.simulate.draws import seeded
from service.cli import app
from service.results.nexus import write_result
from service.settings import Settings
from tests.helpers.results import make_crystal, make_reconstruction, make_volume

STEPS = 5


@pytest.fixture(scope="module")
def drifting() -> list[np.ndarray]:
    """Crystals whose latents go along a line, a tenth of the phase's bumps and a little of the surface a step."""
    space = grid_space()
    generator = seeded(2)
    begin = space.sphere()
    begin[space.phase] = 0.5 * torch.randn(space.phase.stop - space.phase.start, generator=generator)
    drift = torch.zeros_like(begin)
    drift[space.phase.start] = 0.4
    drift[2] = 0.05
    return [space.objects((begin + step * drift)[None])[0].numpy() for step in range(STEPS)]


def test_a_line_is_a_line_in_the_plane_of_largest_change(drifting: list[np.ndarray]) -> None:
    found = trajectory(drifting)
    assert found.shares[0] > 5.0 * found.shares[1]
    assert sum(found.shares) <= 1.0 + 1e-9
    steps = np.diff(found.places[:, 0])
    assert (steps > 0).all() or (steps < 0).all()
    for changed in (found.surface, found.phase):
        assert changed[0] == 0.0
        assert (np.diff(changed) > 0).all()


def test_hands_do_not_count(drifting: list[np.ndarray]) -> None:
    mixed = [twin(crystal) if number % 2 else crystal for number, crystal in enumerate(drifting)]
    plain, other = trajectory(drifting), trajectory(mixed)
    np.testing.assert_allclose(other.surface, plain.surface, atol=0.01)
    np.testing.assert_allclose(other.phase, plain.phase, atol=0.05)


def test_a_crystal_is_shown_in_units_of_its_size() -> None:
    small, support, _ = make_crystal(40)
    large, wide, _ = make_crystal(80)
    shown = [on_crystal_grid(o, s, semi_axes_of(s)) for o, s in ((small, support), (large, wide))]
    assert shown[0].shape == (EDGE, EDGE, EDGE)
    overlap = abs(np.vdot(*shown)) / np.linalg.norm(shown[0]) / np.linalg.norm(shown[1])
    assert overlap > 0.9


def test_too_few_and_empty_ones_are_refused(drifting: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="2 crystals: a series needs 3 or more"):
        trajectory(drifting[:2])
    whole, axes = np.abs(drifting[0]) > 0.5, (7.0, 7.0, 7.0)
    for object_, support, compared, told in (
        (drifting[0], np.zeros_like(whole), axes, "support is empty"),
        (drifting[0], whole, (20.0, 20.0, 20.0), "times as large as the first, expected 0.5 to 1.6"),
        (drifting[0], whole, (7.0, 7.0, 2.0), "times as large"),
        (0.0 * drifting[0], whole, axes, "zero or not finite"),
        (np.nan * drifting[0], whole, axes, "zero or not finite"),
    ):
        with pytest.raises(ValueError, match=told):
            on_crystal_grid(object_, support, compared)


def test_the_command_tells_and_draws(tmp_path: Path) -> None:
    result = make_reconstruction()
    files = []
    for step in range(3):
        turn = np.exp(0.3j * step * np.linspace(-1.0, 1.0, result.object_lab.shape[2]) ** 2)
        changed = replace(result, object_lab=(result.object_lab * turn).astype(np.complex64))
        files.append(str(write_result(changed, make_volume(), Settings(), tmp_path, step + 1)))
    picture = tmp_path / "series.png"
    told = CliRunner().invoke(app, ["latents", *files, "--picture", str(picture), "--json"])
    assert told.exit_code == 0, told.output
    record = json.loads(told.stdout)
    assert record["phase_rad"] == sorted(record["phase_rad"])
    assert len(record["places"]) == 3
    assert picture.read_bytes().startswith(b"\x89PNG")
    few = CliRunner().invoke(app, ["latents", files[0], "--picture", str(picture)])
    assert few.exit_code == 1
    assert "a series needs 3 or more" in few.output
    nothing = replace(result, support_lab=np.zeros_like(result.support_lab))
    empty = str(write_result(nothing, make_volume(), Settings(), tmp_path, 9))
    for order in ([empty, *files], [*files, empty]):
        told = CliRunner().invoke(app, ["latents", *order, "--picture", str(picture)])
        assert told.exit_code == 1
        assert "leave it out" in " ".join(told.output.split())
