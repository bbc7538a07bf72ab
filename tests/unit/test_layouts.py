"""Chip layouts by name, whole frames and crops."""

from __future__ import annotations

import numpy as np
import pytest

from models.layouts import LAYOUTS, MAXIPIX_SHAPE, ChipLayout, chip_edges, known_layout, layout


def test_maxipix_edges_are_the_gap_and_the_enlarged_pixels() -> None:
    mask = chip_edges(MAXIPIX_SHAPE, layout("maxipix"))
    assert np.flatnonzero(~mask[0]).tolist() == list(range(255, 261))
    assert np.flatnonzero(~mask[:, 0]).tolist() == list(range(255, 261))
    assert np.count_nonzero(~mask) == 2 * 6 * 516 - 36


def test_chips_read_without_a_gap_lose_only_their_enlarged_pixels() -> None:
    mask = chip_edges((512, 256), ChipLayout(pixels=(256, 256), gap=(0, 0), enlarged=1))
    assert np.flatnonzero(~mask[:, 0]).tolist() == [255, 256]
    assert mask[0].all()


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_crop_is_cut_out_of_the_whole(name: str) -> None:
    chips = layout(name)
    whole = chip_edges((700, 1200), chips)
    assert np.array_equal(chip_edges((90, 80), chips, (490, 1000)), whole[490:580, 1000:1080])


def test_an_eiger2_of_four_megapixels_has_the_gaps_of_its_modules() -> None:
    mask = chip_edges((2162, 2068), layout("Eiger2"))
    assert np.flatnonzero(~mask[0]).tolist() == list(range(1028, 1040))
    assert np.flatnonzero(~mask[:, 0]).tolist() == [
        row for module in range(3) for row in range(512 + 550 * module, 550 + 550 * module)
    ]


def test_layouts_are_known_by_name_and_one_by_its_frames() -> None:
    assert known_layout((516, 516)) is layout("maxipix")
    assert known_layout((514, 514)) is None
    with pytest.raises(ValueError, match="no chip layout is called 'pilatus': expected one of maxipix, timepix"):
        layout("pilatus")
