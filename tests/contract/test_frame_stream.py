"""What every pair of a frame sink and a frame source does, in memory and over ZeroMQ."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import zmq

from service.adapters.memory import MemoryStream
from service.adapters.zmq import ZmqFrameSink, ZmqFrameSource
from service.errors import WireError
from service.ports import EndOfStream, FrameSink, FrameSource
from service.records import Frame, Message
from tests.helpers.series import CHANNEL, bragg_peak, series_of

WAIT_S = 5.0


@dataclass(frozen=True)
class Stream:
    """Both ends of a stream that holds about `queued` messages."""

    sink: FrameSink
    source: FrameSource
    queued: int


def memory_stream(queued: int) -> Stream:
    stream = MemoryStream(queued)
    return Stream(stream, stream, queued)


def zmq_stream(compression: str) -> Callable[[int], Stream]:
    def open_stream(queued: int) -> Stream:
        sink = ZmqFrameSink("tcp://127.0.0.1:0", compression, queued=queued)  # type: ignore[arg-type]
        return Stream(sink, ZmqFrameSource(sink.endpoint), queued)

    return open_stream


OPENERS = {"memory": memory_stream, **{f"zmq {name}": zmq_stream(name) for name in ("none", "lz4", "bslz4")}}


@pytest.fixture(params=OPENERS, ids=str)
def open_stream(request: pytest.FixtureRequest) -> Iterator[Callable[[int], Stream]]:
    with contextlib.ExitStack() as stack:

        def opened(queued: int = 100) -> Stream:
            stream = OPENERS[request.param](queued)
            stack.callback(stream.sink.close)
            stack.callback(stream.source.close)
            return stream

        yield opened


def receive_all(source: FrameSource, count: int) -> list[Message]:
    messages = [source.receive(WAIT_S) for _ in range(count)]
    assert None not in messages
    return [message for message in messages if message is not None]


def test_messages_arrive_in_order_and_whole(open_stream: Callable[..., Stream]) -> None:
    stream, counts = open_stream(), bragg_peak()
    sent = series_of(counts)
    assert all(stream.sink.send(message, WAIT_S) for message in sent)
    received = receive_all(stream.source, len(sent))
    assert [type(message) for message in received] == [type(message) for message in sent]
    for index, frame in enumerate(received[1:-1]):
        assert isinstance(frame, Frame)
        assert frame.image_id == index
        np.testing.assert_array_equal(frame.data[CHANNEL], counts[index])


def test_nothing_there(open_stream: Callable[..., Stream]) -> None:
    stream = open_stream()
    begin_s = time.monotonic()
    assert stream.source.receive(0.05) is None
    assert 0.04 < time.monotonic() - begin_s < WAIT_S


def test_receiver_that_does_not_take(open_stream: Callable[..., Stream]) -> None:
    stream = open_stream(1)
    frame = series_of(np.tile(bragg_peak((2, 256, 256)), (1, 4, 4)))[1]
    taken = 0
    while stream.sink.send(frame, 0.2):
        taken += 1
        assert taken < 1000, "a slow receiver is never felt"
    assert (stream.sink.sent, stream.sink.refused) == (taken, 1)  # type: ignore[attr-defined]
    receive_all(stream.source, taken)
    assert stream.source.receive(0.05) is None
    assert stream.sink.send(frame, WAIT_S)


def test_ends_in_two_threads(open_stream: Callable[..., Stream]) -> None:
    stream = open_stream(2)
    sent = series_of(bragg_peak((50, 16, 16)))
    sender = threading.Thread(target=lambda: [stream.sink.send(message, WAIT_S) for message in sent])
    sender.start()
    assert len(receive_all(stream.source, len(sent))) == len(sent)
    sender.join()


def test_close_twice(open_stream: Callable[..., Stream]) -> None:
    stream = open_stream()
    for _ in range(2):
        stream.sink.close()
        stream.source.close()


def test_end_of_a_stream_in_memory() -> None:
    stream = MemoryStream()
    stream.end()
    for _ in range(2):
        with pytest.raises(EndOfStream):
            stream.receive(0.0)


def test_closing_waits_for_a_receiver_on_its_way() -> None:
    sink = ZmqFrameSink("tcp://127.0.0.1:0")
    source = ZmqFrameSource(sink.endpoint)
    sent = series_of(bragg_peak())
    assert all(sink.send(message, WAIT_S) for message in sent)
    sink.close()
    assert len(receive_all(source, len(sent))) == len(sent)
    source.close()


def test_no_receiver() -> None:
    with contextlib.closing(ZmqFrameSink("tcp://127.0.0.1:0", linger_s=0)) as sink:
        assert not sink.send(series_of(bragg_peak())[0], 0.05)


def test_bound_source_and_foreign_senders() -> None:
    with (
        contextlib.closing(ZmqFrameSource("tcp://127.0.0.1:0", bind=True)) as source,
        zmq.Context.instance().socket(zmq.PUSH) as foreign,
    ):
        foreign.linger = 0
        foreign.connect(source.endpoint)
        foreign.send(b"hello")
        foreign.send_multipart([b'{"htype": "dheader-1.0"}', b"{}"])
        foreign.send(b"\xa1\x64type\x63end")
        for message in ("truncated", "of 2 parts", "series_id is missing"):
            with pytest.raises(WireError, match=message):
                source.receive(WAIT_S)
        assert source.receive(0.05) is None
