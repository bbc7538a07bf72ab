"""The only place where concrete objects are made. What is heavy is imported where it is needed.

A device server that shows results must not load torch, and one that streams a file must not simulate crystals.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import zmq

from service.adapters.requests import WorkerRequests
from service.adapters.zmq import Handler, ResultPublisher, ResultSubscriber, ZmqFrameSink
from service.devices.counter import Counter
from service.devices.goniometer import VirtualAxis
from service.devices.monitor import Monitor
from service.devices.streamer import Streamer
from service.errors import BraggloopError, SettingsError, SourceError, one_line, raised_as
from service.ports import FrameSink, FrameSource
from service.settings import EngineSettings, Settings, StreamerSettings
from service.worker.lock import held

if TYPE_CHECKING:
    from torch import nn

    from models.engine.port import Engine
    from models.registry import Network
    from service.defects import Classifier
    from service.devices.alignment import Alignment
    from service.repair import Repair
    from service.tiers import Tiers
    from service.worker.compute import Compute
    from service.worker.ingest import Ingest
    from service.worker.inverter import Invert, Preview
    from service.worker.journal import Journal
    from service.worker.supervisor import Commands, Supervisor

log = logging.getLogger(__name__)

MakeInvert = Callable[[Path | None, Settings], "tuple[Invert, Preview]"]

JOURNAL = "journal.jsonl"
TAKE_OVER_S = 30.0  # how long a stage waits for one that a dead supervisor left behind


def frame_source(settings: Settings, streamer: StreamerSettings | None = None) -> FrameSource:
    """The source that the streamer's settings name: the twin, a recorded scan (once, or endless to loop), LImA."""
    chosen = streamer or settings.streamer
    match chosen.source:
        case "twin":
            return _twin(settings, chosen)
        case "replay":
            return _replay(chosen)
        case "lima":
            return _lima(chosen)


def frame_sink(streamer: StreamerSettings) -> FrameSink:
    """The PUSH socket that frames leave from."""
    try:
        return ZmqFrameSink(streamer.endpoint, streamer.compression)
    except zmq.ZMQError as error:
        raise SettingsError(f"streamer.endpoint {streamer.endpoint}: {error}; choose another") from error


def streamer(settings: Settings) -> Streamer:
    """The controller behind FrameStreamer and `braggloop stream`."""
    return Streamer(settings.streamer, lambda chosen: frame_source(settings, chosen), frame_sink)


def monitor(settings: Settings) -> Monitor:
    """The controller behind Reconstruction."""
    worker = settings.worker
    try:
        results = ResultSubscriber(worker.results, worker.requests)
    except zmq.ZMQError as error:
        raise SettingsError(f"worker.results {worker.results}, worker.requests {worker.requests}: {error}") from error
    return Monitor(results, WorkerRequests(worker.requests))


def virtual_axis(settings: Settings, axis: str) -> VirtualAxis:
    """The controller behind the VirtualGoniometer of one axis."""
    known = settings.goniometer.axes
    if axis not in known:
        raise SettingsError(f"axis {axis!r} is not in goniometer.axes, which has {', '.join(known)}")
    return VirtualAxis(axis, known[axis])


def virtual_counter(settings: Settings) -> Counter:
    """The controller behind VirtualCounter, of the crystal that `braggloop align` has with this seed."""
    from models.simulate.goniometer import AXES
    from service.adapters.tango import COUNTED
    from service.adapters.twin_scene import near

    counter = settings.counter
    if missing := sorted(COUNTED - set(counter.axes)):
        raise SettingsError(f"counter.axes lacks {', '.join(missing)}; name their devices, or have them in goniometer")
    axes: dict[str, str] = {axis: device for axis, device in counter.axes.items() if axis in AXES}
    return Counter(near(counter.seed).goniometer, axis_positions(axes), counter.exposure_s, counter.seed)


def alignment(settings: Settings) -> Alignment:
    """The controller behind CrystalAlignment."""
    from service.adapters.tango_beamline import TangoBeamline
    from service.devices.oriented_alignment import OrientedAlignment

    return OrientedAlignment(settings, TangoBeamline)


def worker(settings: Settings, tell: Callable[[str], None]) -> Supervisor:
    """The supervisor behind `braggloop worker`, with its two stages as processes of their own."""
    from service.worker.supervisor import Supervisor

    return Supervisor(settings, stage_commands(settings, "service.worker.stages"), tell)


