"""The commands as a person runs them: in processes of their own, with files, exit codes and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from service.adapters.tango import alive
from service.adapters.zmq import ZmqFrameSource
from service.commands.children import free_ports
from service.commands.report import DONE, FAILED, WRONG_USE
from service.commands.serve import _name
from service.records import Frame, Reconstruction, SeriesEnd, SeriesStart
from service.results.nexus import read_result
from tests.helpers.networks import needs_cuda, needs_tensorrt
from tests.helpers.results import write_scan

ROOT = Path(__file__).resolve().parents[2]
QUICK = "[twin]\nframes = 24\nrows = 48\ncolumns = 48\n[phasing]\nrecipe = '30*ER+60*HIO+20*ER'\nsize = 24\nkeep = 1\n"
PATIENCE_S = 120


def command(*line: str, **how: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.Popen(
        [sys.executable, "-m", "service.cli", *line],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    return process.returncode, out, err


@contextlib.contextmanager
def background(*line: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command that goes on until told to end; end it, and see that it took its family along."""
    process = command(*line)
    try:
        yield process
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == DONE, err + out
        _, alive_still = psutil.wait_procs(family, 20)
        assert not alive_still
    finally:
        process.kill()
        process.communicate()


def last_object(out: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    (tmp_path / "quick.toml").write_text(QUICK)
    return tmp_path / "quick.toml"


@pytest.mark.slow
def test_demo_shows_all_of_it(quick: Path, tmp_path: Path) -> None:
    out, scan = tmp_path / "results", write_scan(tmp_path / "scan.h5")
    line = ["demo", "--settings", str(quick), "--starts", "2", "--scan", str(scan), "--out", str(out), "--json"]
    code, said, err = finish(command(*line))
    assert code == DONE, err
    results = last_object(said)["results"]
    assert len(results) == 2
    for result in results:
        assert result["accounting"] == {"sent": 24, "received": 24, "missed": 0, "rejected": 0, "duplicates": 0}
        assert read_result(Path(result["path"])).figures.chi == result["figures"]["chi"]
        assert Path(result["picture"]).stat().st_size > 20_000
    assert [result["figures"]["hand_chosen"] for result in results] == [False, False], "they are of two crystals"
    named = {Path(result[kind]).name for result in results for kind in ("path", "picture")}
    assert {path.name for path in out.iterdir() if path.suffix in (".h5", ".png", ".part")} == named
    line = ["reconstruct", str(scan), "--settings", str(quick), "--starts", "2", "--out", str(tmp_path / "offline")]
    code, said, err = finish(command(*line, "--json"))
    assert code == DONE, err
    require_equal(read_result(Path(results[1]["path"])), read_result(Path(last_object(said)["path"])))


def require_equal(streamed: Reconstruction, offline: Reconstruction) -> None:
    """Same counts, settings and number of threads: the same object to the last bit."""
    np.testing.assert_array_equal(streamed.object_, offline.object_)
    assert streamed.figures.chi == offline.figures.chi
    assert streamed.crop == offline.crop


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_demo_takes_its_processes_along(number: signal.Signals, quick: Path, tmp_path: Path) -> None:
    process = command("demo", "--settings", str(quick), "--out", str(tmp_path / "results"))
    watched, until_s = psutil.Process(process.pid), time.monotonic() + PATIENCE_S
    while len(watched.children(recursive=True)) < 2 and time.monotonic() < until_s:
        time.sleep(0.1)
    family = watched.children(recursive=True)
    assert len(family) >= 2
    process.send_signal(number)
    code, said, err = finish(process)
    assert code == FAILED
    assert said == ""
    assert "interrupted" in err
    assert "Traceback" not in err
    _, alive_still = psutil.wait_procs(family, 20)
    assert not alive_still


@pytest.mark.slow
def test_child_that_fails_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "alarms.toml").write_text("[tango]\nhost = '203.0.113.1'\n")  # an address that is nobody's
    line = ["demo", "--settings", str(tmp_path / "alarms.toml"), "--out", str(tmp_path / "r"), "--json"]
    code, said, _ = finish(command(*line))
    assert code == FAILED
    assert "tango_devices" in last_object(said)["error"]


