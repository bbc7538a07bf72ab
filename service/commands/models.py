"""`braggloop models`: the trained networks that are there, each with its card."""

from __future__ import annotations

from typing import Any

from models.cards import CARD, Card
from models.registry import Network
from service.commands.report import Report
from service.compose import checked, networks
from service.settings import Settings

COLUMNS = ("network", "parameters", "seed", "trained", "sha256", "metrics")
DIGITS = 12  # of a hash, enough to tell two apart


def list_networks(settings: Settings, report: Report) -> None:
    """Show each network with what its card says; raise SourceError where a card or a weight file is damaged."""
    found = networks(settings.engine)
    for network in found:
        checked(network)
    report.grid(COLUMNS, [_row(network.card) for network in found])
    if not found:
        report.note("no network is trained yet: braggloop train TASK --minutes N")
    report.finish([_record(network) for network in found])


def _row(card: Card) -> tuple[str, ...]:
    trained = f"{card.minutes:g} min, {card.device}"
    return card.name, f"{card.parameters:,}", str(card.seed), trained, card.sha256[:DIGITS], _metrics(card)


def _metrics(card: Card) -> str:
    return "\n".join(
        f"{family}: {', '.join(f'{name} {value:.4g}' for name, value in values.items())}"
        for family, values in card.metrics.items()
    )


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
