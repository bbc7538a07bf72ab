"""What every result sink does, in memory and over ZeroMQ, and that a subscriber loses nothing in silence."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import zmq

from service.adapters import zmq as adapter
from service.adapters.memory import MemoryResults
from service.adapters.zmq import RESULT_TOPIC, ResultPublisher, ResultSubscriber
from service.errors import SeriesError, WireError
from service.ports import ResultSink
from service.records import ResultSummary, SeriesStatus
from service.wire import arrays
from service.wire.summaries import encode_summary
from tests.helpers.streams import summary as summary_of

WAIT_S = 5.0
ANYWHERE = "tcp://127.0.0.1:0"


@dataclass(frozen=True)
class Opened:
    """A sink and a way to see what came out of it."""

    sink: ResultSink
    read: Callable[[], ResultSummary | None]


@pytest.fixture(params=["memory", "zmq"])
def opened(request: pytest.FixtureRequest) -> Iterator[Opened]:
    if request.param == "memory":
        results = MemoryResults()
        yield Opened(results, lambda: results.summaries.pop(0) if results.summaries else None)
        results.close()
        return
    with publisher() as sink, subscriber(sink) as reader:
        yield Opened(sink, lambda: reader.receive(0.5))


@contextlib.contextmanager
def publisher(**options: Any) -> Iterator[ResultPublisher]:
    with contextlib.closing(ResultPublisher(ANYWHERE, ANYWHERE, **options)) as sink:
        yield sink


@contextlib.contextmanager
def subscriber(sink: ResultPublisher, since: int | None = 0) -> Iterator[ResultSubscriber]:
    with contextlib.closing(ResultSubscriber(sink.results, sink.requests, since=since)) as reader:
        yield reader


def read_until_silent(reader: ResultSubscriber) -> list[int]:
    return [summary.sequence for summary in iter(lambda: reader.receive(0.5), None)]


def test_results_come_out_as_they_went_in(opened: Opened) -> None:
    for sequence in range(5):
        opened.sink.publish(summary_of(sequence))
    for sequence in range(5):
        summary = opened.read()
        assert summary is not None
        assert summary.sequence == sequence
        np.testing.assert_array_equal(summary.slices["strain"], summary_of(sequence).slices["strain"])
    assert opened.read() is None


def test_close_twice(opened: Opened) -> None:
    opened.sink.close()
    opened.sink.close()


def test_topic_comes_first() -> None:
    with publisher() as sink, zmq.Context.instance().socket(zmq.SUB) as plain:
        plain.connect(sink.results)
        plain.subscribe(b"res")
        sequence = 0
        while not plain.poll(20):
            sink.publish(summary_of(sequence))
            sequence += 1
            assert sequence < 500
        topic, payload = plain.recv_multipart()
        assert topic == RESULT_TOPIC
        assert arrays.decode(payload)["type"] == "result"


def test_late_subscriber_gets_everything() -> None:
    with publisher(recalled=[summary_of(n) for n in range(3)]) as sink:
        sink.publish(summary_of(3))
        with subscriber(sink) as reader:
            assert read_until_silent(reader) == [0, 1, 2, 3]
            sink.publish(summary_of(4))
            assert read_until_silent(reader) == [4]
            assert reader.lost == 0
        with subscriber(sink, since=3) as reader:
            assert read_until_silent(reader) == [3, 4]


def test_first_result_of_a_worker_is_not_a_gap() -> None:
    with publisher(recalled=[summary_of(1)]) as sink:
        reader = ResultSubscriber(sink.results, sink.requests)
        assert read_until_silent(reader) == [1]
        assert reader.lost == 0
        reader.close()


def test_gap_is_seen_and_filled() -> None:
    with publisher() as sink, subscriber(sink) as reader:
        sink.publish(summary_of(0))
        assert read_until_silent(reader) == [0]
        for sequence in (1, 2):  # kept, but never on PUB: as if the network had lost them
            sink._history.add(sequence, encode_summary(summary_of(sequence)))
        begin_s = time.monotonic()
        sink.publish(summary_of(3))
        got = [reader.receive(WAIT_S) for _ in range(3)]
        assert [summary.sequence for summary in got if summary] == [1, 2, 3]
        assert time.monotonic() - begin_s < adapter.ASK_EVERY_S
        assert reader.lost == 0


def test_preliminary_ones_come_at_once_and_are_not_kept() -> None:
    early = replace(summary_of(1), status=SeriesStatus.PRELIMINARY)
    with publisher() as sink, subscriber(sink) as reader:
        sink.publish(summary_of(0))
        assert read_until_silent(reader) == [0]
        for published in (early, summary_of(1), early, summary_of(2)):
            sink.publish(published)
        got = [reader.receive(WAIT_S) for _ in range(3)]
        assert [(one.sequence, one.status) for one in got if one] == [
            (1, SeriesStatus.PRELIMINARY),
            (1, SeriesStatus.DONE),
            (2, SeriesStatus.DONE),
        ]  # a late one is of no use
        with subscriber(sink) as later:
            assert read_until_silent(later) == [0, 1, 2]


def test_last_one_lost_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "ASK_EVERY_S", 0.2)
    with publisher() as sink, subscriber(sink) as reader:
        sink.publish(summary_of(0))
        assert read_until_silent(reader) == [0]
        sink._history.add(1, encode_summary(summary_of(1)))
        assert read_until_silent(reader) == [1]


def test_what_nobody_has_any_more_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "HISTORY_BYTES", 3 * len(encode_summary(summary_of(0))))
    with publisher(recalled=[summary_of(n) for n in range(10)]) as sink, subscriber(sink) as reader:
        got = read_until_silent(reader)
        assert got == [7, 8, 9]
        assert reader.lost == 7


def test_long_histories_come_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "BATCH_BYTES", 2 * len(encode_summary(summary_of(0))))
    with publisher(recalled=[summary_of(n) for n in range(9)]) as sink, subscriber(sink) as reader:
        assert read_until_silent(reader) == list(range(9))
    monkeypatch.setattr(adapter, "BATCH_BYTES", 1)
    with publisher(recalled=[summary_of(n) for n in range(3)]) as sink, subscriber(sink) as reader:
        assert read_until_silent(reader) == [0, 1, 2]


def test_only_what_comes_next() -> None:
    with publisher(recalled=[summary_of(0)]) as sink, subscriber(sink, since=None) as reader:
        deadline_s = time.monotonic() + WAIT_S
        sequence, got = 1, None
        while got is None and time.monotonic() < deadline_s:
            sink.publish(summary_of(sequence))
            sequence += 1
            got = reader.receive(0.05)
        assert got is not None
        assert got.sequence >= 1


def test_publisher_that_comes_back() -> None:
    with zmq.Context() as context, publisher(context=context) as sink:
        results, requests = sink.results, sink.requests
        reader = ResultSubscriber(results, requests, since=0)
        sink.publish(summary_of(0))
        assert read_until_silent(reader) == [0]
        sink.close()  # and the end of its context waits until the ports are free
    with contextlib.closing(ResultPublisher(results, requests, recalled=[summary_of(0)])) as sink:
        sink.publish(summary_of(1))
        summary = reader.receive(WAIT_S)
        assert summary is not None
        assert summary.sequence == 1
    reader.close()
    reader.close()


def test_worker_whose_journal_was_lost_is_read_from_its_first_result_on() -> None:
    with zmq.Context() as context, publisher(context=context, journal="old") as sink:
        results, requests = sink.results, sink.requests
        reader = ResultSubscriber(results, requests)
        for sequence in (1, 2, 3):
            sink.publish(summary_of(sequence, journal="old"))
        assert read_until_silent(reader) == [1, 2, 3]
        sink.close()
    recalled = [summary_of(1, journal="new")]
    with contextlib.closing(ResultPublisher(results, requests, recalled=recalled, journal="new")) as sink:
        first = reader.receive(WAIT_S)  # asked for: nothing is published
        assert first is not None
        assert (first.sequence, first.journal) == (1, "new")
        sink.publish(summary_of(2, journal="new"))
        assert read_until_silent(reader) == [2]
        assert reader.lost == 0
    reader.close()


def test_published_result_of_another_journal_is_enough_to_begin_anew() -> None:
    with publisher(journal="old") as sink, subscriber(sink, since=1) as reader:
        for sequence in (1, 2):
            sink.publish(summary_of(sequence, journal="old"))
        assert read_until_silent(reader) == [1, 2]
        reader._take_published(summary_of(1, journal="new"))
        summary = reader.receive(WAIT_S)
        assert summary is not None
        assert (summary.sequence, summary.journal) == (1, "new")


def test_result_that_cannot_be_read_costs_only_itself() -> None:
    with publisher() as sink, subscriber(sink, since=1) as reader:
        sink._history.add(1, encode_summary(summary_of(1)))
        sink._history.add(2, arrays.encode({"type": "result", "sequence": 2}))
        sink._history.add(3, encode_summary(summary_of(3)))
        got = []
        until_s = time.monotonic() + WAIT_S
        while len(got) < 2 and time.monotonic() < until_s:
            with contextlib.suppress(WireError):
                got += [summary.sequence for summary in [reader.receive(0.5)] if summary]
        assert (got, reader.lost) == ([1, 3], 1)


def test_handler_that_fails_is_told_and_the_next_request_answered(caplog: pytest.LogCaptureFixture) -> None:
    def save(request: Mapping[str, Any]) -> Mapping[str, Any]:
        raise OSError("no space left")

    with publisher(handlers={"save": save}) as sink:
        for _ in range(2):
            (answer,) = ask(sink, arrays.encode({"type": "save"}))
            assert arrays.decode(answer) == {"type": "error", "message": "OSError: no space left"}
    assert "no space left" in caplog.text


def ask(sink: ResultPublisher, *parts: bytes) -> list[bytes]:
    with zmq.Context.instance().socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(sink.requests)
        dealer.send_multipart(list(parts))
        assert dealer.poll(round(WAIT_S * 1000))
        return dealer.recv_multipart()


def test_requests_and_their_errors() -> None:
    def reprocess(request: Mapping[str, Any]) -> Mapping[str, Any]:
        if "series" not in request:
            raise SeriesError("no series to reprocess")
        return {"started": request["series"]}

    with publisher(handlers={"reprocess": reprocess}) as sink:
        (answer,) = ask(sink, arrays.encode({"type": "reprocess", "series": 5}))
        assert arrays.decode(answer) == {"type": "answer", "started": 5}
        for request, message in (
            ([arrays.encode({"type": "reprocess"})], "no series"),
            ([arrays.encode({"type": "dance"})], "expected one of since, reprocess"),
            ([arrays.encode({"type": [1]})], "not a request"),
            ([arrays.encode({"type": "since"})], "expected a whole number"),
            ([b"\xff"], "break"),
            ([b"a", b"b"], "not a request"),
        ):
            (answer,) = ask(sink, *request)
            refused = arrays.decode(answer)
            assert refused["type"] == "error"
            assert message in refused["message"]


def test_foreign_answers_are_refused() -> None:
    context = zmq.Context.instance()
    with context.socket(zmq.PUB) as results, context.socket(zmq.ROUTER) as requests:
        ports = [socket.bind_to_random_port("tcp://127.0.0.1") for socket in (results, requests)]
        reader = ResultSubscriber(*(f"tcp://127.0.0.1:{port}" for port in ports))
        assert reader.receive(0.05) is None
        identity, _ = requests.recv_multipart()
        requests.send_multipart([identity, arrays.encode({"type": "error", "message": "go away"})])
        with pytest.raises(WireError, match="go away"):
            reader.receive(WAIT_S)
        results.send_multipart([RESULT_TOPIC, b"\xff"])
        with pytest.raises(WireError, match="break"):
            reader.receive(WAIT_S)
        reader.close()
