"""Questions to the worker's ROUTER: one CBOR map there, one back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import zmq

from service.errors import DeviceError, WireError
from service.wire import arrays

TIMEOUT_S = 2.0  # a Tango command has 3 s; the worker answers within one


class WorkerRequests:
    """Call it as `request(kind, **arguments)` from any thread; each question has a socket of its own.

    Raises DeviceError where no answer comes within `timeout_s` or where the worker refuses.
    """

    def __init__(self, endpoint: str, timeout_s: float = TIMEOUT_S, context: zmq.Context[Any] | None = None) -> None:
        self._endpoint, self._timeout_s = endpoint, timeout_s
        self._context = context or zmq.Context.instance()

    def __call__(self, kind: str, **arguments: Any) -> Mapping[str, Any]:
        with self._context.socket(zmq.DEALER) as socket:
            socket.linger = 0
            socket.connect(self._endpoint)
            socket.send(arrays.encode({"type": kind, **arguments}))
            if not socket.poll(round(1000 * self._timeout_s)):
                raise DeviceError(
                    f"the worker at {self._endpoint} did not answer {kind!r} within {self._timeout_s:g} s; is it up?"
                )
            answer = _read(socket.recv())
        if not isinstance(answer, dict) or answer.get("type") == "error":
            why = answer.get("message") if isinstance(answer, dict) else "its answer is no map"
            raise DeviceError(f"the worker refused {kind!r}: {why}")
        return answer


def _read(answer: bytes) -> Any:
    try:
        return arrays.decode(answer)
    except WireError as error:
        raise DeviceError(f"the worker's answer cannot be read: {error}") from error
