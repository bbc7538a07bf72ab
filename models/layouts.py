"""How the chips of pixel detectors lie side by side: blank lines between them and enlarged pixels at their edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Pair = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipLayout:
    """Blocks of `pixels` (rows, columns), `gap` blank pixels between them, `enlarged` wide ones at each inner edge."""

    pixels: Pair
    gap: Pair
    enlarged: int = 0

    @property
    def pitch(self) -> Pair:
        """Rows and columns from one block to the next."""
        return self.pixels[0] + self.gap[0], self.pixels[1] + self.gap[1]


# Medipix chips of 256 pixels; the pixels at an inner edge are three wide, the image is inflated by four lines so that
# positions stay true (Ponchut et al., J. Instrum. 6 (2011) C01069). Readouts of Timepix quads leave four lines too,
# Merlin three. Eiger2: modules of 1028 x 512 pixels, 12 columns and 38 rows apart (DECTRIS, Eiger2 manual).
LAYOUTS = {
    "maxipix": ChipLayout(pixels=(256, 256), gap=(4, 4), enlarged=1),
    "timepix": ChipLayout(pixels=(256, 256), gap=(4, 4)),
    "merlin": ChipLayout(pixels=(256, 256), gap=(3, 3)),
    "eiger2": ChipLayout(pixels=(512, 1028), gap=(38, 12)),
}
MAXIPIX_SHAPE = (516, 516)


def layout(name: str) -> ChipLayout:
    """Return the layout of this name; raise ValueError where none is known."""
    try:
        return LAYOUTS[name.lower()]
    except KeyError:
        raise ValueError(f"no chip layout is called {name!r}: expected one of {', '.join(LAYOUTS)}") from None


def known_layout(shape: Pair) -> ChipLayout | None:
    """Return the layout of the only detector with frames of `shape` (rows, columns), None where none is known."""
    return LAYOUTS["maxipix"] if shape == MAXIPIX_SHAPE else None


def chosen_layout(name: str | None, shape: Pair) -> ChipLayout | None:
    """Return the layout of this name, or where None that which frames of `shape` (rows, columns) are known by."""
    return known_layout(shape) if name is None else layout(name)


def chip_edges(shape: Pair, chips: ChipLayout, start: Pair = (0, 0)) -> Mask:
    """Return bool [row, column], False in the gaps between chips and on the enlarged pixels beside them.

    `shape` is that of a frame, or of a crop whose first pixel is `start` (row, column) of the detector. An enlarged
    pixel's count, left whole or shared out over its area, is an average over several fringes' samples and no Poisson
    draw of any one of them: it is masked, not rescaled.
    """
    rows, columns = (
        _away_from_edges(begin + np.arange(length), pixels, pitch, chips.enlarged)
        for begin, length, pixels, pitch in zip(start, shape, chips.pixels, chips.pitch, strict=True)
    )
    return rows[:, None] & columns[None, :]


def _away_from_edges(place: NDArray[np.intp], pixels: int, pitch: int, enlarged: int) -> Mask:
    within = place % pitch
    first = (within < enlarged) & (place >= pitch)
    end = place - within + pixels
    inner = np.where(end <= place[-1], pixels - enlarged, pixels)  # beyond the last block there is no gap to widen into
    return np.asarray(~first & (within < inner))
