"""Engines of trained networks, made when they are first needed and kept."""

from __future__ import annotations

from collections.abc import Callable

from models.engine.port import Engine
from service.settings import EngineSettings

# Of a network by name, for items of a shape, so many of them at once.
MakeEngine = Callable[[EngineSettings, str, tuple[int, ...], int], Engine]


class Engines:
    """One engine a network, as long as its settings and its items' shape stay. For one thread.

    Raises SettingsError or SourceError where there is no such engine or network.
    """

    def __init__(self, make: MakeEngine) -> None:
        self._make = make
        self._made: dict[str, tuple[tuple[EngineSettings, tuple[int, ...]], Engine]] = {}

    def get(self, settings: EngineSettings, name: str, shape: tuple[int, ...], at_once: int = 1) -> Engine:
        """Return the engine of a network for items of `shape`, `at_once` at least."""
        key = (settings, shape)
        if name not in self._made or self._made[name][0] != key:
            self._made.pop(name, None)  # let go of the former one before the next takes its memory
            self._made[name] = key, self._make(settings, name, shape, at_once)
        return self._made[name][1]
