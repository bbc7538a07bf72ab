"""The encoder in use: one pattern in, the crystal behind it out, in one step."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models import registry
from models.counts import require_counts
from models.engine.port import Engine
from models.engine.torch import TorchEngine
from models.inpaint.predict import inpaint
from models.invert.latent import SUPPORT, LatentSpace
from models.invert.misfit import Misfit
from models.invert.trust import doubt, unexplained
from models.invert.view import CHANNELS, EDGE, view
from models.light import light_of

NAME = "invert"
ITEM = (CHANNELS, EDGE, EDGE, EDGE)  # what an engine must take
# Voxels that stay beside the crystal at each end of an axis, at least.
ROOM_VOXELS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Inverted:
    """The crystal behind a pattern, arrays of the pattern's shape [z, y, x].

    `object_` complex64, origin at index n // 2, |fftshift(fftn(ifftshift(object)))|^2 in counts; one of the two hands
    that scatter alike. `support` bool: where the crystal is. `latent` float32 (size,): it as few numbers, in `space`.
    `chi`: sum (|F| - A)^2 / sum A^2 over what was seen, A the roots of the counts; `unexplained`: what of it is not the
    noise of counting. `doubt`: why the crystal must not be trusted, empty where nothing speaks against it.
    """

    object_: NDArray[np.complex64]
    support: NDArray[np.bool_]
    latent: NDArray[np.float32]
    space: LatentSpace
    chi: float
    unexplained: float
    doubt: str


def invert(
    intensity: NDArray[np.float32],
    mask: NDArray[np.bool_] | None = None,
    *,
    engine: Engine | None = None,
    inpainter: Engine | None = None,
    scale: NDArray[np.float32] | None = None,
    background: NDArray[np.float32] | None = None,
) -> Inverted:
    """Tell the crystal behind one Bragg peak.

    `intensity` float32 counts [z, y, x], the peak near index n // 2; `mask` bool of the same shape, True where a voxel
    was seen (None: everywhere); gaps are filled by the inpainter first. `engine` runs the network on items of ITEM,
    `inpainter` that of `models.inpaint`; those that come with Braggloop where None. An intensity that is (counts -
    `background`) / `scale` is doubted by the noise of those counts; 0 and 1 where None. Safe in streaming. Raises
    ValueError in one line where nothing was counted, for counts that are negative or not numbers and for other shapes.
    """
    seen = np.ones(intensity.shape, bool) if mask is None else np.asarray(mask, bool)
    require_counts(intensity, seen)
    if intensity.ndim != 3:
        raise ValueError(f"counts have shape {intensity.shape}: a crystal needs a volume [z, y, x]")
    counts = torch.from_numpy(inpaint(intensity, seen, engine=inpainter, guided=False).volume)
    shown = view(counts[None])
    engine = engine or default_engine()
    latents = engine.run(shown.channels().to(engine.device)).cpu()
    limits = torch.tensor(intensity.shape) / 2.0 - ROOM_VOXELS
    space = LatentSpace(tuple(intensity.shape), torch.minimum(shown.semi_axes[0], limits).tolist())
    known = torch.from_numpy(seen)
    factor, chi = Misfit(space, counts, known).fit(latents)
    body = space.objects(latents)
    found = body * factor
    light = light_of(intensity.shape, scale, background)
    left = float(unexplained(found, counts, known, *map(torch.from_numpy, light))[0])
    return Inverted(
        object_=found[0].numpy(),
        support=(body[0].abs() > SUPPORT).numpy(),
        latent=latents[0].numpy(),
        space=space,
        chi=float(chi[0]),
        unexplained=left,
        doubt=doubt(left),
    )


@functools.cache
def default_engine() -> Engine:
    """Return the network that comes with Braggloop, on the CPU."""
    return TorchEngine(registry.build(registry.network(NAME)), ITEM)
