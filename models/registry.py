"""The networks that are there: folders with `network.py` (`build() -> nn.Module`), `card.json` and weights."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from torch import nn

from models.cards import CARD, Card, load_weights, read_card

ROOT = Path(__file__).parent  # the networks that come with Braggloop
NETWORK = "network.py"
LONGEST = 300  # characters of what torch says about each weight that does not fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A trained network: the `folder` it lies in and the `card` that describes it."""

    folder: Path
    card: Card


def names(root: Path = ROOT) -> list[str]:
    """Return the names of the trained networks in `root`."""
    return sorted(path.parent.name for path in root.glob(f"*/{CARD}"))


def network(name: str, root: Path = ROOT) -> Network:
    """Return one of `names`; raise ValueError in one line where its card is damaged."""
    return Network(folder=root / name, card=read_card(root / name))


def build(found: Network) -> nn.Module:
    """Return the module with its trained weights, checked by hash, in eval mode on the CPU.

    Raises ValueError in one line where the weights are missing, damaged or of another network.
    """
    weights = load_weights(found.folder)
    module: nn.Module = _code(found).build()
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        told = " ".join(str(error).split())[:LONGEST]
        raise ValueError(f"the weights in {found.folder} do not fit its {NETWORK}: {told}") from error
    return module.eval()


def _code(found: Network) -> ModuleType:
    path = found.folder / NETWORK
    spec = importlib.util.spec_from_file_location(f"models.{found.folder.name}.network", path)
    if spec is None or spec.loader is None or not path.exists():
        raise ValueError(f"{found.folder} has no {NETWORK}: install it again")
    code = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code)
    return code
