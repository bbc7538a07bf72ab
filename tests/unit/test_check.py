"""`check`: what it says of a stream, a silent endpoint and rubbish."""

from __future__ import annotations

import json
import socket
import threading

import numpy as np
import pytest

from service.commands.check import Findings, check_endpoint, look, only_here, require_address, somebody_answers
from service.commands.report import JsonReport
from service.errors import SettingsError, WireError
from service.ports import EndOfStream
from service.records import Frame, Message, SeriesEnd, SeriesStart
from tests.helpers.workers import Sender


class Played:
    """A source that plays a list: messages, errors to raise, None for silence."""

    def __init__(self, *steps: Message | Exception | None) -> None:
        self._steps = list(steps)

    def receive(self, timeout_s: float) -> Message | None:
        step = self._steps.pop(0) if self._steps else EndOfStream()
        if isinstance(step, Exception):
            raise step
        return step

    def close(self) -> None: ...


def stream(frames: int) -> list[Message]:
    start = SeriesStart(
        series_id=3, series_unique_id="u", number_of_images=frames, channels=("t",), shape=(4, 5), dtype="uint16",
        user_data={"rocking_axis": "theta", "instrument": "34-ID-C", "energy_kev": 9.0},
    )  # fmt: skip
    data = {"t": np.full((4, 5), 2, np.uint16)}
    images = [
        Frame(series_id=3, series_unique_id="u", image_id=n, data=data, positions={"theta": 0.1 * n})
        for n in range(frames)
    ]
    return [start, *images, SeriesEnd(series_id=3, series_unique_id="u")]


def find(*steps: Message | Exception | None) -> Findings:
    return look(Played(*steps), "tcp://x", 5.0, lambda stage, share: None)


def test_series_and_frames_are_described() -> None:
    findings = find(*stream(3))
    record = findings.record()
    assert findings.found
    assert record["taken"] == {"start": 1, "image": 3, "end": 1}
    assert record["series"]["shape"] == [4, 5]
    assert record["frame"]["counts_in_last_frame"] == 40
    assert record["frame"]["positions"] == {"theta": 0.2}
    assert "never reaches a worker" in record["warning"]
    assert ("rocking axis", "theta") in findings.rows()
    assert findings.rate_hz > 0


def test_rubbish_is_told_not_raised() -> None:
    findings = find(WireError("not CBOR"), None, *stream(1))
    assert findings.record()["unreadable"] == ["not CBOR"]
    assert ("unreadable", "not CBOR") in findings.rows()
    assert findings.rate_hz == 0.0


def test_foreign_messages_are_no_stream() -> None:
    findings = find(WireError("not CBOR"), WireError("not a stream-v2 message"))
    assert not findings.found
    assert findings.verdict == "something speaks there, but not stream v2"
    assert findings.record()["stream"] is False
    assert (find(*stream(1)).verdict, find(None).verdict) == ("stream found", "no stream")


def test_foreign_sender_is_told_from_a_silent_one(capsys: pytest.CaptureFixture[str]) -> None:
    sender = Sender()
    speaking = threading.Thread(target=sender.send_all, args=([b"hello", b"\xa1\x61a\x01"],))
    try:
        speaking.start()
        assert not check_endpoint(sender.endpoint, 1.0, JsonReport())
        speaking.join()
    finally:
        sender.close()
    record = json.loads(capsys.readouterr().out)
    assert (record["ok"], record["stream"], record["taken"]) == (False, False, {"unreadable": 2})
    assert record["verdict"] == "something speaks there, but not stream v2"


def test_who_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        assert somebody_answers(endpoint) is True
    assert somebody_answers(endpoint) is False
    assert somebody_answers("tcp://127.0.0.1:99999") is False
    assert somebody_answers("ipc:///tmp/frames") is None
    assert "is the sender up" in str(Findings(endpoint=endpoint, answers=False).rows())


@pytest.mark.parametrize("endpoint", ["", "nonsense", "tcp://", "tcp://host", "udp//x"])
def test_endpoint_that_zeromq_refuses_is_wrong_use(endpoint: str) -> None:
    with pytest.raises(SettingsError, match="tcp://detector"):
        check_endpoint(endpoint, 0.1, JsonReport())


def test_address_to_bind() -> None:
    for endpoint in ("nonsense", "tcp://host.invalid:31002", "tcp://127.0.0.1"):
        with pytest.raises(SettingsError, match=r"tcp://0\.0\.0\.0"):
            require_address(endpoint)
    with socket.create_server(("127.0.0.1", 0)) as server:  # taken now is for the stage to tell
        require_address(f"tcp://127.0.0.1:{server.getsockname()[1]}")
    for endpoint in ("tcp://*:0", "tcp://0.0.0.0:0", "ipc:///nowhere/results"):
        require_address(endpoint)


def test_who_reaches_an_endpoint() -> None:
    for host in ("127.0.0.1", "localhost", "lo", "[::1]"):
        assert only_here(f"tcp://{host}:31003")
    for host in ("0.0.0.0", "*", "[::]", "192.168.0.1", "eth0"):
        assert not only_here(f"tcp://{host}:31003")
    assert only_here("ipc:///run/worker")


def test_silence_is_no_stream() -> None:
    findings = look(Played(*[None] * 1_000_000), "tcp://x", 0.02, lambda stage, share: None)
    assert not findings.found
    assert ("taken", "nothing") in findings.rows()
    assert findings.listened_s >= 0.02
