"""The receivers and the sender of benchmarks.streaming, each a process: WAY FORMAT COMPRESSION FRAMES SPOOL."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zmq

from service.records import Frame, SeriesEnd, SeriesStart, Volume
from service.settings import SpoolSettings, WorkerSettings, load_settings
from service.wire import messages as wire
from service.wire.compression import Compression
from service.worker.ingest import ENVIRONMENT, Ingest, open_pull
from service.worker.intake import Intake
from service.worker.spool import CURSOR, Position, SpoolReader, read_cursor, write_cursor
from service.worker.spool_writer import SpoolWriter

FORMATS = {
    "516x516 u32": ((516, 516), "uint32"),
    "1030x1065 u16": ((1030, 1065), "uint16"),
    "2070x2167 u32": ((2070, 2167), "uint32"),
}
SPOOL_BYTES = 2_000_000_000
SEGMENT_BYTES = 256_000_000
SERIES = (
    3  # through compute: two whose memory is new, as one is held while the next one is filled, and one that is timed
)
FAR = 10**6  # segments ahead, more than any round writes
ANGLES = {"delta": 32.174, "gamma": 12.6346, "mu": 0.0, "chi": 90.0, "phi": -5.0}


def start_of(name: str, frames: int, series: int) -> SeriesStart:
    shape, dtype = FORMATS[name]
    user_data = {"rocking_axis": "theta", "positions": ANGLES, "energy_kev": 9.0, "distance_m": 0.5}
    return SeriesStart(
        series_id=series, series_unique_id="benchmark", number_of_images=frames, channels=("threshold_1",), shape=shape,
        dtype=dtype, user_data=user_data, header={"pixel_size_x": 55e-6, "pixel_size_y": 55e-6},
    )  # fmt: skip


def frame_of(name: str, image_id: int, series: int) -> Frame:
    """A diffraction-like frame: few counts nearly everywhere, as detectors give them."""
    shape, dtype = FORMATS[name]
    image = np.random.default_rng(0).poisson(0.05, shape).astype(dtype)
    return Frame(
        series_id=series, series_unique_id="benchmark", image_id=image_id, data={"threshold_1": image},
        positions={"theta": 0.005 * image_id},
    )  # fmt: skip


def messages(name: str, compression: Compression, frames: int, kind: str) -> list[bytes]:
    """`same`: one frame again and again; `series`: SERIES proper ones. Encoded before the clock starts."""
    if kind == "same":
        return [wire.encode(frame_of(name, 0, 1), compression)] * frames
    encoded = []
    for number in range(1, SERIES + 1):
        encoded.append(wire.encode(start_of(name, frames, number)))
        encoded += [wire.encode(frame_of(name, image_id, number), compression) for image_id in range(frames)]
        encoded.append(wire.encode(SeriesEnd(series_id=number, series_unique_id="benchmark")))
    return encoded


def send(endpoint: str, encoded: list[bytes]) -> None:
    """Push messages as fast as they are taken."""
    context = zmq.Context()
    push = context.socket(zmq.PUSH)
    push.connect(endpoint)
    for message in encoded:
        push.send(message, copy=False)
    push.close(linger=-1)
    context.term()


def start_sender(endpoint: str, name: str, compression: str, frames: int, kind: str) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.streaming_peers",
        "send",
        name,
        compression,
        str(frames),
        endpoint,
        kind,
    ]
    return subprocess.Popen(command)


def receive_raw(name: str, compression: str, frames: int) -> float:
    """A bare PULL."""
    context = zmq.Context()
    pull = context.socket(zmq.PULL)
    port = pull.bind_to_random_port("tcp://127.0.0.1")
    sender = start_sender(f"tcp://127.0.0.1:{port}", name, compression, frames, "same")
    pull.recv(copy=False)
    began_s = time.perf_counter()
    for _ in range(frames - 1):
        pull.recv(copy=False)
    rate = (frames - 1) / (time.perf_counter() - began_s)
    sender.wait()
    return rate


@contextlib.contextmanager
def ingesting(folder: Path) -> Iterator[tuple[Ingest, SpoolWriter]]:
    """The worker's own ingest; in a folder that has been used its segments have been written before."""
    prepared = SPOOL_BYTES if folder.is_relative_to("/dev/shm") else 0
    writer = SpoolWriter(
        SpoolSettings(folder=folder, max_bytes=SPOOL_BYTES, segment_bytes=SEGMENT_BYTES, prepared_bytes=prepared)
    )
    write_cursor(folder, Position(writer.position.segment, 0))
    worker = WorkerSettings(endpoint="tcp://127.0.0.1:*", bind=True)
    with zmq.Context() as context, open_pull(context, worker) as pull:
        ingest = Ingest(pull, writer)
        yield ingest, writer
        ingest.close()


def receive_into_spool(name: str, compression: str, frames: int, folder: Path) -> float:
    """Through ingest into the spool; its cursor follows, as if every series were finished at once."""
    with ingesting(folder) as (ingest, writer):
        sender = start_sender(ingest.report.endpoint, name, compression, frames, "same")
        while ingest.report.received == 0:
            ingest.step()
        write_cursor(folder, Position(writer.position.segment + FAR, 0))
        first, began_s = ingest.report.received, time.perf_counter()
        while ingest.report.received < frames:
            ingest.step()
        rate = (frames - first) / (time.perf_counter() - began_s)
        sender.wait()
    return rate


def serve(folder: Path) -> None:
    """Ingest for `assemble`: say where, then work until killed."""
    with ingesting(folder) as (ingest, _):
        print(ingest.report.endpoint, flush=True)
        while True:
            ingest.step()


def assemble(name: str, compression: str, frames: int, folder: Path) -> float:
    """Through ingest (a process of its own) and the spool to assembled volumes, each held until the next one is there;
    frames a second of the last.
    """
    (folder / CURSOR).unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.streaming_peers", "serve", name, compression, "0", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **ENVIRONMENT}) as ingest:
        assert ingest.stdout is not None
        endpoint = ingest.stdout.readline().strip()
        settings = load_settings(None, {"spool": {"folder": str(folder)}}, {})
        reader = SpoolReader(folder, read_cursor(folder))
        while reader.read():  # what earlier rounds left behind
            pass
        intake = Intake(reader, settings, lambda _: False, lambda _: False)
        sender = start_sender(endpoint, name, compression, frames, "series")
        came_s: list[float] = []
        while len(came_s) < SERIES:
            closed, read = intake.step()
            if closed:
                (held,) = closed
                assert isinstance(held.outcome, Volume), held.outcome
                assert held.outcome.accounting.complete
                came_s.append(time.perf_counter())
            elif not read:
                time.sleep(0.001)
        rate = frames / (came_s[-1] - came_s[-2])
        sender.wait()
        ingest.kill()
    return rate


if __name__ == "__main__":
    way, name, compression, frames, *rest = sys.argv[1:]
    match way:
        case "send":
            send(rest[0], messages(name, compression, int(frames), rest[1]))  # type: ignore[arg-type]
        case "serve":
            serve(Path(rest[0]))
        case "raw" | "tuned":
            print(receive_raw(name, compression, int(frames)))
        case "volume":
            print(assemble(name, compression, int(frames), Path(rest[0])))
        case _:
            print(receive_into_spool(name, compression, int(frames), Path(rest[0])))
