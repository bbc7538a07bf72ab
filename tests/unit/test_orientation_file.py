"""Files of orientations: there and back, for other readers, damaged, and out of reach."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.alignment.orientation import orient, refined
from service.alignment.orientation_file import load, save
from service.errors import ResultError, SourceError
from tests.helpers.diffcalc_scenarios import scenario


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "new" / "gold.json"
    save(refined(*scenario("monoclinic")), path)
    return path


def test_file_gives_back_what_was_saved(kept) -> None:
    orientation, again = refined(*scenario("monoclinic")), load(kept)
    assert again.lattice == orientation.lattice
    assert again.reflections == orientation.reflections
    np.testing.assert_array_equal(again.u, orientation.u)
    np.testing.assert_array_equal(again.ub, orientation.ub)
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_file_tells_wavelength_units_and_frame(kept) -> None:
    told = json.loads(kept.read_text())
    assert told["wavelength_angstrom"] == pytest.approx(1.239842, abs=1e-6)
    assert (told["format"], told["version"], told["frame"]) == ("braggloop-orientation", 1, "You 1999")
    np.testing.assert_array_equal(told["ub_per_angstrom"], refined(*scenario("monoclinic")).ub)
    assert len(told["residuals_deg"]) == len(told["two_theta_offsets_deg"]) == 5
    assert np.linalg.norm(np.array(told["ub_per_angstrom"]) @ (0, 1, 0)) == pytest.approx(2 * np.pi / 6.931)


def test_numbers_of_numpy_are_saved(tmp_path) -> None:
    cell, (first, *others) = scenario("cubic")
    first = replace(first, hkl=tuple(np.array([1, 0, 0])), energy_kev=np.float64(first.energy_kev))
    save(orient(cell, [first, *others]), tmp_path / "cubic.json")
    assert load(tmp_path / "cubic.json").reflections[0].hkl == (1.0, 0.0, 0.0)


def _without(name):
    return lambda told: {key: value for key, value in told.items() if key != name}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without("u"), "is no orientation of Braggloop, or damaged: u: Field required"),
        (lambda told: told | {"version": 2}, "version: Input should be 1"),
        (lambda told: told | {"frame": "NeXus"}, "frame: Input should be 'You 1999'"),
        (lambda told: told | {"mine": 2}, "mine: Extra inputs are not permitted"),
        (lambda told: told | {"reflections": []}, "reflections: Tuple should have at least 2 items"),
        (lambda told: told | {"energy_kev": 8.0}, "is damaged: energy_kev does not follow"),
        (lambda told: told | {"wavelength_angstrom": 1.0}, "is damaged: wavelength_angstrom does not follow"),
        (lambda told: told | {"residuals_deg": [0.0]}, "is damaged: residuals_deg does not follow"),
        (lambda told: told | {"u": [[1, 0, 0], [0, 1, 0], [0, 0, -1]]}, "is damaged: u is no rotation"),
        (lambda told: told | {"u": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}, "is damaged: ub_per_angstrom does not follow"),
        (lambda told: told | {"crystal": told["crystal"] | {"system": "cubic"}}, "crystal: Value error, lattice of"),
        (
            lambda told: told | {"crystal": told["crystal"] | {"a_angstrom": 4.3}},
            "is damaged: ub_per_angstrom does not",
        ),
        (lambda told: [told], "content: Input should be an object"),
    ],
)
def test_files_that_are_damaged(kept, change, words) -> None:
    kept.write_text(json.dumps(change(json.loads(kept.read_text()))))
    with pytest.raises(SourceError, match=words) as refused:
        load(kept)
    assert "\n" not in str(refused.value)


@settings(max_examples=60, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), byte=st.binary(max_size=1), torn=st.booleans())
def test_bytes_that_are_torn_or_flipped_are_told_or_harmless(where, byte, torn, tmp_path_factory) -> None:
    path, orientation = tmp_path_factory.mktemp("torn") / "gold.json", refined(*scenario("monoclinic"))
    save(orientation, path)
    content = path.read_bytes()
    at = int(where * len(content))
    path.write_bytes(content[:at] + byte + (b"" if torn else content[at + 1 :]))
    try:
        again = load(path)
    except SourceError as error:
        told = str(error)
    else:
        told = ""
        np.testing.assert_allclose(again.ub, orientation.ub, atol=1e-5)
    assert "\n" not in told


def test_files_that_cannot_be_read_or_written(tmp_path) -> None:
    with pytest.raises(SourceError, match=r"orientation .*none\.json: No such file or directory"):
        load(tmp_path / "none.json")
    (tmp_path / "file").write_bytes(b"\x89HDF\r\n")
    with pytest.raises(SourceError, match="is no orientation of Braggloop, or damaged: content: Invalid JSON"):
        load(tmp_path / "file")
    with pytest.raises(ResultError, match="choose another folder"):
        save(orient(*scenario("cubic")), tmp_path / "file" / "gold.json")
