"""Ingest: what comes off a socket lies in the spool, and a full spool makes the sender wait."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from service.errors import SettingsError, SpoolError
from service.settings import SpoolSettings, WorkerSettings
from service.worker import ingest as module
from service.worker.ingest import Ingest, open_pull
from service.worker.lifeline import BEAT_S, Lifeline
from service.worker.lock import held
from service.worker.spool import Position, SpoolReader, write_cursor
from service.worker.spool_writer import SpoolWriter
from tests.helpers.workers import Sender, messages

SEGMENT = 100_000


@pytest.fixture
def sender() -> Iterator[Sender]:
    sender = Sender()
    yield sender
    sender.close()


@contextlib.contextmanager
def ingesting(folder: Path, endpoint: str, segments: int = 20) -> Iterator[Ingest]:
    writer = SpoolWriter(SpoolSettings(folder=folder, max_bytes=segments * SEGMENT, segment_bytes=SEGMENT))
    settings = WorkerSettings(endpoint=endpoint)
    with zmq.Context() as context, open_pull(context, settings) as pull:
        ingest = Ingest(pull, writer)
        yield ingest
        ingest.close()


def work(ingest: Ingest, received: int) -> None:
    until_s = time.monotonic() + 20
    while ingest.report.received < received:
        assert time.monotonic() < until_s, ingest.report
        ingest.step()


def spooled(folder: Path) -> list[bytes]:
    reader = SpoolReader(folder)
    return [bytes(record.payload or b"") for record in iter(reader.read, None)]


def test_messages_are_spooled_as_they_came(tmp_path: Path, sender: Sender) -> None:
    series = [*messages(1, "a", 5), b"foreign"]
    with ingesting(tmp_path, sender.endpoint) as ingest:
        sender.send_all(series)
        work(ingest, len(series))
        assert ingest.report.received_bytes == sum(map(len, series))
        assert ingest.report.serial == len(series)
        ingest.step(timeout_ms=1)
    assert spooled(tmp_path) == series


def test_too_large_a_message_is_not_taken_and_the_next_ones_are(tmp_path: Path, sender: Sender) -> None:
    with ingesting(tmp_path, sender.endpoint) as ingest:
        sender.send_all([b"x", bytes(2 * SEGMENT), b"y"])
        work(ingest, 2)
        assert ingest.report.rejected == 1
    assert spooled(tmp_path) == [b"x", b"y"]


def test_full_spool_stops_the_sender_and_loses_nothing(tmp_path: Path, sender: Sender) -> None:
    count = 200
    sending = threading.Thread(target=lambda: [sender.send(bytes([n]) * 20_000, 60.0) for n in range(count)])
    with ingesting(tmp_path, sender.endpoint, segments=3) as ingest:
        sending.start()
        until_s = time.monotonic() + 20
        while not ingest.report.full and time.monotonic() < until_s:
            ingest.step()
        stopped = ingest.report
        assert stopped.full
        for _ in range(3):
            ingest.step()
        assert (ingest.report.received, ingest.report.overruns) == (stopped.received, 1)
        reader, found = SpoolReader(tmp_path), []
        while len(found) < count and time.monotonic() < until_s:
            while record := reader.read():
                found.append(record.payload[0] if record.payload else -1)
            write_cursor(tmp_path, Position(reader.position.segment, reader.position.offset))
            ingest.step(timeout_ms=1)
        sending.join()
        assert found == list(range(count))
        assert ingest.report.overruns > 1


def test_flush_that_fails_is_told_until_it_succeeds(
    tmp_path: Path, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(descriptor: int) -> None:
        raise OSError("Input/output error")

    with ingesting(tmp_path, sender.endpoint) as ingest:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", broken)
            series = messages(1, "a", 2)
            sender.send_all(series)
            work(ingest, len(series))
            until_s = time.monotonic() + 10
            while not ingest.report.error and time.monotonic() < until_s:
                ingest.step(timeout_ms=1)
        assert "cannot be put on the disk" in ingest.report.error
        sender.send_all(messages(2, "b", 2))
        work(ingest, 2 * len(series))
        until_s = time.monotonic() + 10
        while ingest.report.error and time.monotonic() < until_s:
            ingest.step(timeout_ms=1)
        assert ingest.report.error == ""


def test_wrong_endpoint_is_told(tmp_path: Path) -> None:
    with zmq.Context() as context, pytest.raises(SettingsError, match=r"worker\.endpoint"):
        open_pull(context, WorkerSettings(endpoint="nonsense"))


def test_lifeline_carries_reports_up_and_words_down_and_ends_with_the_parent(tmp_path: Path, sender: Sender) -> None:
    (words, say), (hear, reports) = os.pipe(), os.pipe()
    lifeline = Lifeline(words, reports)
    with ingesting(tmp_path, sender.endpoint) as ingest:
        running = threading.Thread(target=ingest.run, args=(lifeline, dataclasses.asdict))
        running.start()
        os.write(say, b'{"ok": true}\n')
        assert json.loads(os.read(hear, 10_000).splitlines()[0])["pid"] == os.getpid()
        time.sleep(2 * BEAT_S)
        assert (lifeline.heard, lifeline.ending) == ({"ok": True}, False)
        os.close(say)
        running.join(10)
    assert not running.is_alive()
    assert lifeline.orphaned


@contextlib.contextmanager
def ended_lifeline() -> Iterator[Lifeline]:
    (words, say), (hear, reports) = os.pipe(), os.pipe()
    lifeline = Lifeline(words, reports)
    lifeline.end()
    yield lifeline
    os.close(say)
    os.close(hear)


def test_end_takes_what_has_come_already(tmp_path: Path, sender: Sender) -> None:
    series = messages(1, "a", 150)  # more than one burst and more than PULL's queue
    with ingesting(tmp_path, sender.endpoint) as ingest, ended_lifeline() as lifeline:
        sending = threading.Thread(target=sender.send_all, args=(series,))
        sending.start()
        assert ingest._pull.poll(20_000)
        ingest.run(lifeline, dataclasses.asdict)
        sending.join()
    assert spooled(tmp_path) == series


@contextlib.contextmanager
def sending_without_end(sender: Sender, message: bytes) -> Iterator[None]:
    over = threading.Event()
    sending = threading.Thread(target=lambda: [sender.send(message, 0.1) for _ in iter(lambda: over.wait(0.005), True)])
    sending.start()
    yield
    over.set()
    sending.join()


@pytest.mark.parametrize(("size", "full"), [(64, False), (50_000, True)], ids=["endless sender", "full spool"])
def test_end_does_not_wait_for_ever(
    size: int, full: bool, tmp_path: Path, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DRAIN_S", 0.5)
    with (
        ingesting(tmp_path, sender.endpoint, segments=2) as ingest,
        ended_lifeline() as lifeline,
        sending_without_end(sender, bytes(size)),
    ):
        assert ingest._pull.poll(20_000)
        begin_s = time.monotonic()
        ingest.run(lifeline, dataclasses.asdict)
        assert 0.5 <= time.monotonic() - begin_s < 5.0
        assert (ingest.report.full, ingest.report.received > 0) == (full, True)


def test_lifeline_survives_a_full_pipe_and_notices_a_closed_one() -> None:
    (words, say), (hear, reports) = os.pipe(), os.pipe()
    lifeline = Lifeline(words, reports)
    for _ in range(100):
        lifeline.send({"text": "x" * 2000})
    assert not lifeline.ending
    os.close(hear)
    lifeline.send({})
    assert lifeline.orphaned
    os.close(say)


def test_lock_is_held_by_one(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with held(lock, "it", 0.0), pytest.raises(SpoolError, match="it is already running"), held(lock, "it", 0.1):
        pass
    with held(tmp_path / "lock", "it", 0.0):
        pass
