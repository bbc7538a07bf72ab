"""Offline: what the assembler makes of a recorded scan, and what stops it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from service.commands.reconstruct import assemble, read_volume, reconstruct_file
from service.commands.report import HumanReport, JsonReport
from service.errors import DataError, GeometryError
from service.ports import EndOfStream
from service.records import Frame, Message, SeriesStart
from service.results.durable import result_name
from service.settings import PhasingSettings, Settings
from tests.helpers.results import make_volume, write_scan
from tests.helpers.series import bragg_peak, series_of

QUICK = Settings(phasing=PhasingSettings(starts=1, recipe="10*ER+20*HIO+10*ER", size=24))


class Played:
    """A source that plays a list, with a silence in between, and is closed once."""

    def __init__(self, messages: list[Message]) -> None:
        self._steps: list[Message | None] = [None, *messages]
        self.closed = 0

    def receive(self, timeout_s: float) -> Message | None:
        if not self._steps:
            raise EndOfStream
        return self._steps.pop(0)

    def close(self) -> None:
        self.closed += 1


def test_volume_is_the_recorded_one(tmp_path: Path) -> None:
    told: list[float] = []
    volume = read_volume(write_scan(tmp_path / "scan.h5"), "", Settings(), told.append)
    assert np.array_equal(volume.counts, make_volume().counts)
    assert volume.series_unique_id.startswith("scan_")
    assert volume.accounting.complete
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0, abs=0.1)


def test_scans_of_one_name_keep_apart_and_one_scan_replaces_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_scan(tmp_path / folder / "scan.h5")
    monkeypatch.chdir(tmp_path)
    paths = [Path("a/scan.h5"), Path("b/scan.h5"), tmp_path / "a" / "scan.h5"]
    first, other, again = (read_volume(path, "", Settings(), lambda share: None) for path in paths)
    assert first.series_unique_id == again.series_unique_id
    assert first.series_unique_id != other.series_unique_id


def test_both_reports_end_with_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    scan, settings = write_scan(tmp_path / "scan.h5"), QUICK.model_copy(update={"out": tmp_path / "out"})
    reconstruct_file(scan, "", None, settings, JsonReport())
    record = json.loads(capsys.readouterr().out)
    first = Path(record["path"]).read_bytes()
    reconstruct_file(scan, "", Path(record["path"]), settings, HumanReport())
    said = capsys.readouterr()
    again = record["path"].replace(".h5", "_run2.h5")
    assert again in said.out.replace(str(settings.out), str(settings.out.resolve()))
    assert Path(record["path"]).read_bytes() == first, "what an earlier run has found is never replaced"
    assert Path(again).with_suffix(".png").exists()
    assert "crop [0:24, 0:24, 0:24] of [24, 24, 24]" in said.err
    assert len(list(settings.out.glob("*.h5"))) == 2


def test_result_stands_without_its_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    scan, settings = write_scan(tmp_path / "scan.h5"), QUICK.model_copy(update={"out": tmp_path / "out"})
    volume = read_volume(scan, "", settings, lambda share: None)
    name = result_name(volume.series_id, volume.series_unique_id, "recorded scan")
    picture = tmp_path / "out" / f"{name}.png"
    picture.mkdir(parents=True)
    reconstruct_file(scan, "", None, settings, JsonReport())
    said = capsys.readouterr()
    record = json.loads(said.out)
    assert record["picture"] is None
    assert Path(record["path"]) == picture.with_suffix(".h5")
    assert "no picture" in said.err


def test_series_without_a_volume_raises_its_own_error() -> None:
    start, *rest = series_of(bragg_peak())
    assert isinstance(start, SeriesStart)
    still = [dataclasses.replace(m, positions={}) if isinstance(m, Frame) else m for m in rest]
    source = Played([start, *still])
    with pytest.raises((GeometryError, DataError)):
        assemble(source, Settings(), 9, lambda share: None)
    assert source.closed == 1


def test_images_that_are_refused_say_why() -> None:
    counts = bragg_peak()
    start, *rest = series_of(counts)
    bad = [dataclasses.replace(m, monitor=-1.0) if isinstance(m, Frame) and m.image_id else m for m in rest]
    with pytest.raises(DataError, match=r"1 of 9 images arrived.*; first rejected: image 1: monitor is -1\.0"):
        assemble(Played([start, *bad]), Settings(), 9, lambda share: None)


def test_stream_without_a_series_says_what_was_dropped() -> None:
    _, *headless = series_of(bragg_peak())
    with pytest.raises(DataError, match="not started"):
        assemble(Played(headless), Settings(), 9, lambda share: None)
    with pytest.raises(DataError, match="no series in it"):
        assemble(Played([]), Settings(), 0, lambda share: None)
