"""Gives each device its controller, one for the life of the server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from service.adapters.tango import obeying
from service.settings import Settings, load_settings

Build = Callable[[Settings, str], Any]
"""build(settings, last part of the device name) -> controller with a `close`."""


class Controllers:
    """Builds the controller of a device when it is first asked for, keeps it over Init, closes all at the end.

    `axes` (axis -> device) are the virtual axes that the twin follows where the settings do not say whom.
    """

    def __init__(self, builders: Mapping[str, Build], settings: Settings, axes: Mapping[str, str]) -> None:
        self._builders, self._settings, self._axes = builders, settings, axes
        self._kept: dict[str, Any] = {}
        self._owned = ExitStack()

    def __call__(self, kind: str, device: str, settings_file: str) -> Any:
        if device not in self._kept:
            settings = load_settings(Path(settings_file)) if settings_file else self._settings
            controller = self._builders[kind](obeying(settings, self._axes), device.rpartition("/")[2])
            self._owned.callback(controller.close)
            self._kept[device] = controller
        return self._kept[device]

    def __enter__(self) -> Controllers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._owned.close()
