"""What the controller behind Reconstruction shows: every reading, declared once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.devices.status import Status, count, described, no_image, reading

NAN = float("nan")


@dataclass(frozen=True, kw_only=True, eq=False)
class MonitorStatus(Status):
    """What is known of the worker and of its last result; images are float32 [row, column]."""

    worker: str = reading("", label="Worker", description="What the worker says of its health.")
    worker_answers: bool = reading(
        False, label="Worker answers", description="True while the worker answers: what is shown is of now."
    )
    worker_busy: bool = reading(
        False, label="Worker busy", description="True while a series comes in or is inverted, as the worker said last."
    )
    sequence: int = count("Result", "Number of the last result.")
    series_id: int = count("Series", "Series of the last result.")
    series_unique_id: str = reading("", label="Series name", description="Unique name of the last result's series.")
    series_status: str = reading(
        "",
        label="Series ended",
        description="How the last series ended: done, incomplete, failed or aborted; preliminary while a better crystal"
        " of it is awaited.",
    )
    finished_at_s: float = reading(
        0.0, label="Finished", description="When the last result was ready, since 1970 UTC.", unit="s", format="%.3f"
    )

    chi: float = reading(
        NAN,
        label="Chi",
        description="sum((abs(F) - D)^2) / sum(D^2), D the square root of the counts.",
        format="%.6g",
        limits=(0, None),
    )
    r_factor: float = reading(
        NAN, label="R factor", description="sum(abs(abs(F) - D)) / sum(D).", format="%.6g", limits=(0, None)
    )
    chi2: float = reading(
        NAN,
        label="Chi squared",
        description="Mean of (model - counts)^2 / model over the voxels; 1 for Poisson noise alone.",
        format="%.6g",
        limits=(0, None),
    )
    free_log_likelihood: float = reading(
        NAN,
        label="Free log-likelihood",
        description="Mean Poisson deviance over held-out voxels.",
        format="%.6g",
        limits=(0, None),
    )
    resolution_nm: float = reading(
        NAN,
        label="Resolution",
        description="Where the PRTF falls below 1/e.",
        unit="nm",
        format="%.6g",
        limits=(0, None),
    )
    resolution_method: str = reading("", label="Resolution method", description="How the resolution was found.")
    support_voxels: int = count("Support voxels", "Voxels inside the crystal.")
    support_volume_nm3: float = reading(
        NAN, label="Volume", description="Volume of the crystal.", unit="nm^3", format="%.6g", limits=(0, None)
    )
    strain_rms: float = reading(
        NAN,
        label="Strain rms",
        description="Root mean square of the heterogeneous strain along Q.",
        format="%.6g",
        limits=(0, None),
    )
    strain_min: float = reading(NAN, label="Smallest strain", description="Smallest strain along Q.", format="%.6g")
    strain_max: float = reading(NAN, label="Largest strain", description="Largest strain along Q.", format="%.6g")
    flux_counts: float = reading(
        NAN, label="Flux", description="All counts of the volume.", unit="counts", format="%.6g", limits=(0, None)
    )
    peak_counts: float = reading(
        NAN, label="Peak", description="Counts of the brightest voxel.", unit="counts", format="%.6g", limits=(0, None)
    )
    hand_chosen: bool = reading(
        False, label="Hand chosen", description="True where the hand was taken nearest to the result before."
    )
    explained: float = reading(
        NAN,
        label="Explained",
        description="Share of what a flat pattern leaves of the held-out counts; about 0 for noise.",
        format="%.4f",
        limits=(None, 1),
    )
    agreement: float = reading(
        NAN, label="Agreement", description="Correlation of the kept starts, 1 for one object.", format="%.4f"
    )
    tier: str = reading(
        "",
        label="Tier",
        description="How the crystal was found: direct (a network), adaptive (adapted to the counts), refined (phase"
        " retrieval from there), search (phase retrieval from random starts).",
    )
    doubt: str = reading(
        "", label="Doubt", description="Why the last result must not be trusted; empty where nothing speaks against it."
    )

    filled_voxels: int = count("Filled voxels", "Voxels of gaps that a network filled.")
    filled_counts: float = reading(
        0.0,
        label="Filled counts",
        description="Counts that a network put into gaps.",
        unit="counts",
        format="%.6g",
        limits=(0, None),
    )
    denoised_counts: float = reading(
        0.0,
        label="Denoised counts",
        description="All counts of the crop as a network expects them without noise; 0 where none was asked.",
        unit="counts",
        format="%.6g",
        limits=(0, None),
    )
    repair_doubt: str = reading(
        "", label="Repair doubt", description="Why what networks made of the counts must not be trusted; else empty."
    )

    defect_class: str = reading(
        "",
        label="Defect",
        description="What is wrong with the last crystal, as its reflection shows it: perfect, edge, screw, mixed,"
        " partial, loop, stacking_fault, twin, multiple, unknown; empty where nobody asked or it cannot be told.",
    )
    defect_probability: float = reading(
        NAN,
        label="Probability",
        description="How sure the defect's class is; of unknown, that the likeliest is wrong.",
        format="%.3f",
        limits=(0, 1),
    )
    defect_count: int = count("Defects", "Defects seen in the last crystal, at least.")
    hold: bool = reading(
        False,
        label="Hold",
        description="True where the last crystal has a defect at which defects.hold_on asks to pause: whoever measures"
        " should wait for a person. Reset lets go of it.",
    )

    voxel_nm: float = reading(
        NAN, label="Voxel", description="Edge of a pixel of the slices.", unit="nm", format="%.6g", limits=(0, None)
    )
    amplitude: NDArray[np.float32] = field(
        default_factory=no_image,
        metadata=described(label="Amplitude", description="Central slice, laboratory grid.", format="%.6g"),
    )
    phase: NDArray[np.float32] = field(
        default_factory=no_image,
        metadata=described(label="Phase", description="Central slice, laboratory grid.", unit="rad", format="%.6g"),
    )
    strain: NDArray[np.float32] = field(
        default_factory=no_image,
        metadata=described(
            label="Strain", description="Central slice of the strain along Q; NaN outside.", format="%.6g"
        ),
    )
    displacement: NDArray[np.float32] = field(
        default_factory=no_image,
        metadata=described(
            label="Displacement",
            description="Central slice of the displacement along Q; NaN outside.",
            unit="nm",
            format="%.6g",
        ),
    )

    defect_lines: NDArray[np.float32] = field(
        default_factory=no_image,
        metadata=described(
            label="Dislocations",
            description="Dislocation lines, seen along the beam through the grid of the slices: the line's number, 0"
            " where there is none; empty where nobody asked or it cannot be told.",
            format="%.0f",
        ),
    )

    measured: NDArray[np.float32] = field(
        default_factory=no_image,
        metadata=described(
            label="Measured", description="Counts of the brightest frame; NaN in gaps.", unit="counts", format="%.6g"
        ),
    )
    repaired: NDArray[np.float32] = field(
        default_factory=no_image,
        metadata=described(
            label="Repaired", description="The same frame as networks repaired it.", unit="counts", format="%.6g"
        ),
    )

    latency_s: float = reading(
        NAN,
        label="Latency",
        description="From the last frame to the last result being published; NaN where it was inverted again.",
        unit="s",
        format="%.6g",
        limits=(0, None),
    )
    latency_stages: tuple[str, ...] = reading((), label="Stages", description="Names of the stages, in order.")
    latencies_s: tuple[float, ...] = reading(
        (), label="Latencies", description="Seconds that each stage took; all but assemble are parts of latency.",
        unit="s",
        format="%.4f",
    )  # fmt: skip

    received: int = count("Received", "Frames received, all series.")
    missed: int = count("Missed", "Frames that never came, all series.")
    rejected: int = count("Rejected", "Frames that could not be used.")
    duplicates: int = count("Duplicates", "Frames that came more than once.")
    series_done: int = count("Series done", "Series reconstructed whole.")
    series_incomplete: int = count("Series incomplete", "Series reconstructed from what arrived.")
    series_failed: int = count("Series failed", "Series without an object.")
    series_aborted: int = count("Series aborted", "Series given up by the sender.")

    lost: int = count("Results lost", "Results that the worker no longer has; their files are on its disk.")

    last_error: str = reading("", label="Last error", description="Why the last failed series has no object.")
    last_file: str = reading("", label="Last file", description="File of the last result.")
    last_picture: str = reading(
        "", label="Last picture", description="PNG summary of the last result; empty until it is drawn."
    )
    notes: tuple[str, ...] = reading((), label="Notes", description="What the worker did for the last result.")
    warnings: tuple[str, ...] = reading(
        (), label="Warnings", description="What somebody should look at in the last result or its frames."
    )
