"""What a trained network says of itself: `card.json` beside `weights.safetensors`, checked by hash when it is read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from models.files import written_whole

CARD, WEIGHTS = "card.json", "weights.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One trained network.

    `name` of its folder under models/; `summary` one sentence; `sha256` of the weight file; `input_shape` and
    `output_shape` (channels, z, y, x) of one item as trained, edges may differ in multiples the network allows;
    `data` what it was trained on (family, its ranges); `seed`; `minutes` and `steps` of training on `device`;
    `metrics`: test family -> metric -> value; `licence` of the weights.
    """

    name: str
    summary: str
    sha256: str
    parameters: int
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    data: Mapping[str, Any]
    seed: int
    minutes: float
    steps: int
    device: str
    torch: str
    metrics: Mapping[str, Mapping[str, float]]
    licence: str = "BSD-3-Clause"


def write_card(folder: Path, card: Card) -> None:
    """Write `card.json` into `folder`, whole or not at all."""
    with written_whole(folder / CARD) as partial:
        partial.write_text(json.dumps(dataclasses.asdict(card), indent=1) + "\n")


def read_card(folder: Path) -> Card:
    """Read `card.json`; raise ValueError in one line where it is missing, damaged or says other things."""
    path = folder / CARD
    try:
        said = json.loads(path.read_text())
        card = Card(**said)
        return dataclasses.replace(card, input_shape=tuple(card.input_shape), output_shape=tuple(card.output_shape))
    except FileNotFoundError:
        raise ValueError(f"{folder.name} has no {CARD}: train it with `braggloop train {folder.name}`") from None
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def load_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights of the network in `folder` by name; raise ValueError where the file is missing or not the one
    that its card describes.
    """
    from safetensors.torch import load  # the only import of it: simulation and training do without

    card, path = read_card(folder), folder / WEIGHTS
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{folder.name} has no {WEIGHTS}: install it again, or train it anew") from None
    found = hashlib.sha256(content).hexdigest()
    if found != card.sha256:
        raise ValueError(f"{path} is damaged: sha256 {found[:12]}, expected {card.sha256[:12]}; install it again")
    return dict(load(content))


def save_weights(folder: Path, weights: Mapping[str, Tensor]) -> str:
    """Write `weights.safetensors` into `folder`, whole or not at all; return its sha256."""
    from safetensors.torch import save

    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})
    with written_whole(folder / WEIGHTS) as partial:
        partial.write_bytes(content)
    return hashlib.sha256(content).hexdigest()
