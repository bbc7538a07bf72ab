"""What every device of ours does: show its controller's status, push what changed, turn errors into DevFailed."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from tango import AutoTangoMonitor, DevFailed, DevState, EnsureOmniThread, Except, Util
from tango.server import Device, device_property

from service.devices.status import Board, State, Status
from service.errors import BraggloopError, SettingsError
from tango_devices.attributes import Shown, shown

LOG = logging.getLogger(__name__)

LOOK_S = 0.5  # how long the pusher waits for a change before it looks whether to end
REST_S = 0.05  # between two pushes: twenty a second are enough for people, and leave a busy controller its time
QUIET = (State.STANDBY, State.ON)  # states in which Tango's own look at the alarm limits may say ALARM


class Broken(Board[Any]):
    """Stands where a controller could not be made: a FAULT to look at, and the same reason for every command."""

    def __init__(self, status_class: type[Status], reason: str) -> None:
        super().__init__(status_class(state=State.FAULT, message=reason))

    def __getattr__(self, command: str) -> Callable[..., None]:
        def refuse(*_: Any) -> None:
            raise SettingsError(self.status.message)

        return refuse


class ControlledDevice(Device):
    """Base of the devices; holds no logic of its own.

    `controllers` gives the controller of a device by device name and settings file. It returns the same one after
    Init, so that only Reset acknowledges a fault.
    """

    controllers: ClassVar[Callable[[str, str, str], Any]]
    status_class: ClassVar[type[Status]]

    SettingsFile = device_property(
        dtype=str, default_value="", doc="TOML file with the settings; empty: the server's own (--settings)"
    )

    def init_device(self) -> None:
        super().init_device()
        try:
            self.controller = type(self).controllers(type(self).__name__, self.get_name(), self.SettingsFile)
            self.describe()
        except BraggloopError as error:
            self.controller = Broken(self.status_class, f"{error}; mend the settings, then Init")
        for name in (*(item.name for item in shown(self.status_class)), "State", "Status"):
            self.set_change_event(name, True, False)
        self._retired = threading.Event()
        threading.Thread(target=self._push, args=(self._retired,), name="pusher", daemon=True).start()

    def describe(self) -> None:
        """Tell what only the controller knows, such as the unit of an axis; called when it was made."""

    def delete_device(self) -> None:
        self._retired.set()

    def dev_state(self) -> DevState:
        state = self.controller.status.state
        if state not in QUIET:
            self.set_state(getattr(DevState, state))
            return self.get_state()
        self.set_state(DevState.ON)  # the only state in which Tango compares the readings with their alarm limits
        if super().dev_state() is not DevState.ALARM:
            self.set_state(getattr(DevState, state))
        return self.get_state()

    def dev_status(self) -> str:
        self.set_status(self.controller.status.message)
        return super().dev_status()

    def write_field(self, field: str, value: Any) -> None:
        with refusals(self):
            self.controller.write(field, value)

    def _push(self, retired: threading.Event) -> None:
        items, seen, util = shown(self.status_class), None, Util.instance()
        pushed: Mapping[str, Any] = {}
        with EnsureOmniThread():
            while util.is_svr_starting():  # Tango does not know the device yet
                retired.wait(REST_S)
            while not (retired.is_set() or util.is_svr_shutting_down()):
                status = self.controller.wait(seen, LOOK_S)
                if status is not seen and not retired.is_set():
                    try:
                        pushed = self._push_changes(items, pushed, status)
                        seen = status
                    except DevFailed as error:  # commands held the device for longer than Tango waits: once more
                        LOG.warning("%s: %s", self.get_name(), error.args[0].desc)
                    retired.wait(REST_S)

    def _push_changes(self, items: tuple[Shown, ...], pushed: Mapping[str, Any], status: Any) -> Mapping[str, Any]:
        """Push what is another value than the one pushed last, and return what holds now.

        A client that subscribes later reads the value first; that is Tango's own doing.
        """
        with AutoTangoMonitor(self):
            values = {item.name: getattr(status, item.field) for item in items}
            values |= {"State": self.dev_state(), "Status": self.dev_status()}
            for name, value in values.items():
                if name not in pushed or changed(pushed[name], value):
                    self.push_change_event(name, value)
        return values


def changed(before: Any, after: Any) -> bool:
    """Whether a reading is another one; arrays are told apart by identity, a NaN is the same as itself."""
    if before is after:
        return False
    return isinstance(after, np.ndarray) or before != after


@contextlib.contextmanager
def refusals(device: Device) -> Iterator[None]:
    """Turn our errors into DevFailed, with the kind of error as the reason."""
    try:
        yield
    except BraggloopError as error:
        Except.throw_exception(type(error).__name__, str(error), device.get_name())
