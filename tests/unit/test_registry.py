"""Networks with cards: built with the weights that their card describes, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from models import registry
from models.cards import CARD, WEIGHTS
from tests.helpers.networks import SHAPE, small_unet, write_network


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_network(tmp_path, "second", small_unet(2))
    write_network(tmp_path, "first", small_unet(1))
    (tmp_path / "untrained").mkdir()
    return tmp_path


def test_names_are_those_of_folders_with_a_card(root: Path) -> None:
    assert registry.names(root) == ["first", "second"]


def test_a_network_is_built_with_its_weights(root: Path) -> None:
    built = registry.build(registry.network("second", root))
    volumes = torch.randn(1, *SHAPE)
    torch.testing.assert_close(built(volumes), small_unet(2)(volumes), rtol=0.0, atol=0.0)
    assert not built.training


def test_all_networks_that_come_along_can_be_built() -> None:
    for name in registry.names():
        registry.build(registry.network(name))


def truncate(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1])


def other_network(folder: Path) -> None:
    (folder / "network.py").write_text("from models.unet import UNet\ndef build(): return UNet(widths=(8, 8))\n")


def other_card(folder: Path) -> None:
    told = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(told | {"colour": "blue"}))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / WEIGHTS).unlink(), "first has no weights.safetensors: install it again"),
        (truncate, "is damaged: sha256 .*, expected .*; install it again"),
        (other_network, "do not fit its network.py: .*size mismatch"),
        (lambda folder: (folder / "network.py").unlink(), "has no network.py: install it again"),
        (lambda folder: (folder / CARD).write_text("{"), "card.json is damaged: "),
        (other_card, "card.json is damaged: .*colour"),
        (lambda folder: (folder / CARD).unlink(), "first has no card.json: train it"),
    ],
)
def test_what_is_missing_or_damaged_is_said_in_one_line(root: Path, harm, said: str) -> None:  # type: ignore[no-untyped-def]
    harm(root / "first")
    with pytest.raises(ValueError, match=said) as caught:
        registry.build(registry.network("first", root))
    assert "\n" not in str(caught.value)
