"""The hostile corpus through wire and assembly: nothing crashes, and the next honest series comes through whole."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from service.errors import WireError
from service.records import Accounting, Volume
from service.settings import parse_settings
from service.wire import messages as wire
from service.worker.assembly import Dropped, Event, SeriesAssembler, SeriesFailure
from tests.helpers.bench import Bench
from tests.helpers.hostile import Case, good_series, hostile_cases
from tests.helpers.series import bragg_peak

CASES = hostile_cases()
# Small enough that a test machine shrugs, large enough for the honest series.
SETTINGS = parse_settings({"worker": {"series_max_bytes": 50_000_000}})


def test_corpus_is_large_and_named() -> None:
    assert len(CASES) >= 300
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_next_honest_series_is_whole(case: Case) -> None:
    assembler = SeriesAssembler(SETTINGS)
    events = feed(assembler, case.payloads)
    assert all(consistent(event) for event in events)
    events = feed(assembler, good_series())
    whole = [event for event in events if isinstance(event, Volume) and event.series_unique_id == "good"]
    assert [volume.accounting for volume in whole] == [honest_accounting()]
    np.testing.assert_array_equal(whole[0].counts, bragg_peak())
    assert whole[0].mask.all()


def test_whole_corpus_in_one_process() -> None:
    assembler = SeriesAssembler(SETTINGS)
    for number, case in enumerate(CASES, start=1000):
        feed(assembler, case.payloads)
        events = feed(assembler, good_series(f"good {number}", number))
        whole = [event for event in events if isinstance(event, Volume) and event.series_id == number]
        assert [volume.accounting for volume in whole] == [honest_accounting()], case.name


def test_whole_corpus_through_the_worker(tmp_path: Path) -> None:
    """From the spool to summaries that can be sent: each is told, none keeps compute from the next."""
    bench = Bench(tmp_path, worker={"series_max_bytes": 50_000_000}, spool={"max_bytes": 400_000_000})
    for case in CASES:
        for payload in case.payloads:
            with contextlib.suppress(WireError):  # larger than a segment
                bench.writer.append(payload)
    bench.spool(good_series())
    last = bench.run(patience_s=120)[-1]
    assert (last.series_unique_id, str(last.status), last.accounting) == ("good", "done", honest_accounting())
    bench.crash()
    assert bench.run() == [], "told once"


def feed(assembler: SeriesAssembler, payloads: tuple[bytes, ...] | list[bytes]) -> list[Event]:
    return [event for payload in payloads for event in take(assembler, payload)]


def take(assembler: SeriesAssembler, payload: bytes) -> list[Event]:
    """One payload as the worker takes it: the head first, so that an image that cannot be read is counted."""
    try:
        head = wire.peek(payload)
    except WireError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return []
    try:
        message = wire.decode(payload)
    except WireError as error:
        if head.image_id is None:
            return []
        return assembler.reject(head.series_id, head.series_unique_id, head.image_id, error)
    return assembler.feed(message, 0.0)


def consistent(event: Event) -> bool:
    """One line for people, and an accounting that adds up."""
    if isinstance(event, Dropped):
        return "\n" not in str(event.error)
    told = event.accounting
    adds_up = told.received + told.missed + told.rejected == told.sent and min(told.missed, told.rejected) >= 0
    return adds_up and not (isinstance(event, SeriesFailure) and "\n" in str(event.error))


def honest_accounting() -> Accounting:
    return Accounting(sent=9, received=9, missed=0, rejected=0, duplicates=0)
