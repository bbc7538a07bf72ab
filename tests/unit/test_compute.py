"""Compute in one thread: what it tells of each series, and what it does after its own death."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import cbor2
import pytest

from service.errors import LONGEST_LINE, DataError, ResultError, SeriesError, SettingsError, SpoolFull
from service.records import Frame, Message, SeriesEnd, SeriesStatus, Volume
from service.settings import Settings
from service.wire import messages as wire
from service.worker import answers, journal
from service.worker.answers import SETTINGS_FILE
from service.worker.compute import ATTEMPTS
from service.worker.intake import Intake, reread
from service.worker.inverter import Inverter, Job, Product, Show
from service.worker.spool import Position, SpoolReader, read_cursor, segment_path
from service.worker.spool_writer import SpoolWriter
from tests.helpers.bench import Bench
from tests.helpers.results import make_volume
from tests.helpers.streams import until
from tests.helpers.workers import messages, worker_settings


def test_series_are_told_in_order_and_the_cursor_follows(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.spool(messages(1, "a", 4))
    bench.spool(messages(2, "b", 4)[:4])
    assert bench.told() == [("a", "done", 4)]
    report = bench.compute.report
    assert (report.open_series, report.open_sent, report.open_received) == ("2 (b)", 4, 3)
    assert read_cursor(bench.settings.spool.folder) < bench.writer.position
    bench.spool(messages(2, "b", 4)[4:])
    assert bench.told()[1:] == [("b", "done", 4)]
    assert read_cursor(bench.settings.spool.folder) == bench.writer.position
    assert bench.compute.report.caught_up


def test_what_is_shown_early_is_published_and_nothing_else(tmp_path: Path) -> None:
    def invert(volume: Volume, settings: Settings, show: Show) -> Product:
        product = Bench.sum(volume, settings)
        early = replace(product.figures, tier="direct")
        show(replace(product, figures=early, path=None, latencies_s={"direct": 0.1}))
        return product

    bench = Bench(tmp_path, invert)
    bench.spool(messages(1, "a", 4))
    early, result = bench.run()
    assert (early.status, early.sequence, early.path) == (SeriesStatus.PRELIMINARY, 1, None)
    assert early.figures is not None
    assert early.figures.tier == "direct"
    assert early.latency_s is not None
    assert result.latency_s is not None
    assert early.latency_s <= result.latency_s
    assert (result.status, result.sequence) == (SeriesStatus.DONE, 1)
    assert [entry.summary.status for entry in bench.journal.entries] == [SeriesStatus.DONE]
    assert dict(bench.journal.series) == {"done": 1}
    assert "direct" not in bench.journal.stages


def test_an_open_series_is_inverted_whenever_enough_new_frames_came(tmp_path: Path) -> None:
    bench = Bench(tmp_path, worker={"preview_frames": 3})
    start, *rest = messages(1, "a", 8)
    bench.spool([start, *rest[:2]])
    assert bench.run() == []
    bench.spool(rest[2:4])
    (early,) = bench.run()
    assert (early.status, early.accounting.received, early.accounting.sent) == (SeriesStatus.PRELIMINARY, 4, 8)
    assert (early.path, early.latency_s, early.sequence) == (None, None, 1)
    bench.spool(rest[4:6])
    assert len(bench.run()) == 1, "two new frames are not enough"
    bench.spool(rest[6:7])
    assert bench.told()[1:] == [("a", "preliminary", 7)]
    bench.spool(rest[7:])
    assert bench.told()[2:] == [("a", "done", 8)]
    assert bench.sink.summaries[-1].sequence == 1
    assert dict(bench.journal.series) == {"done": 1}
    assert bench.compute.report.received == 8
    bench.spool(messages(2, "b", 3)[:4])  # whole, as soon as it has frames enough
    assert bench.told()[3:] == [("b", "done", 3)]


def test_what_cannot_be_inverted_yet_is_not_told(tmp_path: Path) -> None:
    def invert(volume: Volume, settings: Settings, show: Show) -> Product:
        if not volume.accounting.complete:
            raise DataError("half a crystal")
        return Bench.sum(volume, settings)

    bench = Bench(tmp_path, invert, worker={"preview_frames": 2})
    *most, last, end = messages(1, "a", 4)
    bench.spool(most)
    assert bench.run() == []
    bench.spool([last, end])
    assert bench.told() == [("a", "done", 4)]


def test_death_while_inverting_inverts_again_and_tells_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda volume, settings, show: time.sleep(60))  # type: ignore[arg-type,return-value]
    bench.spool(messages(1, "a", 4))
    bench.run(until=lambda: bool(bench.compute.report.inverting))
    bench.invert = bench.sum
    bench.crash()
    assert bench.told() == [("a", "done", 4)]
    bench.crash()
    assert bench.told() == []
    assert bench.compute.report.received == 4


def test_latency_counts_from_the_last_frame_across_a_death(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.writer.close()
    long_ago = time.time() - 60.0
    bench.writer = SpoolWriter(bench.settings.spool, clock_s=lambda: long_ago)
    bench.spool(messages(1, "a", 4)[:5])
    bench.crash()  # the frames are in the spool, their series is in no memory
    (told,) = bench.run()
    assert list(told.latencies_s) == ["assemble", "wait", "sum", "publish"]
    assert told.latency_s is not None
    assert 60.0 <= told.latencies_s["wait"] <= told.latency_s < 80.0
    assert told.latency_s == pytest.approx(told.finished_at - long_ago, abs=1.0)
    assert 0 < told.latencies_s["assemble"] < 20.0
    assert bench.compute.report.latency[:2] == (1, pytest.approx(told.latency_s, abs=1.0))
    assert set(bench.compute.report.stages) == set(told.latencies_s)


def test_end_of_a_series_is_no_frame(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.writer.close()
    times = [time.time() - 60.0] * 4 + [time.time()]
    bench.writer = SpoolWriter(bench.settings.spool, clock_s=iter(times).__next__)
    told = messages(1, "a", 4)
    bench.spool([*told[:4], told[5]])  # one image is missing
    bench.run()
    bench.now_s += bench.settings.worker.late_s
    (summary,) = bench.run()
    assert summary.latency_s is not None
    assert summary.latency_s >= 60.0


def test_series_that_is_inverted_again_has_no_latency(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.spool(messages(1, "a", 4))
    bench.run()
    bench.answers.reprocess({})
    *_, again = bench.run()
    assert again.again
    assert again.latency_s is None
    assert list(again.latencies_s) == ["sum", "publish"]


def test_end_waits_for_the_picture(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"

    def draw() -> None:
        time.sleep(0.2)
        picture.write_text("drawn")

    inverter = Inverter(lambda volume, settings, show: replace(Bench.sum(volume, settings), draw=draw), Bench.sum)
    (tmp_path / "results").mkdir()
    settings = worker_settings(tmp_path, "tcp://127.0.0.1:0")
    inverter.submit(Job(identity=(1, "a", Position(0, 0)), load=make_volume, settings=settings))
    assert inverter.poll(20.0) is not None
    assert not picture.exists()
    inverter.rest()
    assert picture.exists()


def test_event_does_not_wait_for_the_picture(tmp_path: Path) -> None:
    picture, drawn = tmp_path / "a.png", threading.Event()

    def draw() -> None:
        drawn.wait(20.0)
        picture.write_text("drawn")

    bench = Bench(
        tmp_path, lambda volume, settings, show: replace(Bench.sum(volume, settings), picture=picture, draw=draw)
    )
    bench.spool(messages(1, "a", 4))
    (told,) = bench.run()
    assert told.picture == picture
    assert bench.answers.health({})["picture"] == ""
    drawn.set()
    until(picture.exists)
    assert bench.answers.health({})["picture"] == str(picture)
    bench.spool(messages(2, "b", 4))
    assert len(bench.run()) == 2
    bench.crash()
    assert bench.answers.health({})["picture"] == str(picture), "it outlives the process"


def test_death_between_journal_and_cursor_tells_nothing_twice(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.spool(messages(1, "a", 4))
    assert bench.told() == [("a", "done", 4)]
    (bench.settings.spool.folder / "cursor.json").unlink()
    bench.spool(messages(1, "a", 4)[2:4])  # late copies of the finished series are no new series either
    bench.crash()
    assert bench.told() == []
    assert bench.journal.sequence == 1
    bench.spool(messages(1, "a", 4))  # the same name again, at another place
    assert bench.told() == [("a", "done", 4)]


def test_shortened_journal_tells_nothing_twice_of_what_is_still_in_the_spool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "LARGEST_BYTES", 1)
    monkeypatch.setattr(journal, "RECALLED", 1)
    bench = Bench(tmp_path)
    for number, name in enumerate("abcd"):
        bench.spool(messages(number, name, 4))
    assert len(bench.told()) == 4
    (bench.settings.spool.folder / "cursor.json").unlink()
    bench.crash()
    assert len(bench.journal.entries) == 1
    assert bench.told() == []
    assert (bench.journal.sequence, bench.compute.report.received) == (4, 16)


def test_series_that_kills_the_worker_is_given_up(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda volume, settings, show: time.sleep(60))  # type: ignore[arg-type,return-value]
    bench.spool(messages(1, "deadly", 4))
    for _ in range(ATTEMPTS):
        bench.run(until=lambda: bool(bench.compute.report.inverting))
        bench.crash()
    told = bench.run()
    assert [(str(summary.status), summary.error) for summary in told] == [
        ("failed", f"the worker died {ATTEMPTS} times while inverting it")
    ]


@pytest.mark.parametrize("error", [DataError("nothing to invert"), ZeroDivisionError("by zero")])
def test_failing_inversion_is_told_and_the_next_series_unharmed(tmp_path: Path, error: Exception) -> None:
    def invert(volume: Volume, settings: Settings, _: Show) -> Product:
        if volume.series_unique_id == "bad":
            raise error
        return Bench.sum(volume, settings)

    bench = Bench(tmp_path, invert)
    bench.spool([*messages(1, "bad", 4), *messages(2, "good", 4)])
    assert bench.told() == [("bad", "failed", 4), ("good", "done", 4)]
    assert str(error) in bench.compute.report.last_error


def test_series_without_start_is_told_and_no_other_stray_is(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    headless = messages(1, "headless", 6)
    bench.spool([*headless[3:], b"\xff", wire.encode(SeriesEnd(series_id=9, series_unique_id="nothing"))])
    bench.spool([*messages(2, "cut", 6)[2:4], *messages(3, "other", 6)[2:4], *messages(4, "good", 3)])
    told = bench.run()
    assert [(summary.series_unique_id, str(summary.status)) for summary in told] == [
        ("headless", "failed"), ("cut", "failed"), ("other", "failed"), ("good", "done"),
    ]  # fmt: skip
    frames = told[0].accounting
    assert (frames.sent, frames.received, frames.missed, frames.rejected) == (6, 0, 2, 4)
    bench.spool(headless[3:5])
    assert len(bench.run()) == 4


def test_headless_and_open_series_are_closed_when_they_stall(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.spool(messages(1, "headless", 6)[2:4])
    bench.run()
    bench.now_s = 10.0
    assert bench.told() == [("headless", "failed", 0)]
    bench.spool(messages(2, "stalled", 6)[:4])
    bench.run()
    bench.now_s = 12.0
    bench.run()
    assert bench.compute.report.silent_s == 2.0
    bench.now_s = 20.0
    assert bench.told()[1:] == [("stalled", "incomplete", 3)]


def test_unreadable_and_damaged_messages_are_counted(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    good = messages(1, "a", 5)
    bench.spool([good[0], good[1], good[2][:-40], good[3]])
    damaged = bench.writer.append(good[4])
    with segment_path(bench.settings.spool.folder, damaged.segment).open("r+b") as file:
        file.seek(damaged.offset + 60)
        file.write(b"XXXX")
    bench.spool([good[5], messages(9, "no start", 3)[0][:-30], good[6]])
    bench.run()
    bench.now_s = 1.0
    frames = bench.run()[0].accounting
    assert (frames.sent, frames.received, frames.missed, frames.rejected) == (5, 3, 1, 1)
    assert (bench.compute.report.damaged, bench.compute.report.strays) == (1, 1)


def test_cut_off_series_is_aborted_or_inverted_by_what_arrived(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.spool([*messages(1, "few", 10)[:4], *messages(2, "most", 10)[:9], *messages(3, "whole", 4)])
    assert bench.told() == [("few", "aborted", 3), ("most", "incomplete", 8), ("whole", "done", 4)]


@pytest.mark.parametrize("arrived", [1, 9])
def test_series_that_its_sender_gives_up_is_aborted_at_once(tmp_path: Path, arrived: int) -> None:
    bench = Bench(tmp_path)
    end = SeriesEnd(series_id=1, series_unique_id="given up", aborted=True)
    bench.spool([*messages(1, "given up", 10)[: 1 + arrived], wire.encode(end)])
    (told,) = bench.run()
    assert (str(told.status), told.accounting.missed) == ("aborted", 10 - arrived)
    assert ("aborted by its sender" in told.error) == (arrived > 1)


@pytest.mark.parametrize(("arrived", "status"), [(4, "failed"), (5, "incomplete")])
def test_series_whose_sender_falls_silent_fails_or_is_inverted_by_what_arrived(
    tmp_path: Path, arrived: int, status: str
) -> None:
    bench = Bench(tmp_path)
    bench.spool(messages(1, "silent", 10)[: 1 + arrived])
    bench.run()
    bench.now_s = 10.0
    (told,) = bench.run()
    assert (str(told.status), told.accounting.received, told.accounting.missed) == (status, arrived, 10 - arrived)
    assert ("fell silent" in told.error) == (status == "failed")
    assert bench.compute.report.received == arrived


def test_start_that_is_refused_is_told_with_its_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(tmp_path)
    refused = messages(1, "huge", 4)
    sizes = {"image_size_y": 100_000, "image_size_x": 100_000}
    refused[0] = cbor2.dumps(cbor2.loads(refused[0]) | sizes)
    bench.spool([*refused, *messages(2, "good", 4)])
    first, second = bench.run()
    assert (str(first.status), first.accounting.sent, first.accounting.rejected) == ("failed", 4, 4)
    assert first.error.startswith("the start of the series was refused (")
    assert "100000" in first.error
    assert str(second.status) == "done"
    assert "100000" in caplog.text
    bench.crash()
    assert bench.told() == []
    bench.spool([refused[0]])  # under a name that was used before, and nothing after it
    bench.run()
    bench.now_s = 10.0
    assert bench.told() == [("huge", "failed", 0)]


def test_bad_copy_of_a_start_harms_no_open_series(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    good = messages(1, "good", 4)
    bench.spool([*good[:3], good[0][:-30], *good[3:]])
    assert bench.told() == [("good", "done", 4)]


def test_first_reason_of_a_rejection_reaches_the_summary_and_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(tmp_path)
    bad = messages(1, "bad", 3)
    other = messages(1, "bad", 3, shape=(12, 24))
    bench.spool([bad[0], other[1], other[2], other[3], bad[4]])
    (told,) = bench.run()
    assert (str(told.status), told.accounting.rejected) == ("failed", 3)
    assert "first rejected: image 0 is (12, 24) uint16" in told.error
    assert caplog.text.count("rejected: image") == 1
    bench.now_s = 5.0
    bench.run()
    assert "rejected: 2 more, the last: image 2 is (12, 24)" in caplog.text


def test_series_that_is_inverted_again_counts_its_unreadable_images_as_rejected(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    torn = messages(1, "torn", 4)
    bench.spool([*torn[:2], torn[2][:-40], *torn[3:]])
    first = bench.run()[0].accounting
    bench.answers.reprocess({})
    assert bench.run()[-1].accounting == first
    assert first.rejected == 1


def test_impossible_series_fails_and_its_images_are_no_series_of_their_own(tmp_path: Path) -> None:
    bench = Bench(tmp_path, worker={"series_max_bytes": 10_000})
    bench.spool([*messages(1, "large", 8), *messages(2, "small", 2)])
    assert [summary.error.partition(",")[0] for summary in bench.run()][1:] == [""]
    assert "series_max_bytes" in bench.run()[0].error


def test_new_settings_hold_from_the_next_series_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path, worker={"series_max_bytes": 10_000})
    bench.spool(messages(1, "open", 3)[:3])
    bench.run()
    assert bench.answers.use({"toml": "[worker]\nseries_max_bytes = 1000000"}) == {"changed": ["worker"]}
    bench.run()
    bench.spool([*messages(1, "open", 3)[3:], *messages(2, "large", 8)])
    assert bench.told() == [("open", "done", 3), ("large", "done", 8)]
    for toml, words in (("[[", "not TOML"), ("[worker]\nlate_s = -1", "late_s")):
        with pytest.raises(SettingsError, match=words):
            bench.answers.use({"toml": toml})


def test_late_images_of_a_closed_series_are_no_new_one_though_settings_changed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    reader = SpoolReader(bench.settings.spool.folder)
    intake = Intake(reader, bench.settings, lambda _: False, lambda _: False)  # closed, but without a result yet
    bench.spool([*messages(1, "headless", 4)[2:], *messages(2, "closed", 4)])
    first = [*intake.step()[0], *intake.step()[0]]
    intake.use(bench.settings.model_copy())
    bench.spool([*messages(3, "next", 3), *messages(1, "headless", 4)[2:], *messages(2, "closed", 4)[2:]])
    second = [closed for _ in range(4) for closed in intake.step()[0]]
    names = [[closed.outcome.series_unique_id for closed in found] for found in (first, second)]
    assert names == [["headless", "closed"], ["next"]]


def test_settings_that_need_a_restart_are_refused_by_name(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    elsewhere = f"out = '{tmp_path}/else'\n[spool]\nfolder = '{tmp_path}/other'\n[worker]\nresults = 'tcp://*:1'\n"
    elsewhere += "warn_s = 2.0\nlate_s = 1.5\n[streamer]\nrate_hz = 5.0\n"
    names = "out, spool.folder, streamer.rate_hz, worker.results, worker.warn_s cannot change at run time"
    with pytest.raises(SettingsError, match=f"^{re.escape(names)}"):
        bench.answers.use({"toml": elsewhere})
    assert not (bench.settings.spool.folder / SETTINGS_FILE).exists()
    same = f"out = '{bench.settings.out}'\n[worker]\nresults = '{bench.settings.worker.results}'\n"
    assert bench.answers.use({"toml": same + "late_s = 1.5\n"}) == {"changed": ["worker"]}
    kept = json.loads((bench.settings.spool.folder / SETTINGS_FILE).read_text())
    before = bench.settings.model_dump(mode="json")
    assert kept == before | {"worker": before["worker"] | {"late_s": 1.5}}


def test_result_says_whose_journal_counts_it_and_whether_it_came_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.spool(messages(1, "a", 4))
    bench.run()
    bench.answers.reprocess({})
    first, again = bench.run()
    assert (first.again, again.again) == (False, True)
    assert first.journal == again.journal == bench.journal.name
    assert [entry.summary.slices for entry in bench.journal.entries] == [{}, {}]


def test_series_that_leaves_the_spool_while_it_is_read_again_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    bench.spool(messages(1, "a", 4))
    bench.run()
    identity, folder = (1, "a", bench.journal.entries[0].position), bench.settings.spool.folder
    assert reread(folder, identity, bench.settings).accounting.complete

    def recycling(payload: memoryview) -> Message:
        segment_path(folder, identity[2].segment).unlink(missing_ok=True)
        return honest(payload)

    honest = wire.decode
    monkeypatch.setattr(wire, "decode", recycling)
    with pytest.raises(SeriesError, match="not in the spool any more"):
        reread(folder, identity, bench.settings)


def test_whatever_a_message_does_to_the_decoder_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(payload: memoryview) -> Message:
        message = honest(payload)
        if isinstance(message, Frame) and message.image_id == 1:
            raise ZeroDivisionError("by\nzero")
        return message

    honest = wire.decode
    monkeypatch.setattr(wire, "decode", decode)
    bench = Bench(tmp_path)
    bench.spool(messages(1, "a", 4))
    bench.run()
    bench.now_s = 1.0
    frames = bench.run()[0].accounting
    assert (frames.received, frames.missed, frames.rejected) == (3, 0, 1)


def test_error_that_quotes_a_sender_is_cut(tmp_path: Path) -> None:
    def invert(volume: Volume, settings: Settings, _: Show) -> Product:
        raise DataError("x" * 10_000)

    bench = Bench(tmp_path, invert)
    bench.spool(messages(1, "a", 4))
    assert len(bench.run()[0].error) == LONGEST_LINE


def test_series_is_inverted_again_from_the_spool(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with pytest.raises(SeriesError, match="nothing to invert again"):
        bench.answers.reprocess({})
    first = messages(1, "first", 4)
    bench.spool([*first[:2], b"\xff", *messages(7, "else", 4)[1:3], *first[2:], *messages(2, "cut", 4)[:4]])
    bench.spool(messages(3, "third", 4))
    bench.run()
    before = len(bench.sink.summaries)
    for name in ("first", "cut", "third"):
        bench.answers.reprocess({"series_unique_id": name})
        bench.run()
    again = [(told.series_unique_id, str(told.status)) for told in bench.sink.summaries[before:]]
    assert again == [("first", "done"), ("cut", "incomplete"), ("third", "done")]
    position = next(entry.position for entry in bench.journal.entries if entry.summary.series_unique_id == "first")
    with segment_path(bench.settings.spool.folder, position.segment).open("r+b") as file:
        file.write(bytes(100_000))
    bench.answers.reprocess({"series_unique_id": "first"})
    assert "not in the spool any more" in bench.run()[-1].error
    segment_path(bench.settings.spool.folder, position.segment).unlink()
    with pytest.raises(SeriesError, match="has left the spool"):
        bench.answers.reprocess({})


def test_large_result_is_saved_after_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def slow(source: Path, target: Path) -> None:
        assert go.wait(20)
        raise OSError("the disk is full")

    monkeypatch.setattr(answers, "SAVE_WAIT_S", 0.01)
    monkeypatch.setattr(shutil, "copyfile", slow)
    bench = Bench(tmp_path)
    bench.spool(messages(1, "a", 4))
    bench.run()
    assert bench.answers.save({"path": str(tmp_path / "copy")}) == {"path": str(tmp_path / "copy"), "done": False}
    assert bench.answers.health({})["save_error"] == ""
    with pytest.raises(ResultError, match="still being saved"):
        bench.answers.save({"path": str(tmp_path)})
    go.set()
    until(lambda: "the disk is full" in bench.answers.health({})["save_error"])
    assert not (tmp_path / "copy").exists()


def test_last_result_is_saved_elsewhere(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with pytest.raises(ResultError, match="no result to save"):
        bench.answers.save({"path": str(tmp_path)})
    bench.spool(messages(1, "a", 4))
    bench.run()
    saved = Path(bench.answers.save({"path": str(tmp_path)})["path"])
    assert saved.read_text() == (bench.settings.out / "a.txt").read_text()
    taken = [(str(tmp_path), "exists already"), (str(bench.settings.out / "a.txt"), "exists already")]
    for path, words in (*taken, ("/proc/nowhere/at/all", "another path"), ("a\0b", "another path"), ("", "no path")):
        with pytest.raises(ResultError, match=words):
            bench.answers.save({"path": path})
    assert saved.read_text() == (bench.settings.out / "a.txt").read_text()
    assert bench.answers.health({})["save_error"] == "", "what was told at once is not told again"
    assert bench.answers.health({})["status"] == "starting"


def test_series_larger_than_the_spool_lets_its_beginning_go(tmp_path: Path) -> None:
    bench = Bench(tmp_path, spool={"max_bytes": 30_000, "segment_bytes": 10_000})
    large = messages(1, "large", 60)
    full = 0
    for message in large:
        while True:
            try:
                bench.writer.append(message)
                break
            except SpoolFull:
                full += 1
                assert full < 200
                bench.run()
                bench.compute.step(spool_full=True)
    assert full > 0
    assert bench.told() == [("large", "done", 60)]
    assert read_cursor(bench.settings.spool.folder) > Position(2, 0)
