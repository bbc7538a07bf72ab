"""Memory of large arrays that is used again: a system hands out new pages far slower than a detector fills them."""

from __future__ import annotations

import math
import mmap
import weakref
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

KEPT = 4  # counts and masks of two series: one is filled while the other one is inverted
WASTE = 2  # times what is asked for; a region larger than that is left for another series
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


class Buffers:
    """Hands out arrays whose memory comes back by itself when nobody holds them or a view of them any more.

    Any thread may let go of an array; one asks for them.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._idle: deque[mmap.mmap] = deque(maxlen=kept)  # the longest unused one leaves first

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return a C-contiguous array that holds anything; raise MemoryError where there is no room."""
        count = math.prod(shape)
        size = count * np.dtype(dtype).itemsize
        region = self._fitting(size) or _mapped(size)
        flat = np.frombuffer(region, dtype, count)
        weakref.finalize(flat, self._idle.append, region).atexit = False
        return flat.reshape(shape)

    def _fitting(self, size: int) -> mmap.mmap | None:
        for _ in range(len(self._idle)):
            region = self._idle.popleft()
            if size <= len(region) <= WASTE * size:
                return region
            self._idle.append(region)
        return None


def _mapped(size: int) -> mmap.mmap:
    try:
        region = mmap.mmap(-1, max(size, 1), flags=PRIVATE)
    except (OSError, OverflowError, ValueError) as error:
        raise MemoryError(f"no room for {size} bytes") from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        region.madvise(mmap.MADV_HUGEPAGE)
    return region
