"""The command `braggloop`: options in, words and an exit code out; the work is done elsewhere."""

from __future__ import annotations

import signal
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated

import typer

from service.cli_bliss import bliss_demo
from service.cli_orient import orient
from service.commands.options import Debug, Json, Out, SettingsFile, report_for, settings_from, target_path
from service.commands.report import one_line_errors
from service.commands.usage import OneLineGroup
from service.signals import follow_parent, handled

app = typer.Typer(
    name="braggloop",
    cls=OneLineGroup,
    help="Real-time feedback for coherent X-ray diffraction: frames in, crystal with strain out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

engines = typer.Typer(cls=OneLineGroup, help="Build and measure the engines that run networks.", no_args_is_help=False)
app.add_typer(engines, name="engines")
defects = typer.Typer(cls=OneLineGroup, help="What defects look like.", no_args_is_help=False)
app.add_typer(defects, name="defects")
app.add_typer(orient, name="orient")
app.command()(bliss_demo)

Endpoint = Annotated[str, typer.Argument(help="ZeroMQ PUSH endpoint.", metavar="ENDPOINT")]
Existing = Annotated[Path, typer.Argument(help="A recorded scan.", metavar="FILE", exists=True)]
Counts = Annotated[Path, typer.Argument(help="A recorded scan, or counts as an array.", metavar="IN", exists=True)]
Target = Annotated[Path, typer.Argument(help="HDF5 file to write; it must not be there yet.", metavar="OUT")]
Reflection = Annotated[
    tuple[int, int, int] | None,
    typer.Option("--reflection", help="h k l of the peak; edge and screw are told apart better."),
]
Dataset = Annotated[str, typer.Option("--dataset", help="Path of the counts in an HDF5 file that is no scan.")]
MaskFile = Annotated[
    Path | None, typer.Option("--mask", help="Detector mask, .npy or HDF5, True is good.", metavar="FILE", exists=True)
]
ScanName = Annotated[str, typer.Option("--scan", help="Scan N.M of an ESRF master; default: the first.", metavar="N.M")]
Size = Annotated[
    int | None, typer.Option("--size", help="Edge of the cube that is inverted, voxels; default: chosen from the data.")
]
Starts = Annotated[int | None, typer.Option("--starts", help="Independent random starts.")]
Recipe = Annotated[str | None, typer.Option("--recipe", help="Recipe such as '3*(20*ER+180*HIO)+20*ER'.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of the starts and of the held-out voxels.")]
Device = Annotated[str | None, typer.Option("--device", help="Where phase retrieval runs: cpu or cuda.")]
Network = Annotated[str, typer.Argument(help="A trained network, see 'braggloop models'.", metavar="NAME")]
Backend = Annotated[str | None, typer.Option("--backend", help="torch or tensorrt.")]
Precision = Annotated[str | None, typer.Option("--precision", help="auto, fp32, bf16 or fp16.")]
EngineDevice = Annotated[str | None, typer.Option("--device", help="cpu or cuda.")]
Batch = Annotated[int | None, typer.Option("--batch", help="Volumes at once.", min=1)]


@app.command()
def demo(
    recorded: Annotated[
        Path | None,
        typer.Option("--scan", help="A recorded scan, streamed after the twin.", metavar="FILE", exists=True),
    ] = None,
    scan_name: Annotated[str, typer.Option("--scan-name", help="Scan N.M in that file.", metavar="N.M")] = "",
    starts: Annotated[int, typer.Option("--starts", help="Independent random starts.", min=1)] = 6,
    size: Size = None,
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show all of it in one terminal: no database, no GPU, no browser needed.

    Starts the worker and the Tango devices, streams a virtual scan (and a recorded one, where given) through ZeroMQ,
    and ends with the files and a summary.

    [dim]Example:[/]  braggloop demo --scan scan54.h5
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands.demo import demo as run_demo

        phasing = {"starts": starts, "keep": (starts + 1) // 2, "size": size}
        run_demo(settings_from(settings, out, phasing=phasing), settings, recorded, scan_name, report)


@app.command()
def stream(
    source: Annotated[str | None, typer.Option("--source", help="twin, replay or lima.", show_default="twin")] = None,
    path: Annotated[
        str | None, typer.Option("--path", help="replay: file or folder; lima: Tango device.", metavar="PATH")
    ] = None,
    scan: Annotated[str | None, typer.Option("--scan", help="replay: scan N.M of a master.", metavar="N.M")] = None,
    endpoint: Annotated[str | None, typer.Option("--endpoint", help="PUSH endpoint, bound.")] = None,
    rate_hz: Annotated[float | None, typer.Option("--rate", help="Frames a second.", metavar="HZ")] = None,
    loop: Annotated[bool | None, typer.Option("--loop", help="Begin again at the end.")] = None,
    compression: Annotated[str | None, typer.Option("--compression", help="none, lz4 or bslz4.")] = None,
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Stream frames as DECTRIS stream v2 over ZeroMQ, without Tango.

    [dim]Example:[/]  braggloop stream --source replay --path scan54.h5 --rate 200
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands.stream import stream as run_stream

        chosen = {
            "source": source, "path": path, "scan": scan, "endpoint": endpoint, "rate_hz": rate_hz, "loop": loop,
            "compression": compression,
        }  # fmt: skip
        run_stream(settings_from(settings, out, streamer=chosen), report)


@app.command()
def worker(
    endpoint: Annotated[str | None, typer.Option("--endpoint", help="Where frames come from.")] = None,
    bind: Annotated[bool | None, typer.Option("--bind", help="Bind the endpoint instead of connecting.")] = None,
    results: Annotated[str | None, typer.Option("--results", help="PUB endpoint for summaries.")] = None,
    requests: Annotated[str | None, typer.Option("--requests", help="ROUTER endpoint for requests.")] = None,
    http_port: Annotated[int | None, typer.Option("--http-port", help="/metrics and /healthz.")] = None,
    spool: Annotated[Path | None, typer.Option("--spool", help="Folder of the spool.", metavar="FOLDER")] = None,
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Take frames from any stream-v2 sender, invert each series, write and publish the results.

    Until SIGTERM or Ctrl-C; the series that is being inverted is finished first.

    [dim]Example:[/]  braggloop worker --endpoint tcp://detector:31001 --out /data/results
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands.check import OPEN_REQUESTS, only_here, require_address, require_endpoint
        from service.compose import worker as make_worker
        from service.results.durable import require_writable

        chosen = {"endpoint": endpoint, "bind": bind, "results": results, "requests": requests, "http_port": http_port}
        loaded = settings_from(settings, out, worker=chosen, spool={"folder": spool})
        (require_address if loaded.worker.bind else require_endpoint)(loaded.worker.endpoint)
        for address in (loaded.worker.results, loaded.worker.requests):
            require_address(address)
        require_writable(loaded.out, "out")
        require_writable(loaded.spool.folder, "spool.folder")
        if not only_here(loaded.worker.requests):
            report.note(OPEN_REQUESTS.format(loaded.worker.requests))
        report.note(f"frames from {loaded.worker.endpoint}, results to {loaded.out} and {loaded.worker.results}")
        code = make_worker(loaded, report.note).run()
        report.finish({"code": code})
    raise typer.Exit(code)


@app.command()
def serve(
    database: Annotated[
        str, typer.Option("--database", help="A Tango database; default: none is needed.", metavar="HOST:PORT")
    ] = "",
    instance: Annotated[str, typer.Option("--instance", help="Instance of the server in the database.")] = "1",
    port: Annotated[int | None, typer.Option("--port", help="Without a database: port of the devices.")] = None,
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Run the Tango devices (FrameStreamer, Reconstruction, VirtualGoniometer) until SIGTERM or Ctrl-C.

    With --database they are registered there, without one their addresses are printed.

    [dim]Example:[/]  braggloop serve --database localhost:10000
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands.serve import serve as run_devices

        run_devices(settings_from(settings, out, tango={"port": port}), settings, database, instance, report)


@app.command()
def reconstruct(
    file: Existing,
    repeats: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Further scans of the same crystal and geometry, summed.", metavar="[FILE]...", exists=True
        ),
    ] = None,
    scan: ScanName = "",
    begin: Annotated[
        Path | None,
        typer.Option("--from", help="A result of the same scan to set out from.", metavar="RESULT", exists=True),
    ] = None,
    size: Size = None,
    starts: Starts = None,
    recipe: Recipe = None,
    seed: Seed = None,
    device: Device = None,
    inpaint: Annotated[
        bool | None, typer.Option("--inpaint", help="Fill gaps with a network; see --use-filled.")
    ] = None,
    use_filled: Annotated[
        bool | None,
        typer.Option("--use-filled", help="Phase retrieval uses what was filled in as far as it is sure, else not."),
    ] = None,
    denoise: Annotated[
        bool | None, typer.Option("--denoise", help="Show the counts denoised too; they are not what is inverted.")
    ] = None,
    classify: Annotated[
        bool | None, typer.Option("--classify", help="Tell what is wrong with the crystal; see 'braggloop classify'.")
    ] = None,
    reflection: Reflection = None,
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Invert a recorded rocking scan: the same pipeline as the worker's, without a stream.

    The crop is chosen from the data, and said. Several files are repeated scans of one crystal: they are aligned and
    summed.

    [dim]Example:[/]  braggloop reconstruct scan54.h5 --starts 20 --size 64
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands.reconstruct import reconstruct_file

        phasing = {"size": size, "starts": starts, "recipe": recipe, "seed": seed, "device": device}
        repair = {"inpaint": inpaint or use_filled, "use_filled": use_filled, "denoise": denoise}
        told = {"classify": classify or (True if reflection else None), "reflection": reflection}
        chosen = settings_from(settings, out, phasing=phasing, repair=repair, defects=told)
        reconstruct_file(file, scan, begin, chosen, report, repeats or ())


@app.command()
def latents(
    results: Annotated[
        list[Path], typer.Argument(help="Results of a series, in order.", metavar="RESULT...", exists=True)
    ],
    picture: Annotated[Path, typer.Option("--picture", help="PNG to write.", metavar="FILE")] = Path("latents.png"),
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show how a crystal changes over a series of results: its path through the space of crystals, surface and phase.

    The picture lies in --out where that is given.

    [dim]Example:[/]  braggloop latents braggloop-results/*.h5 --picture series.png
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands.latents import map_latents

        map_latents(results, target_path(settings_from(settings, out), picture), report)


@app.command()
def inpaint(
    source: Counts,
    target: Target,
    scan: ScanName = "",
    dataset: Dataset = "",
    mask: MaskFile = None,
    guided: Annotated[
        bool | None,
        typer.Option(
            "--guided/--fast",
            help="With or without the crystal that explains the rest as a guide.",
            show_default="guided",
        ),
    ] = None,
    adapt_s: Annotated[
        float, typer.Option("--adapt", help="Adapt the network to this scan for so long, s.", min=0.0)
    ] = 0.0,
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Fill the gaps of a scan or a frame: expected counts with their standard deviations; nothing is inverted.

    IN is a recorded scan, a .npy file (NaN is a gap), or an HDF5 file with --dataset. OUT lies in --out where that is
    given.

    [dim]Example:[/]  braggloop inpaint scan54.h5 filled.h5
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands.repair import inpaint_file

        chosen = settings_from(settings, out, repair={"guided": guided}, detector={"mask": mask})
        inpaint_file(source, target_path(chosen, target), chosen, report, scan=scan, dataset=dataset, adapt_s=adapt_s)


@app.command()
def denoise(
    source: Counts,
    target: Target,
    scan: ScanName = "",
    dataset: Dataset = "",
    mask: MaskFile = None,
    background: Annotated[
        Path | None,
        typer.Option(
            "--background", help="Counts a frame without the sample, .npy or HDF5, subtracted by monitor.", exists=True
        ),
    ] = None,
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Tell what a scan or a frame would count on average, with standard deviations; nothing is inverted.

    IN is a recorded scan, a .npy file (NaN is a gap), or an HDF5 file with --dataset. OUT lies in --out where that is
    given.

    [dim]Example:[/]  braggloop denoise scan54.h5 denoised.h5
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands.repair import denoise_file

        chosen = settings_from(settings, out, detector={"mask": mask})
        denoise_file(
            source, target_path(chosen, target), chosen, report, scan=scan, dataset=dataset, background=background
        )


@app.command()
def classify(
    source: Annotated[Path, typer.Argument(help="A scan, a result, or an array of counts.", metavar="FILE")],
    scan: ScanName = "",
    dataset: Dataset = "",
    reflection: Reflection = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="PNG of what decided and of the lines.", metavar="PNG")
    ] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="Look at the pattern of a scan alone, do not invert it.")
    ] = False,
    mask: MaskFile = None,
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Tell what is wrong with a crystal: which defect its Bragg peak shows, how sure, and where its lines are.

    FILE is a recorded scan, which is inverted first, a result of braggloop, a .npy file (NaN is a gap), or an HDF5
    file with --dataset.

    [dim]Example:[/]  braggloop classify scan54.h5 --reflection 1 1 1 --picture defects.png
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands.classify import Asked, classify_file

        chosen = settings_from(settings, out, detector={"mask": mask}, defects={"reflection": reflection})
        target = None if picture is None else target_path(chosen, picture)
        classify_file(Asked(source=source, scan=scan, dataset=dataset, fast=fast), target, chosen, report)


@defects.command("catalogue")
def defects_catalogue(
    page: Annotated[Path, typer.Argument(help="PNG to write.", metavar="PNG")],
    element: Annotated[
        list[str] | None, typer.Option("--element", help="May be given more than once; default: Au.", metavar="Au")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Another number draws other crystals.")] = 0,
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw one simulated pattern of each class of defect, element and reflection, to compare with by eye.

    [dim]Example:[/]  braggloop defects catalogue defects.png --element Au --element Ni
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands.catalogue import draw_catalogue

        target = target_path(settings_from(settings, out), page)
        draw_catalogue(target, element or ["Au"], seed, report)


@app.command()
def align(
    what: Annotated[
        str,
        typer.Argument(
            help="crystal, rocking (curve and fit), rotation (its centre), height (eucentric), reflection or track.",
            metavar="[WHAT]",
        ),
    ] = "crystal",
    method: Annotated[
        str,
        typer.Option(
            "--method", help="peak, seeking, paraboloid, parabola, golden, scan, bayesian; default: the settings'."
        ),
    ] = "",
    far: Annotated[bool, typer.Option("--far", help="Twin: from 20 beam sizes and 2 degrees away.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Twin: which crystal, and where it begins.", min=0)] = 0,
    by: Annotated[str, typer.Option("--by", help="Who arms the motors; goes into the journal.")] = "",
    seconds: Annotated[float, typer.Option("--seconds", help="How long the motors are armed.")] = 3600.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write moves down, make none.")] = False,
    axis: Annotated[str | None, typer.Option("--axis", help="The axis that rocks or turns; default: eta.")] = None,
    points: Annotated[int | None, typer.Option("--points", help="rocking: at how many places.", min=5)] = None,
    widths: Annotated[float | None, typer.Option("--widths", help="rocking: how far to each side, in widths.")] = None,
    correct: Annotated[bool, typer.Option("--correct", help="rotation: bring the crystal onto the axis.")] = False,
    hours: Annotated[float | None, typer.Option("--hours", help="track: for how long; arms for as long.")] = None,
    exposures: Annotated[int | None, typer.Option("--exposures", help="track: how many at most.", min=1)] = None,
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Bring a crystal into the beam and onto its reflection, within limits, and write down every move.

    The axes are those of \\[alignment] in the settings, any Tango motors; without any the twin's crystal is aligned.
    All but crystal begin with the crystal in the beam. Ctrl-C stops the axes; track goes to the best point first.

    [dim]Example:[/]  braggloop align --seed 3
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands import align as aligning
        from service.commands.procedures import Wanted, procedure

        asked = aligning.Asked(method=method, by=by, seconds=seconds, far=far, seed=seed, dry_run=dry_run)
        wanted = Wanted(
            what=what, axis=axis, points=points, widths=widths, correct=correct, hours=hours, exposures=exposures
        )
        if wanted == Wanted(what="crystal"):
            aligning.align(asked, settings_from(settings, out), report)
        else:
            procedure(wanted, asked, settings_from(settings, out), report)


@app.command()
def check(
    endpoint: Endpoint,
    seconds: Annotated[float, typer.Option("--seconds", help="How long to listen, s.", min=0.1)] = 3.0,
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Tell whether a stream is there and what is in it.

    It TAKES the frames that it sees: a PUSH socket deals its frames out, so a worker on the same endpoint loses them.
    Listens for --seconds, says what it took, and lets go. Exit code 1 where no stream v2 came.

    [dim]Example:[/]  braggloop check tcp://detector:31001 --seconds 5
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands.check import check_endpoint

        settings_from(settings, out)
        found = check_endpoint(endpoint, seconds, report)
    raise typer.Exit(0 if found else 1)


@app.command()
def train(
    task: Annotated[str, typer.Argument(help="What to train: a folder of models/ with a train.py.", metavar="TASK")],
    minutes: Annotated[float, typer.Option("--minutes", help="How long to train; the tests come after.", min=0.01)],
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    precision: Annotated[str, typer.Option("--precision", help="auto, fp32 or bf16.")] = "auto",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the weights and of the crystals.", min=0, max=2**31)] = 0,
    edge: Annotated[
        int | None, typer.Option("--edge", help="Edge of the volumes, voxels; default: the task's.", min=16)
    ] = None,
    batch: Annotated[int | None, typer.Option("--batch", help="Volumes a step; default: the task's.", min=1)] = None,
    checkpoint_s: Annotated[
        float, typer.Option("--checkpoint", help="Time between two checkpoints.", metavar="SECONDS", min=0.0)
    ] = 30.0,
    resume: Annotated[
        bool | None,
        typer.Option("--resume/--fresh", help="Go on, or begin anew.", show_default="resume where a checkpoint is"),
    ] = None,
    catalogue: Annotated[
        Path | None,
        typer.Option("--catalogue", help="Relaxed crystals of atoms to test on as well, HDF5.", show_default="none"),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            "--pairs", help="denoise: learn from short and long exposures in this HDF5 file.", show_default="none"
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option("--from", help="Begin with the network in this folder: card and weights.", show_default="none"),
    ] = None,
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a network on simulated crystals for so many minutes; needs the extra "train".

    In the folder TASK of --out: the curve on the way, in the end weights, ONNX and a card with what it is worth. The
    same command again goes on where a killed one stopped; with more minutes it trains longer.

    [dim]Example:[/]  braggloop train denoise --minutes 60 --device cuda --batch 32
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands.train import Wishes, train_network

        wishes = Wishes(
            task=task, minutes=minutes, device=device, precision=precision, seed=seed, edge=edge, batch=batch,
            checkpoint_s=checkpoint_s, resume=resume, catalogue=catalogue, pairs=pairs, start=start,
        )  # fmt: skip
        train_network(wishes, settings_from(settings, out).out, report)


@app.command()
def models(
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List the trained networks, each with what its card says; weights are checked by their hash.

    [dim]Example:[/]  braggloop models --json
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands.models import list_networks

        list_networks(settings_from(settings, out), report)


@engines.command()
def build(
    name: Network,
    backend: Backend = None,
    precision: Precision = None,
    device: EngineDevice = None,
    batch: Batch = None,
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Build the engine of a network and tell what it is; one of TensorRT is kept in engine.cache.

    [dim]Example:[/]  braggloop engines build denoise --backend tensorrt --device cuda --precision fp16
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands.engines import build_engine

        chosen = {"backend": backend, "precision": precision, "device": device, "largest_batch": batch}
        build_engine(name, settings_from(settings, out, engine=chosen), report)


@engines.command()
def bench(
    name: Network,
    backend: Backend = None,
    precision: Precision = None,
    device: EngineDevice = None,
    batch: Batch = None,
    seconds: Annotated[float, typer.Option("--seconds", help="How long to run it, s.", min=0.1)] = 3.0,
    out: Out = None,
    settings: SettingsFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure the engine of a network: time a batch, volumes a second, relative error against float32.

    [dim]Example:[/]  braggloop engines bench denoise --precision bf16 --batch 4
    """
    report = report_for(json)
    with one_line_errors(report, debug):
        from service.commands.engines import bench_engine

        chosen = {"backend": backend, "precision": precision, "device": device, "largest_batch": batch}
        bench_engine(name, settings_from(settings, out, engine=chosen), seconds, report)


@app.command()
def version(json: Json = False) -> None:
    """Print the version.

    [dim]Example:[/]  braggloop version --json
    """
    report = report_for(json)
    report.table("", [("braggloop", version_of("braggloop"))])
    report.finish({"version": version_of("braggloop")})


def main() -> None:
    """Run the command; SIGTERM or a terminal that closes ends it as Ctrl-C does: no child process is left behind."""
    follow_parent()
    with handled(signal.default_int_handler):
        app()


if __name__ == "__main__":
    main()