def controllers_of_devices() -> Mapping[str, Callable[[Settings, str], Any]]:
    """Tango class -> how the controller of one of its devices is made, from settings and the device's member name."""
    return {
        "FrameStreamer": lambda settings, _: streamer(settings),
        "Reconstruction": lambda settings, _: monitor(settings),
        "VirtualGoniometer": virtual_axis,
        "VirtualCounter": lambda settings, _: virtual_counter(settings),
        "CrystalAlignment": lambda settings, _: alignment(settings),
    }


def stage_commands(settings: Settings, module: str) -> Commands:
    """Commands and environments of ingest and compute, run as `python -m module STAGE SETTINGS`.

    Compute leaves ingest a core.
    """
    from service.worker.answers import SETTINGS_FILE
    from service.worker.ingest import ENVIRONMENT

    file = str(settings.spool.folder / SETTINGS_FILE)
    threads = str(max(1, (os.cpu_count() or 2) - 1))
    environments = {"ingest": ENVIRONMENT, "compute": {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads)}}
    return {
        name: ((sys.executable, "-m", module, name, file), environment) for name, environment in environments.items()
    }


@contextmanager
def ingest(settings: Settings) -> Iterator[Ingest]:
    """The ingest stage: the PULL socket and the writing end of the spool."""
    from service.worker.ingest import Ingest, open_pull
    from service.worker.spool_writer import SpoolWriter

    with ExitStack() as stack:
        stack.enter_context(held(settings.spool.folder / "ingest.lock", "ingest", TAKE_OVER_S))
        # The journal knows series by their positions and may outlive the spool: a new spool must not repeat them.
        writer = SpoolWriter(settings.spool, after=int(time.time()))
        context = stack.enter_context(zmq.Context())
        pull = stack.enter_context(open_pull(context, settings.worker))
        yield stack.enter_context(closing(Ingest(pull, writer)))


@contextmanager
def compute(
    settings: Settings, inversion: MakeInvert, health: Callable[[], Mapping[str, Any]]
) -> Iterator[tuple[Compute, dict[str, str]]]:
    """The compute stage and the endpoints of its publisher, which answers with `health` where it is asked for that.

    `inversion` makes what inverts, from the file of the last result and the settings.
    """
    from service.worker.answers import Answers
    from service.worker.compute import Compute
    from service.worker.intake import Intake
    from service.worker.inverter import Inverter
    from service.worker.journal import Journal
    from service.worker.spool import SpoolReader, oldest_segment, read_cursor

    folder = settings.spool.folder
    with ExitStack() as stack:
        stack.enter_context(held(folder / "compute.lock", "compute", TAKE_OVER_S))
        stack.enter_context(held(settings.out / "journal.lock", "a worker", TAKE_OVER_S))
        journal = stack.enter_context(closing(Journal(settings.out / JOURNAL, partial(oldest_segment, folder))))
        answers = Answers(settings, journal, health)
        publisher = stack.enter_context(closing(result_publisher(settings, answers.handlers, journal)))
        reader = SpoolReader(folder, read_cursor(folder))
        intake = Intake(reader, settings, journal.finished, journal.knows)
        endpoints = {"results": publisher.results, "requests": publisher.requests}
        inverter = Inverter(*inversion(journal.last_file, settings))
        yield Compute(intake, inverter, journal, publisher, answers.wishes, settings), endpoints


def result_publisher(settings: Settings, handlers: Mapping[str, Handler], journal: Journal) -> ResultPublisher:
    """The PUB and ROUTER sockets of the worker."""
    worker, recalled = settings.worker, journal.summaries
    try:
        return ResultPublisher(
            worker.results, worker.requests, handlers=handlers, recalled=recalled, journal=journal.name
        )
    except zmq.ZMQError as error:
        raise SettingsError(f"worker.results {worker.results}, worker.requests {worker.requests}: {error}") from error


def inversion(last_file: Path | None, settings: Settings) -> tuple[Invert, Preview]:
    """What the worker does with a volume (pipeline, the result's file, its picture) and with that of an open series.

    `last_file` gives the hand. Its tiers have run once, so that the first series is shown as soon as the next one.
    """
    from service.worker.inversion import Inversion

    use = runners()
    try:
        use.tiers.warm(settings)
    except (BraggloopError, ValueError) as error:  # each series will say so, and has its result all the same
        log.warning("no crystal will be shown before the search: %s", one_line(error))
    except Exception:  # whatever a network does, series must be inverted
        log.exception("no crystal will be shown before the search")
    made = Inversion(last_file, *use)
    return made, made.preview


