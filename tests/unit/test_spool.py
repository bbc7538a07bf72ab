"""The spool: what was written is read, whatever was killed, torn, damaged or recycled in between."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import SettingsError, SpoolError, SpoolFull, WireError
from service.settings import SpoolSettings, parse_section
from service.worker.spool import (
    HEADER,
    Position,
    SpoolReader,
    read_cursor,
    record_bytes,
    segment_path,
    segments,
    write_cursor,
)
from service.worker.spool_writer import SpoolWriter

SEGMENT = 4096


def open_writer(folder: Path, max_segments: int = 100) -> SpoolWriter:
    return SpoolWriter(SpoolSettings(folder=folder, max_bytes=max_segments * SEGMENT, segment_bytes=SEGMENT))


def read_all(reader: SpoolReader) -> list[bytes | None]:
    found: list[bytes | None] = []
    while record := reader.read():
        found.append(None if record.payload is None else bytes(record.payload))
    return found


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=1500), max_size=40), st.integers(0, 40))
def test_messages_come_back_in_order_across_segments_and_restarts(
    tmp_path_factory: pytest.TempPathFactory, messages: list[bytes], restart: int
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    writer, reader = open_writer(folder), SpoolReader(folder)
    found: list[bytes | None] = []
    for number, message in enumerate(messages):
        if number == restart:
            writer.close()
            writer = open_writer(folder)
        assert writer.serial == number
        writer.append(message)
        if number % 3 == 0:
            found += read_all(reader)
    assert found + read_all(reader) == messages
    assert reader.read() is None


def test_reader_waits_for_the_writer_and_goes_on(tmp_path: Path) -> None:
    reader = SpoolReader(tmp_path)
    assert reader.read() is None
    writer = open_writer(tmp_path)
    assert reader.read() is None
    writer.append(b"first")
    record = reader.read()
    assert record is not None
    assert (record.serial, record.position, bytes(record.payload or b"")) == (0, Position(1, 0), b"first")
    assert reader.read() is None
    writer.append(memoryview(b"second"))
    assert read_all(reader) == [b"second"]


def test_torn_header_is_no_record_and_the_writer_overwrites_it(tmp_path: Path) -> None:
    writer, reader = open_writer(tmp_path), SpoolReader(tmp_path)
    writer.append(b"whole")
    torn = writer.position
    writer.append(b"torn")
    writer.close()
    with segment_path(tmp_path, 1).open("r+b") as file:
        file.seek(torn.offset + HEADER.size - 8)
        file.write(bytes(8))  # the segment's number is written last
    assert read_all(reader) == [b"whole"]
    writer = open_writer(tmp_path)
    assert (writer.position, writer.serial) == (torn, 1)
    writer.append(b"again")
    assert read_all(reader) == [b"again"]


def test_reader_skips_from_a_torn_record_to_the_next_segment(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    for number in range(3):
        writer.append(bytes([number]) * 1500)
    with segment_path(tmp_path, 1).open("r+b") as file:
        file.write(b"\0\0\0\0")
    assert read_all(SpoolReader(tmp_path)) == [bytes([2]) * 1500]


def test_damaged_record_is_told_and_the_next_one_read(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    writer.append(b"damaged")
    writer.append(b"sound")
    with segment_path(tmp_path, 1).open("r+b") as file:
        file.seek(HEADER.size + 2)
        file.write(b"X")
    assert read_all(SpoolReader(tmp_path)) == [None, b"sound"]


def test_time_of_reception_outlives_the_writer_and_its_damage_is_told(tmp_path: Path) -> None:
    spool = SpoolSettings(folder=tmp_path, max_bytes=2 * SEGMENT, segment_bytes=SEGMENT)
    writer = SpoolWriter(spool, clock_s=iter([1.7e9, 1.7e9 + 0.25]).__next__)
    writer.append(b"first")
    writer.append(b"second")
    writer.close()
    reader = SpoolReader(tmp_path)
    assert [record.received_at for _ in range(2) if (record := reader.read())] == [1.7e9, 1.7e9 + 0.25]
    with segment_path(tmp_path, 1).open("r+b") as file:
        file.seek(HEADER.size - 16)
        file.write(b"X")
    assert read_all(SpoolReader(tmp_path)) == [None, b"second"]


def test_impossible_length_ends_the_segment(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    writer.append(b"wrong")
    with segment_path(tmp_path, 1).open("r+b") as file:
        file.seek(HEADER.size - 24)
        file.write(b"\xff" * 8)
    assert read_all(SpoolReader(tmp_path)) == []


def test_full_spool_refuses_until_the_cursor_moves_then_recycles_the_oldest(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, max_segments=3)
    message = bytes(3000)
    for _ in range(3):
        writer.append(message)
    with pytest.raises(SpoolFull, match="unfinished series"):
        writer.append(message)
    assert segments(tmp_path) == [1, 2, 3]
    write_cursor(tmp_path, Position(2, 0))
    assert writer.append(message) == Position(4, 0)
    assert segments(tmp_path) == [2, 3, 4]
    assert sum(path.stat().st_size for path in tmp_path.glob("*.raw")) <= 3 * SEGMENT


def test_recycled_segment_shows_nothing_of_its_former_life(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, max_segments=2)
    for number in range(80):
        writer.append(bytes([number]))
        write_cursor(tmp_path, writer.position)
    reader = SpoolReader(tmp_path, writer.position)
    assert read_all(reader) == []
    newest, stale = SpoolReader(tmp_path, Position(segments(tmp_path)[-1], 0)), record_bytes(1)
    count = writer.position.offset // stale
    assert read_all(newest) == [bytes([number]) for number in range(80 - count, 80)]
    writer.close()
    assert open_writer(tmp_path, max_segments=2).position == writer.position


def test_segments_of_other_settings_leave_when_they_are_finished(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, max_segments=2)
    writer.append(bytes(3000))
    writer.append(bytes(3000))
    writer.close()
    larger = SpoolWriter(SpoolSettings(folder=tmp_path, max_bytes=4 * SEGMENT, segment_bytes=2 * SEGMENT))
    write_cursor(tmp_path, larger.position)
    larger.append(bytes(6000))
    write_cursor(tmp_path, larger.position)
    larger.append(bytes(6000))
    assert segments(tmp_path)[-1] == 4
    assert sum(path.stat().st_size for path in tmp_path.glob("*.raw")) <= 4 * SEGMENT


def test_message_that_never_fits_is_refused(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    with pytest.raises(WireError, match=r"spool\.segment_bytes"):
        writer.append(bytes(SEGMENT))
    writer.append(bytes(writer.capacity_bytes))
    writer.sync()
    writer.sync()


def test_numbers_go_on_after_the_segments_were_removed(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    writer.append(b"gone")
    write_cursor(tmp_path, Position(7, 64))
    segment_path(tmp_path, 1).unlink()
    again = open_writer(tmp_path)
    assert again.append(b"new") == Position(8, 0)
    assert read_all(SpoolReader(tmp_path, read_cursor(tmp_path))) == [b"new"]


def test_full_disk_is_a_full_spool_and_leaves_no_half_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = open_writer(tmp_path)
    monkeypatch.setattr(os, "posix_fallocate", no_space)
    with pytest.raises(SpoolFull, match="No space left"):
        writer.append(b"x")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    writer.append(b"x")


def test_another_failure_of_the_disk_is_not_a_full_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    writer = open_writer(tmp_path)
    monkeypatch.setattr(os, "posix_fallocate", broken)
    with pytest.raises(SpoolError, match="Input/output error"):
        writer.append(b"x")


def test_cursor_is_kept_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    assert read_cursor(tmp_path) == Position(0, 0)
    write_cursor(tmp_path, Position(3, 128))
    assert read_cursor(tmp_path) == Position(3, 128)
    (tmp_path / "cursor.json").write_text("{")
    with pytest.raises(SpoolError, match="remove the file"):
        read_cursor(tmp_path)


def test_prepared_segments_are_there_before_the_first_message(tmp_path: Path) -> None:
    prepared = SpoolSettings(folder=tmp_path, max_bytes=4 * SEGMENT, segment_bytes=SEGMENT, prepared_bytes=3 * SEGMENT)
    writer = SpoolWriter(prepared)
    assert len(list(tmp_path.glob("spare-*.raw"))) == 3
    reader = SpoolReader(tmp_path)
    assert reader.read() is None
    assert writer.append(b"first") == Position(1, 0)
    assert len(list(tmp_path.glob("spare-*.raw"))) == 2
    writer.close()
    (tmp_path / "spare-1.raw").write_bytes(b"half made")
    assert SpoolWriter(prepared).append(b"second") > Position(1, 0)
    assert read_all(reader) == [b"first", b"second"]


def test_empty_spool_begins_where_it_is_told_and_a_used_one_goes_on(tmp_path: Path) -> None:
    settings = SpoolSettings(folder=tmp_path, max_bytes=4 * SEGMENT, segment_bytes=SEGMENT)
    writer = SpoolWriter(settings, after=41)
    assert writer.append(b"first") == Position(42, 0)
    writer.close()
    assert SpoolWriter(settings, after=1000).append(b"second").segment == 42


def test_spare_with_any_number_is_no_hindrance(tmp_path: Path) -> None:
    tmp_path.joinpath("spare-1.raw").write_bytes(bytes(SEGMENT))
    prepared = SpoolSettings(folder=tmp_path, max_bytes=4 * SEGMENT, segment_bytes=SEGMENT, prepared_bytes=3 * SEGMENT)
    SpoolWriter(prepared).close()
    assert len(list(tmp_path.glob("spare-*.raw"))) == 3


def test_bound_must_hold_two_segments() -> None:
    with pytest.raises(SettingsError, match="below two segments"):
        parse_section(SpoolSettings, {"max_bytes": 5000, "segment_bytes": 4096})