@pytest.mark.slow
def test_stream_is_seen_by_check(quick: Path) -> None:
    endpoint = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    looking = command("check", endpoint, "--seconds", "20", "--json")
    code, said, err = finish(command("stream", "--settings", str(quick), "--endpoint", endpoint, "--json"))
    assert code == DONE, err
    assert last_object(said)["sent"] == 24
    code, said, err = finish(looking)
    assert code == DONE, err
    found = last_object(said)
    assert found["taken"] == {"start": 1, "image": 24, "end": 1}
    assert found["series"]["rocking_axis"] == "theta"
    assert "never reaches a worker" in err


def test_check_of_silence_is_one() -> None:
    code, said, _ = finish(command("check", "tcp://127.0.0.1:1", "--seconds", "0.2", "--json"))
    assert code == FAILED
    assert last_object(said)["stream"] is False
    assert last_object(said)["ok"] is False


def test_endless_stream_ends_its_series_on_sigterm(quick: Path) -> None:
    endpoint = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    with contextlib.closing(ZmqFrameSource(endpoint)) as source:
        with background("stream", "--settings", str(quick), "--endpoint", endpoint, "--loop"):
            start = source.receive(PATIENCE_S)
            assert isinstance(source.receive(PATIENCE_S), Frame)
        *_, last = iter(lambda: source.receive(1.0), None)
    assert isinstance(start, SeriesStart)
    assert isinstance(last, SeriesEnd)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "device"),
    [
        ("torch", "cpu"),
        pytest.param("torch", "cuda", marks=[pytest.mark.gpu, needs_cuda]),
        pytest.param("tensorrt", "cuda", marks=[pytest.mark.gpu, needs_cuda, needs_tensorrt]),
    ],
)
def test_stream_goes_through_worker_and_a_network_on_each_engine(
    backend: str, device: str, quick: Path, tmp_path: Path
) -> None:
    engine = {"backend": backend, "device": device, "cache": str(tmp_path / "engines")}
    with quick.open("a") as file:
        file.writelines(
            [
                "[repair]\ndenoise = true\n[defects]\nclassify = true\n[engine]\n",
                *(f"{key} = '{value}'\n" for key, value in engine.items()),
            ]
        )
    frames, results, requests = (f"tcp://127.0.0.1:{port}" for port in free_ports(3))
    places = ["--endpoint", frames, "--results", results, "--requests", requests, "--http-port", "0"]
    folders = ["--spool", str(tmp_path / "spool"), "--out", str(tmp_path / "results")]
    with background("worker", "--settings", str(quick), *places, *folders):
        code, _, err = finish(command("stream", "--settings", str(quick), "--endpoint", frames))
        assert code == DONE, err
        until_s = time.monotonic() + PATIENCE_S
        while not list((tmp_path / "results").glob("*.png")) and time.monotonic() < until_s:
            time.sleep(0.2)
    (path,) = (tmp_path / "results").glob("*.h5")
    result = read_result(path)
    assert result.accounting.complete
    assert result.repaired is not None
    assert result.repaired.denoised is not None
    assert result.repaired.denoised.shape == result.object_.shape
    assert {name: result.recipe["networks"]["denoise"][name] for name in ("backend", "device")} == {
        "backend": backend,
        "device": device,
    }
    assert result.latencies_s["denoise"] > 0.0
    assert result.figures.defect_class
    assert result.latencies_s["classify"] > 0.0


