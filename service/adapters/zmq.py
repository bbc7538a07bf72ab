"""Frames and results over ZeroMQ. Each object belongs to one thread, but for the publisher's answers."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import zmq

from service.errors import BraggloopError, WireError
from service.records import Message, ResultSummary, SeriesStatus
from service.wire import arrays
from service.wire import messages as wire
from service.wire.compression import Compression
from service.wire.summaries import decode_summary, encode_summary

log = logging.getLogger(__name__)

RESULT_TOPIC = b"result"
FIRST_SEQUENCE = 1
FRAMES_QUEUED = 100  # on each side of a frame socket; more only hides a receiver that is too slow
LINGER_S = 5.0  # how long closing waits for a receiver to take what was sent
RESULTS_QUEUED = 10  # summaries for a subscriber that does not read; what it misses it can ask for
ANSWERS_QUEUED = 4  # for one that asks and does not read: each may have BATCH_BYTES
HISTORY_BYTES = 64_000_000  # summaries that can be asked for again
BATCH_BYTES = 16_000_000  # summaries in one answer
POLL_S = 0.1  # how long one wait lasts before closing is looked at
ASK_EVERY_S = 2.0  # a silent publisher is asked this often for what may have been missed


class ZmqFrameSource:
    """Stream-v2 messages from a PULL socket, bound or connected. One PULL per stream: PUSH deals among several."""

    def __init__(self, endpoint: str, *, bind: bool = False, context: zmq.Context[Any] | None = None) -> None:
        self._socket = (context or zmq.Context.instance()).socket(zmq.PULL)
        self._socket.set_hwm(FRAMES_QUEUED)
        self.endpoint = _attach(self._socket, endpoint, bind)

    def receive(self, timeout_s: float) -> Message | None:
        """Return the next message; raise WireError for one that cannot be read (the next call goes on)."""
        raw = self.receive_raw(timeout_s)
        return None if raw is None else wire.decode(raw)

    def receive_raw(self, timeout_s: float) -> memoryview | None:
        """Return the next message as it came, None when none came within `timeout_s`."""
        if not self._socket.poll(round(timeout_s * 1000)):
            return None
        parts = self._socket.recv_multipart(copy=False)
        if len(parts) > 1:
            raise WireError(f"message of {len(parts)} parts, stream v2 has one: set the detector's stream to 'cbor'")
        return memoryview(parts[0].buffer)

    def close(self) -> None:
        """Close the socket; safe to call twice."""
        self._socket.close(linger=0)


class ZmqFrameSink:
    """Stream-v2 messages into a PUSH socket, bound. `sent` and `refused` count the calls of `send`."""

    def __init__(
        self,
        endpoint: str,
        compression: Compression = "none",
        *,
        queued: int = FRAMES_QUEUED,
        linger_s: float = LINGER_S,
        context: zmq.Context[Any] | None = None,
    ) -> None:
        self._socket = (context or zmq.Context.instance()).socket(zmq.PUSH)
        self._socket.set_hwm(queued)
        self._linger_ms = round(linger_s * 1000)
        self._compression = compression
        self.endpoint = _attach(self._socket, endpoint, bind=True)
        self.sent = 0
        self.refused = 0

    def send(self, message: Message, timeout_s: float) -> bool:
        """Send one message; False when no receiver had room for it within `timeout_s`."""
        if not self._socket.poll(round(timeout_s * 1000), zmq.POLLOUT):
            self.refused += 1
            return False
        self._socket.send(wire.encode(message, self._compression), copy=False)
        self.sent += 1
        return True

    def close(self) -> None:
        """Wait up to `linger_s` for the receiver to take what was sent; safe to call twice."""
        self._socket.close(linger=self._linger_ms)


Handler = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class ResultPublisher:
    """Summaries of results: PUB (topic first) as they come, ROUTER for everything since N.

    A request is a CBOR map with a `type`. `since` {sequence} answers with the summaries from there on that are still
    kept; other types go to `handlers` (in the publisher's own thread), whose answer is sent back, or the error's text.
    `recalled` are summaries of an earlier run, `journal` is the name of the journal that all of them are counted by.
    """

    def __init__(
        self,
        results: str,
        requests: str,
        *,
        handlers: Mapping[str, Handler] | None = None,
        recalled: Iterable[ResultSummary] = (),
        journal: str = "",
        context: zmq.Context[Any] | None = None,
    ) -> None:
        context = context or zmq.Context.instance()
        self._publisher, self._router = context.socket(zmq.PUB), context.socket(zmq.ROUTER)
        self._publisher.set_hwm(RESULTS_QUEUED)
        self._router.set_hwm(ANSWERS_QUEUED)
        self.results = _attach(self._publisher, results, bind=True)
        self.requests = _attach(self._router, requests, bind=True)
        self._handlers = dict(handlers or {})
        self._history = _History(journal)
        for summary in recalled:
            self._history.add(summary.sequence, encode_summary(summary))
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._answer_all, name="results", daemon=True)
        self._thread.start()

    def publish(self, summary: ResultSummary) -> None:
        """Keep and send one summary; never blocks. A preliminary one is not kept."""
        encoded = encode_summary(summary)
        if summary.status is not SeriesStatus.PRELIMINARY:
            self._history.add(summary.sequence, encoded)
        self._publisher.send_multipart([RESULT_TOPIC, encoded])

    def close(self) -> None:
        """Stop answering; safe to call twice."""
        self._closing.set()
        self._thread.join()
        self._publisher.close(linger=round(LINGER_S * 1000))

    def _answer_all(self) -> None:
        while not self._closing.is_set():
            if self._router.poll(round(POLL_S * 1000)):
                identity, *parts = self._router.recv_multipart()
                self._router.send_multipart([identity, *self._answer(parts)])
        self._router.close(linger=round(POLL_S * 1000))

    def _answer(self, parts: list[bytes]) -> list[bytes]:
        try:
            kind, request = _read_map(parts)
            if kind == "since":
                return self._history.since(request.get("sequence"))
            if kind not in self._handlers:
                raise WireError(f"request {kind[:40]!r}, expected one of since, {', '.join(self._handlers)}")
            return [arrays.encode({"type": "answer", **self._handlers[kind](request)})]
        except BraggloopError as error:
            return [arrays.encode({"type": "error", "message": str(error)})]
        except Exception as error:  # whatever one request does, the next one must be answered
            log.exception("a request")
            return [arrays.encode({"type": "error", "message": f"{type(error).__name__}: {error}"})]


class ResultSubscriber:
    """Summaries in the order of their sequence, without a gap: what PUB lost or sent before is asked for. Preliminary
    ones come as they come, or not at all.

    `since` is the first sequence wanted, None for whatever comes next. A publisher with another journal counts anew
    and is read from its first summary on. `lost` counts summaries that it no longer has, or that cannot be read.
    """

    def __init__(
        self,
        results: str,
        requests: str,
        *,
        since: int | None = FIRST_SEQUENCE,
        context: zmq.Context[Any] | None = None,
    ) -> None:
        context = context or zmq.Context.instance()
        self._subscriber, self._dealer = context.socket(zmq.SUB), context.socket(zmq.DEALER)
        self._subscriber.subscribe(RESULT_TOPIC)
        _attach(self._subscriber, results, bind=False)
        self._dealer.set_hwm(1)  # questions to a publisher that is away must not pile up
        _attach(self._dealer, requests, bind=False)
        self._poller = zmq.Poller()
        self._poller.register(self._subscriber, zmq.POLLIN)
        self._poller.register(self._dealer, zmq.POLLIN)
        self._next = since
        self._journal: str | None = None
        self._ready: deque[ResultSummary] = deque()
        self._ask_at_s = 0.0
        self._awaited = False
        self.lost = 0

    def receive(self, timeout_s: float) -> ResultSummary | None:
        """Return the next summary, None when none came within `timeout_s`; raise WireError for a foreign message."""
        deadline_s = time.monotonic() + timeout_s
        while not self._ready:
            now_s = time.monotonic()
            if self._next is not None and now_s >= self._ask_at_s:
                self._ask()
            if now_s > deadline_s:
                return None
            self._listen(min(deadline_s - now_s, ASK_EVERY_S))
        return self._ready.popleft()

    def close(self) -> None:
        """Close the sockets; safe to call twice."""
        self._subscriber.close(linger=0)
        self._dealer.close(linger=0)

    def _ask(self) -> None:
        self._ask_at_s = time.monotonic() + ASK_EVERY_S
        if self._dealer.poll(0, zmq.POLLOUT):
            self._dealer.send(arrays.encode({"type": "since", "sequence": self._next}))
            self._awaited = True

    def _listen(self, timeout_s: float) -> None:
        for socket, _ in self._poller.poll(max(1, round(timeout_s * 1000))):
            if socket is self._subscriber:
                self._take_published(decode_summary(self._subscriber.recv_multipart()[-1]))
            else:
                self._take_answer(self._dealer.recv_multipart())

    def _take_published(self, summary: ResultSummary) -> None:
        self._follow(summary.journal)
        if summary.status is SeriesStatus.PRELIMINARY:
            if self._next in (None, summary.sequence):  # else it is late, or something before it is missing
                self._ready.append(summary)
            return
        if self._next is None or summary.sequence == self._next:
            self._take(summary)
        elif summary.sequence > self._next and not self._awaited:
            self._ask()

    def _take_answer(self, parts: list[bytes]) -> None:
        self._awaited = False
        kind, head = _read_map(parts[:1])
        if kind != "since" or self._next is None:
            raise WireError(f"answer {str(head)[:80]}, expected summaries since {self._next}")
        if self._follow(str(head.get("journal", ""))):
            self._ask()
            return
        for part in parts[1:]:
            self._take_asked(part)
        if head.get("more") is True:
            self._ask()

    def _take_asked(self, encoded: bytes) -> None:
        wanted = FIRST_SEQUENCE if self._next is None else self._next
        try:
            summary = decode_summary(encoded)
        except WireError:
            self._next = wanted + 1  # else it would be asked for again and again
            self.lost += 1
            self._ask_at_s = 0.0
            raise
        if summary.sequence >= wanted:
            self.lost += summary.sequence - wanted
            self._take(summary)

    def _follow(self, journal: str) -> bool:
        """Begin anew where the publisher has another journal than before; True where that is so."""
        known, self._journal = self._journal, journal
        if known in (None, journal):
            return False
        self._next = FIRST_SEQUENCE
        return True

    def _take(self, summary: ResultSummary) -> None:
        self._ready.append(summary)
        self._next = summary.sequence + 1
        self._ask_at_s = time.monotonic() + ASK_EVERY_S


class _History:
    """The newest summaries, as bytes, up to HISTORY_BYTES; safe between threads."""

    def __init__(self, journal: str) -> None:
        self._journal = journal
        self._kept: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._lock = threading.Lock()

    def add(self, sequence: int, encoded: bytes) -> None:
        with self._lock:
            self._kept.append((sequence, encoded))
            self._bytes += len(encoded)
            while self._bytes > HISTORY_BYTES and len(self._kept) > 1:
                self._bytes -= len(self._kept.popleft()[1])

    def since(self, sequence: Any) -> list[bytes]:
        """Return the answer to `since`: its head {more, journal}, then summaries up to BATCH_BYTES."""
        if type(sequence) is not int:
            raise WireError(f"request 'since' with sequence {str(sequence)[:40]}, expected a whole number")
        with self._lock:
            wanted = [encoded for kept, encoded in self._kept if kept >= sequence]
        sizes = itertools.accumulate(map(len, wanted))
        batch = [encoded for encoded, size in zip(wanted, sizes, strict=True) if size <= BATCH_BYTES] or wanted[:1]
        head = {"type": "since", "more": len(batch) < len(wanted), "journal": self._journal}
        return [arrays.encode(head), *batch]


def _attach(socket: zmq.Socket[Any], endpoint: str, bind: bool) -> str:
    """Bind or connect; return the endpoint with the port that the system chose for port 0 or '*'."""
    try:
        (socket.bind if bind else socket.connect)(endpoint)
    except zmq.ZMQError:
        socket.close(linger=0)
        raise
    return str(socket.get_string(zmq.LAST_ENDPOINT)) if bind else endpoint


def _read_map(parts: list[bytes]) -> tuple[str, dict[Any, Any]]:
    found = arrays.decode(parts[0]) if len(parts) == 1 else None
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        raise WireError("not a request or its answer: expected one CBOR map with a 'type'")
    return found["type"], found