def networks(settings: EngineSettings) -> list[Network]:
    """The trained networks that are there."""
    from models import registry

    root = settings.networks or registry.ROOT
    with raised_as(SourceError):
        return [registry.network(name, root) for name in registry.names(root)]


def network(settings: EngineSettings, name: str) -> Network:
    """The trained network of this name."""
    from models import registry

    root = settings.networks or registry.ROOT
    known = registry.names(root)
    if name not in known:
        raise SettingsError(f"no trained network is called {name!r}, there is {', '.join(known) or 'none'} in {root}")
    with raised_as(SourceError):
        return registry.network(name, root)


def checked(found: Network) -> nn.Module:
    """The module of a network with its weights, which are those of its card."""
    from models import registry

    with raised_as(SourceError):
        return registry.build(found)


def engine(settings: EngineSettings, module: nn.Module, shape: tuple[int, ...], at_once: int = 1) -> Engine:
    """The engine that the settings name, of `module` for items of `shape` (channels, z, y, x), `at_once` at least."""
    batch = (1, max(settings.largest_batch, at_once))
    try:
        match settings.backend:
            case "torch":
                from models.engine.torch import TorchEngine

                return TorchEngine(
                    module, shape, batch=batch, precision=settings.precision, device=settings.device,
                    threads=settings.threads,
                )  # fmt: skip
            case "tensorrt":
                from models.engine.tensorrt import TensorRTEngine

                return TensorRTEngine(module, shape, batch=batch, precision=settings.precision, cache=settings.cache)
    except (ValueError, OSError) as error:
        raise SettingsError(f"engine: {error}") from error


def trained_engine(settings: EngineSettings, name: str, shape: tuple[int, ...], at_once: int = 1) -> Engine:
    """The engine of a trained network for items of `shape` (channels, z, y, x), `at_once` at least."""
    return engine(settings, checked(network(settings, name)), shape, at_once)


class Runners(NamedTuple):
    """What runs networks on the crops of a worker or a command; they share their engines."""

    repair: Repair
    tiers: Tiers
    classifier: Classifier


def runners() -> Runners:
    """What runs networks, each made when it is first needed. For one thread."""
    from service.defects import Classifier
    from service.engines import Engines
    from service.repair import Repair
    from service.tiers import Tiers

    engines = Engines(trained_engine)
    return Runners(Repair(engines), Tiers(engines), Classifier(engines))


def _twin(settings: Settings, chosen: StreamerSettings) -> FrameSource:
    from service.adapters.twin import NOMINAL_POSITIONS, ROCKING_STEP_DEG, TwinSource

    axes = {axis: device for axis, device in settings.twin.axes.items() if axis in NOMINAL_POSITIONS}
    return TwinSource(
        settings.twin,
        axis_positions(axes) if axes else lambda: NOMINAL_POSITIONS,
        series=None if chosen.loop else 1,
        step_deg=0.0 if chosen.trigger == "software" else ROCKING_STEP_DEG,
    )


def _replay(chosen: StreamerSettings) -> FrameSource:
    from service.adapters.replay import ReplaySource
    from service.adapters.scans.recorded import open_scan

    if not chosen.path:
        raise SettingsError("streamer.path is empty; give the file or folder to replay")
    return ReplaySource(open_scan(Path(chosen.path), chosen.scan), passes=None if chosen.loop else 1)


def _lima(chosen: StreamerSettings) -> FrameSource:
    from service.adapters.lima.source import LimaSource
    from service.adapters.tango import TangoDevice

    if not chosen.path:
        raise SettingsError("streamer.path is empty; give the Tango device of LImA")
    device = TangoDevice(chosen.path)
    return LimaSource(device, axis_positions(chosen.axes)) if chosen.axes else LimaSource(device)


def axis_positions(devices: Mapping[str, str]) -> Callable[[], Mapping[str, float]]:
    """Where the axes (axis -> Tango device) stand, read from their devices."""
    from service.adapters.tango import AxisPositions

    return AxisPositions(devices)