def test_worker_that_cannot_begin_says_why_and_ends(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        results = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        folders = ["--spool", str(tmp_path / "spool"), "--out", str(tmp_path / "results")]
        code, said, _ = finish(command("worker", *folders, "--results", results, "--http-port", "0", "--json"))
    assert code == FAILED
    assert results in last_object(said)["error"]


def test_serve_does_not_take_the_devices_of_others_for_its_own(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said, _ = finish(command("serve", "--port", port, "--out", str(tmp_path), "--json"))
    assert code == WRONG_USE
    assert f"tango.port 127.0.0.1:{port}" in last_object(said)["error"]
    assert "devices" not in said


def test_demo_looks_at_the_scan_before_it_begins(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no scan")
    line = ["demo", "--out", str(tmp_path), "--json"]
    code, said, _ = finish(command(*line, "--scan", str(tmp_path / "text.h5")))
    assert (code, last_object(said)["kind"]) == (FAILED, "SourceError")
    code, said, _ = finish(command(*line, "--scan-name", "3.1"))
    assert (code, last_object(said)["error"]) == (WRONG_USE, "--scan-name needs --scan FILE")


@pytest.mark.slow
def test_serve_tells_where_the_devices_are(tmp_path: Path) -> None:
    with background("serve", "--out", str(tmp_path), "--json") as process:
        assert process.stdout is not None
        devices = json.loads(process.stdout.readline())["devices"]
        assert len(devices) >= 3
        assert _name(devices[0]) == "streamer/1"
        assert all(alive(device) for device in devices)


def test_serve_that_is_ended_before_its_devices_answer_names_none(tmp_path: Path) -> None:
    process, until_s = command("serve", "--out", str(tmp_path)), time.monotonic() + PATIENCE_S
    while not psutil.Process(process.pid).children() and time.monotonic() < until_s:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    code, said, err = finish(process)
    assert (code, said) == (FAILED, "")
    assert "interrupted" in err


@pytest.mark.slow
def test_serve_registers_in_a_database(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    database = subprocess.Popen(
        [sys.executable, "-m", "tango.databaseds.database", "--port", address.rpartition(":")[2], "2"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until_s = time.monotonic() + PATIENCE_S
        while not alive(f"tango://{address}/sys/database/2") and time.monotonic() < until_s:
            time.sleep(0.2)
        with background("serve", "--database", address, "--out", str(tmp_path), "--json") as process:
            assert process.stdout is not None
            devices = json.loads(process.stdout.readline())["devices"]
            assert all(alive(f"tango://{address}/{device}") for device in devices)
    finally:
        database.terminate()
        database.wait()


def test_missing_database_is_one_line(tmp_path: Path) -> None:
    line = ["serve", "--database", f"127.0.0.1:{free_ports(1)[0]}", "--out", str(tmp_path), "--json"]
    code, said, _ = finish(command(*line))
    assert code == FAILED
    assert last_object(said)["kind"] == "DeviceError"


def test_reconstruct_sets_out_from_a_result(quick: Path, tmp_path: Path) -> None:
    line = ["reconstruct", str(write_scan(tmp_path / "scan.h5")), "--settings", str(quick), "--starts", "1"]
    code, said, err = finish(command(*line, "--out", str(tmp_path / "first"), "--json"))
    assert code == DONE, err
    first = last_object(said)
    again = ["--from", first["path"], "--recipe", "5*ER", "--out", str(tmp_path / "second"), "--json"]
    code, said, err = finish(command(*line, *again))
    assert code == DONE, err
    assert last_object(said)["figures"]["chi"] < 1.5 * first["figures"]["chi"]


def test_reconstruct_says_its_crop(shared_data: Path, tmp_path: Path) -> None:
    line = ["reconstruct", str(shared_data / "bcdi" / "scan54.h5"), "--size", "32", "--recipe", "20*ER+30*HIO+20*ER"]
    code, said, err = finish(command(*line, "--starts", "1", "--out", str(tmp_path), "--json"))
    assert code == DONE, err
    record = last_object(said)
    assert "crop [82:114, 111:143, 111:143] of [201, 256, 256]" in err
    assert record["crop"]["shape"] == [32, 32, 32]
    assert record["accounting"]["received"] == 201
    assert record["q_per_angstrom"] == pytest.approx(2.667, rel=0.01)  # Au 111, and what the arm reads
    assert Path(record["path"]).parent == tmp_path.resolve()
