"""`braggloop models`: the trained networks that are there, each with its card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.cards import CARD, Card
from models.registry import Network
from service.commands.report import Report
from service.compose import checked, networks
from service.settings import Settings

DIGITS = 12  # of a hash, enough to tell two apart


def list_networks(settings: Settings, report: Report) -> None:
    """Show each network with what its card says; raise SourceError where a card or a weight file is damaged."""
    found = networks(settings.engine)
    for network in found:
        checked(network)
    for network in found:
        report.table(network.card.name, _rows(network.card))
    if not found:
        report.note("no network is trained yet: braggloop train TASK --minutes N")
    report.finish([_record(network) for network in found])


def _rows(card: Card) -> list[tuple[str, str]]:
    return [
        ("does", card.summary),
        ("trained", f"{card.minutes:g} min, {card.steps:,} steps, {card.device}, seed {card.seed}"),
        ("weights", f"{card.parameters:,} parameters, sha256 {card.sha256[:DIGITS]}"),
        *((family, _metrics(values)) for family, values in card.metrics.items()),
    ]


def _metrics(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def _record(network: Network) -> dict[str, Any]:
    card = network.card
    return {
        "name": card.name,
        "summary": card.summary,
        "sha256": card.sha256,
        "seed": card.seed,
        "parameters": card.parameters,
        "metrics": card.metrics,
        "card": str(network.folder / CARD),
    }
