"""Every setting, one tree: frozen, unknown keys refused, a description with its unit on every field.

Read from a TOML file (`--settings FILE`) and from the environment (`BRAGGLOOP__WORKER__HTTP_PORT=9100`), later wins.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveInt, ValidationError, field_validator, model_validator

from models.bcdi.diffractometer import diffractometer
from models.bcdi.recipe import parse_recipe
from service.alignment.orientation_settings import OrientationSettings
from service.alignment.plan import AlignmentSettings
from service.errors import SettingsError
from service.sections import Section, SectionT

ENVIRONMENT_PREFIX = "BRAGGLOOP__"
SMALLEST_SIZE = 16  # voxels: below, a crystal and the empty space that phase retrieval needs around it have no room
LARGEST_SIZE = 1024  # voxels: one complex64 array of that edge takes 8.6 GB


Direction = str | tuple[float, float, float]


class PhasingSettings(Section):
    recipe: str = Field("auto", description="recipe string such as 3*(20*ER+180*HIO)+20*ER, or 'auto'")
    starts: int = Field(20, ge=1, description="independent random starts")
    keep: int = Field(10, ge=1, description="starts with the best free log-likelihood that form the result")
    seed: int = Field(0, ge=0, description="seed of starts and of the held-out voxels")
    device: Literal["cpu", "cuda"] = Field("cpu", description="where phase retrieval runs")
    size: int = Field(
        0,
        ge=0,
        le=LARGEST_SIZE,
        description=f"edge of the cube that is inverted, {SMALLEST_SIZE} voxels or more; 0: chosen from the data",
    )
    binning: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        (1, 1, 1), description="frames, rows and columns summed to one voxel"
    )
    beta: float = Field(0.9, gt=0, le=1, description="feedback of HIO and RAAR")
    coherence: Literal["full", "gaussian", "pseudo-voigt"] = Field(
        "gaussian", description="full, or the kernel that blurs the model where the beam is partially coherent"
    )
    shrink_first_sigma: float = Field(2.0, gt=0, description="shrink-wrap: blur at first, voxels")
    shrink_last_sigma: float = Field(1.0, gt=0, description="shrink-wrap: blur at last, voxels")
    search_threshold: float = Field(
        0.25, gt=0, lt=1, description="shrink-wrap while 'auto' searches: share of the maximum"
    )
    shrink_threshold: float = Field(0.08, gt=0, lt=1, description="shrink-wrap: share of the maximum")
    shrink_period: int = Field(10, ge=1, description="shrink-wrap: iterations between")
    held_out: float = Field(0.02, ge=0, lt=0.5, description="share of the voxels kept for the free log-likelihood")
    twin_iteration: int | None = Field(None, ge=0, description="iteration at which half of the object is emptied")
    one_density: bool = Field(
        False,
        description="begin with the crystal of one density that explains the scan, too, and take what is better: finds "
        "crystals behind gaps near the peak, takes seconds more",
    )

    @field_validator("size")
    @classmethod
    def _size_holds_a_crystal(cls, size: int) -> int:
        if 0 < size < SMALLEST_SIZE:
            raise ValueError(f"expected 0 or {SMALLEST_SIZE} to {LARGEST_SIZE} voxels")
        return size

    @model_validator(mode="after")
    def _held_out_voxels_decide(self) -> PhasingSettings:
        if self.one_density and self.held_out == 0.0:
            raise ValueError("one_density needs held_out above 0: those voxels decide what is better")
        return self

    @field_validator("recipe")
    @classmethod
    def _recipe_can_be_read(cls, recipe: str) -> str:
        if recipe != "auto":
            parse_recipe(recipe)
        return recipe


class EngineSettings(Section):
    networks: Path | None = Field(None, description="folder of trained networks; None: those that Braggloop brings")
    backend: Literal["torch", "tensorrt"] = Field("torch", description="what runs the networks")
    device: Literal["cpu", "cuda"] = Field("cpu", description="where they run; tensorrt needs cuda")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="arithmetic inside; auto: bf16 where the device has it, else fp32"
    )
    largest_batch: int = Field(1, ge=1, description="volumes that are run at once, at most")
    threads: int = Field(0, ge=0, description="threads of the CPU for the whole process; 0: as OMP_NUM_THREADS says")
    cache: Path = Field(Path("braggloop-engines"), description="folder where built TensorRT engines are kept")

    @model_validator(mode="after")
    def _backend_runs_on_device(self) -> EngineSettings:
        if self.backend == "tensorrt" and self.device != "cuda":
            raise ValueError(f"backend tensorrt does not run on {self.device}: set device to cuda")
        return self


class RepairSettings(Section):
    denoise: bool = Field(
        False,
        description="show the counts as the network `denoise` expects them without noise, in file and picture; what is"
        " inverted and judged are the measured ones",
    )
    inpaint: bool = Field(False, description="fill gaps with the network `inpaint`, in file and picture")
    guided: bool = Field(
        True,
        description="the crystal that explains what is seen guides the filling: nearer to the truth, and slower (some"
        " seconds on a CPU)",
    )
    use_filled: bool = Field(
        False, description="phase retrieval uses filled voxels as far as they are sure; otherwise they are free"
    )
    doubt_above: float = Field(
        2.0,
        gt=0,
        description="a network that misses counts it should know by more than this, in its own standard deviations,"
        " is doubted",
    )


class TiersSettings(Section):
    """Crystals that are shown before the search for one is done."""

    direct: bool = Field(False, description="publish the crystal that the network `invert` tells, in one step")
    adaptive_steps: int = Field(
        0, ge=0, description="steps by which the network's latents are adapted to the counts, then published; 0: none"
    )
    latents: Literal["surface", "learned"] = Field(
        "surface",
        description="the latents that are adapted: surface and bumps of the crystal, or those of an autoencoder",
    )
    refined_s: float = Field(
        0.0,
        ge=0,
        description="seconds of phase retrieval that begins with the better of these, then published; its first round"
        " always runs, and the search waits for it; 0: none",
    )

    @model_validator(mode="after")
    def _begin_with_the_network(self) -> TiersSettings:
        if (self.adaptive_steps or self.refined_s) and not self.direct:
            raise ValueError("adaptive_steps and refined_s begin with the network's crystal: set direct to true")
        return self


DefectName = Literal[
    "perfect", "edge", "screw", "mixed", "partial", "loop", "stacking_fault", "twin", "multiple", "unknown"
]


class DefectsSettings(Section):
    """What is told of the defects of each crystal."""

    classify: bool = Field(
        False,
        description="tell what is wrong with each crystal, beside its reconstruction; phase retrieval then also begins"
        " with phases that wind about lines",
    )
    reflection: tuple[int, int, int] | None = Field(
        None, description="h, k, l of the peak, up to the symmetry of the cube; edge and screw are told apart better"
    )
    sure: float = Field(
        0.6, ge=0.0, lt=1.0, description="a crystal none of whose classes is as likely as this is called unknown"
    )
    hold_on: tuple[DefectName, ...] = Field(
        (),
        description="classes at which Tango's `hold` becomes true, where nothing speaks against the crystal: whoever"
        " measures should pause",
    )
    hold_above: float = Field(
        0.9,
        ge=0.0,
        le=1.0,
        description="probability of such a class from which `hold` becomes true; of `unknown` always where no class is"
        " as likely as `sure`",
    )

    @field_validator("reflection")
    @classmethod
    def _scatters(cls, reflection: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
        if reflection is not None:
            from models.defects.report import require_fcc  # takes half a second, which no other setting needs

            require_fcc(reflection)
        return reflection


class DetectorSettings(Section):
    mask: Path | None = Field(None, description="user mask: NumPy or HDF5 file, bool [row, column], True is good")
    dark: Path | None = Field(None, description="dark image: NumPy or HDF5 file, counts a frame")
    flat: Path | None = Field(None, description="flat field: NumPy or HDF5 file, relative efficiency")
    channel: str = Field("", description="channel (energy threshold) that is used; empty for the first that is sent")
    saturation_counts: float | None = Field(None, gt=0, description="counts at which a pixel is saturated")
    chip_layout: Literal["maxipix", "timepix", "merlin", "eiger2"] | None = Field(
        None, description="gaps between chips and enlarged pixels beside them; None: a Maxipix's for 516 x 516 alone"
    )
    region: tuple[int, int, int, int] | None = Field(
        None, description="row start, row stop, column start, column stop; px"
    )


class AxesSettings(Section):
    """Circles of a diffractometer that is described: (name, direction), 'x+' ... 'z-' or three numbers."""

    sample: tuple[tuple[str, Direction], ...] = Field(description="circles of the sample, outermost first")
    detector: tuple[tuple[str, Direction], ...] = Field(description="circles of the detector, outermost first")
    row: Direction = Field(description="where rows grow, detector circles at zero")
    column: Direction = Field(description="where columns grow, detector circles at zero")

    @model_validator(mode="after")
    def _describe_a_diffractometer(self) -> AxesSettings:
        diffractometer("general", self.model_dump())
        return self


class GeometrySettings(Section):
    instrument: str = Field("34-ID-C", description="diffractometer where the stream does not name one")
    energy_kev: float | None = Field(None, gt=0, description="photon energy where the stream has none, keV")
    distance_m: float | None = Field(None, gt=0, description="sample to detector where the stream has none, m")
    pixel_size_m: float | None = Field(None, gt=0, description="pixel edge where the stream has none, m")
    beam_center_px: tuple[float, float] | None = Field(
        None,
        description="row and column of the image that is sent, hit by the direct beam at zero detector angles,"
        " where the stream has none, px",
    )
    angles_deg: Mapping[str, float] = Field(
        default_factory=dict, description="axis that stands still -> its angle where the stream does not tell it, deg"
    )
    rocking_axis: str = Field(
        "", description="axis that is rocked, where the stream does not say; empty: the one that moves"
    )
    axes: AxesSettings | None = Field(
        None,
        description="of instrument 'general' where the stream has none: `sample` and `detector`, lists of"
        " [name, direction], outermost first, `row` and `column`; a direction is x+, x-, ... z- or three numbers",
    )


class SpoolSettings(Section):
    folder: Path = Field(Path("braggloop-spool"), description="where raw segments are kept")
    max_bytes: int = Field(20_000_000_000, gt=0, description="bound on the spool, bytes")
    segment_bytes: int = Field(
        512_000_000, ge=4096, description="size of a segment; a message must fit into one and the bound hold two, bytes"
    )
    prepared_bytes: int = Field(
        0, ge=0, description="claimed and touched at the start; for a spool in memory, as much as max_bytes, bytes"
    )

    @model_validator(mode="after")
    def _bound_holds_two_segments(self) -> SpoolSettings:
        if self.max_bytes < 2 * self.segment_bytes:
            raise ValueError(f"max_bytes {self.max_bytes} is below two segments of {self.segment_bytes} bytes")
        return self


class WorkerSettings(Section):
    endpoint: str = Field("tcp://127.0.0.1:31001", description="where the detector or FrameStreamer pushes frames")
    bind: bool = Field(False, description="bind the endpoint instead of connecting to it")
    results: str = Field("tcp://127.0.0.1:31002", description="PUB endpoint for summaries of results")
    requests: str = Field(
        "tcp://127.0.0.1:31003",
        description="ROUTER endpoint: everything since N, reprocess, settings, save; without a password",
    )
    http_host: str = Field("127.0.0.1", description="address of /metrics and /healthz; 0.0.0.0 for all networks")
    http_port: int = Field(9100, ge=0, le=65535, description="Prometheus /metrics and /healthz; 0 chooses a free one")
    stall_s: float = Field(30.0, gt=0, description="an open series without frames for this long is closed, s")
    warn_s: float = Field(5.0, gt=0, description="an open series without frames for this long fails /healthz, s")
    late_s: float = Field(2.0, ge=0, description="how long missing frames may come after the end of a series, s")
    preview_frames: int = Field(
        0,
        ge=0,
        description="what came of an open series is inverted whenever so many new frames came, where it takes"
        " less than half of `series_max_bytes`; 0: never",
    )
    series_max_bytes: int = Field(
        16_000_000_000, gt=0, description="largest series that is assembled: 5 bytes a pixel and frame, bytes"
    )


class TwinSettings(Section):
    frames: int = Field(64, ge=2, description="frames in the rocking scan")
    rows: int = Field(128, ge=16, description="detector rows, px")
    columns: int = Field(128, ge=16, description="detector columns, px")
    peak_counts: float = Field(1e5, gt=0, description="expected counts in the brightest voxel")
    seed: int = Field(0, ge=0, description="seed of the crystal and of the counts")
    axes: Mapping[str, str] = Field(
        default_factory=dict,
        description="axis -> Tango device with a `position` that the twin obeys; empty: the virtual ones of its server",
    )


class StreamerSettings(Section):
    endpoint: str = Field("tcp://127.0.0.1:31001", description="PUSH endpoint, bound")
    source: Literal["twin", "replay", "lima"] = Field("twin", description="where frames come from")
    path: str = Field("", description="replay: file or folder; lima: Tango device name")
    scan: str = Field("", description="replay: scan N.M of an ESRF master; empty for the first")
    trigger_mode: Literal["internal", "software"] = Field(
        "internal", description="internal: frames leave at `rate_hz`; software: one for each `Trigger` of FrameStreamer"
    )
    rate_hz: float = Field(100.0, gt=0, description="frames a second")
    loop: bool = Field(False, description="begin again at the end")
    compression: Literal["none", "lz4", "bslz4"] = Field("bslz4", description="compression of the frames")
    patience_s: float = Field(
        5.0, gt=0, description="a frame that nobody takes for this long is dropped and counted, s"
    )
    axes: Mapping[str, str] = Field(
        default_factory=dict, description="lima: axis -> Tango device whose `position` is read after each image"
    )


class AxisSettings(Section):
    position: float = Field(0.0, description="where the axis begins, in `unit`")
    velocity: float = Field(1.0, gt=0, description="speed of a move, `unit` a second")
    low_limit: float = Field(-180.0, description="smallest position, in `unit`")
    high_limit: float = Field(180.0, description="largest position, in `unit`")
    unit: str = Field("deg", description="unit of the positions: deg or m")
    backlash: float = Field(0.0, ge=0, description="play between motor and axis, in `unit`")
    encoder_noise: float = Field(0.0, ge=0, description="standard deviation of a read position, in `unit`")

    @model_validator(mode="after")
    def _position_within_limits(self) -> AxisSettings:
        if not self.low_limit <= self.position <= self.high_limit:
            raise ValueError(f"position {self.position} is outside {self.low_limit} to {self.high_limit}")
        return self


class GoniometerSettings(Section):
    axes: Mapping[str, AxisSettings] = Field(
        default_factory=lambda: {
            "theta": AxisSettings(),
            "chi": AxisSettings(position=90.0),
            "phi": AxisSettings(position=-5.0),
            "delta": AxisSettings(position=32.174),
            "gamma": AxisSettings(position=12.6346),
        },
        description="virtual axis -> where it begins, how fast it is, how far it goes",
    )


class CounterSettings(Section):
    """A virtual counter, which is there where axes x, y (m) and eta (deg) are."""

    axes: Mapping[Literal["x", "y", "z", "eta"], str] = Field(
        default_factory=dict,
        description="x, y, z (m) and eta (deg) -> Tango device whose `position` is read; empty: the virtual ones of its"
        " server",
    )
    seed: int = Field(0, ge=0, description="seed of the crystal, that of `braggloop align --seed`, and of the counts")
    exposure_s: float = Field(0.1, gt=0, description="how long each count is exposed, s")


class TangoSettings(Section):
    host: str = Field("127.0.0.1", description="address that devices without a database listen on")
    port: int = Field(0, ge=0, le=65535, description="port of devices without a database; 0 chooses a free one")
    domain: str = Field("braggloop", description="first part of the device names")
    alarms: Mapping[str, tuple[float | None, float | None]] = Field(
        default_factory=dict, description="attribute -> (min alarm, max alarm), in the attribute's unit"
    )


class Settings(Section):
    """The whole tree."""

    out: Path = Field(Path("braggloop-results"), description="where results are written")
    detector: DetectorSettings = DetectorSettings()
    geometry: GeometrySettings = GeometrySettings()
    phasing: PhasingSettings = PhasingSettings()
    engine: EngineSettings = EngineSettings()
    repair: RepairSettings = RepairSettings()
    tiers: TiersSettings = TiersSettings()
    defects: DefectsSettings = DefectsSettings()
    spool: SpoolSettings = SpoolSettings()
    worker: WorkerSettings = WorkerSettings()
    streamer: StreamerSettings = StreamerSettings()
    goniometer: GoniometerSettings = GoniometerSettings()
    alignment: AlignmentSettings = AlignmentSettings()
    orientation: OrientationSettings = OrientationSettings()
    twin: TwinSettings = TwinSettings()
    counter: CounterSettings = CounterSettings()
    tango: TangoSettings = TangoSettings()


def load_settings(
    path: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """Read the file, then the environment, then `overrides` (nested mapping); raise SettingsError in one line."""
    try:
        tree: dict[str, Any] = tomllib.loads(path.read_text()) if path else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"settings file {path}: {error}") from error
    for layer in (_from_environment(environment), overrides or {}):
        tree = merge(tree, layer)
    return parse_settings(tree)


def parse_settings(tree: Mapping[str, Any]) -> Settings:
    """Validate a nested mapping; raise SettingsError that names each wrong key, in one line."""
    return parse_section(Settings, tree)


def parse_section(section: type[SectionT], tree: Mapping[str, Any]) -> SectionT:
    """Validate one section of the tree like `parse_settings`."""
    try:
        return section.model_validate(tree)
    except ValidationError as error:
        raise SettingsError(f"settings: {'; '.join(_wrong(section, item) for item in error.errors())}") from error


def _wrong(section: type[Section], item: Mapping[str, Any]) -> str:
    """Say in one line what is wrong with one value; an unknown name with the nearest known one."""
    *above, name = path = [str(part) for part in item["loc"]] or ["settings"]
    if item["type"] == "extra_forbidden":
        for part in above:
            below = section.model_fields[part].annotation if part in section.model_fields else None
            section = below if isinstance(below, type) and issubclass(below, Section) else Section
        near = get_close_matches(name, section.model_fields, 1)
        return f"{'.'.join(path)}: no such setting" + (f", did you mean {near[0]}?" if near else "")
    return f"{'.'.join(path)}: {item['msg'].removeprefix('Value error, ')} (got {item['input']!r})"


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the leaves of `over` laid on top."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return merged


def to_environment(tree: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables from which a child process reads `tree`, a nested mapping of texts and numbers."""

    def leaves(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
        for key, value in node.items():
            name = prefix + key.upper()
            if isinstance(value, Mapping):
                yield from leaves(value, name + "__")
            else:
                yield name, str(value)

    return dict(leaves(tree, ENVIRONMENT_PREFIX))


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in environment.items():
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        *sections, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
        node[key] = value
    return tree
