"""Memory that is used again: never while somebody still looks at it, and only where it fits."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from service.worker.buffers import KEPT, Buffers


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_memory_comes_back_when_nobody_holds_it() -> None:
    buffers = Buffers()
    first = buffers.empty((5, 7, 3), np.float32)
    assert (first.shape, first.dtype, first.flags.c_contiguous, first.flags.writeable) == (
        (5, 7, 3),
        np.float32,
        True,
        True,
    )
    first[:] = 1.0
    where = address(first)
    del first
    assert address(buffers.empty((7, 5, 3), np.float32)) == where


def test_a_view_holds_it() -> None:
    buffers = Buffers()
    whole = buffers.empty((64, 64), np.float32)
    part, tensor = whole[3:5, 1:], torch.from_numpy(whole)
    where = address(whole)
    held = []  # what is handed out meanwhile
    del whole
    held.append(buffers.empty((64, 64), np.float32))
    del part
    held.append(buffers.empty((64, 64), np.float32))
    assert where not in map(address, held)
    del tensor
    assert address(buffers.empty((64, 64), np.float32)) == where


def test_a_region_much_too_large_or_too_small_is_left() -> None:
    buffers = Buffers()
    where = address(buffers.empty((1000, 1000), np.uint8))
    assert address(buffers.empty((100, 1000), np.uint8)) != where
    assert address(buffers.empty((1000, 1001), np.uint8)) != where
    assert address(buffers.empty((600, 1000), np.uint8)) == where


def test_no_more_than_a_few_are_kept() -> None:
    buffers = Buffers()
    held = [buffers.empty((4096,), np.uint8) for _ in range(KEPT + 3)]
    before = {address(array) for array in held}
    held.clear()
    again = [buffers.empty((4096,), np.uint8) for _ in range(KEPT)]
    assert {address(array) for array in again} <= before


def test_any_thread_may_let_go() -> None:
    buffers = Buffers()
    for _ in range(20):
        held = [buffers.empty((4096,), np.uint8) for _ in range(4)]
        threads = [threading.Thread(target=held.pop) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(buffers._idle) == KEPT


@pytest.mark.parametrize("shape", [(1 << 62,), (1 << 40, 1 << 40)])
def test_no_room_is_a_memory_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(MemoryError, match="no room for"):
        Buffers().empty(shape, np.float32)


def test_nothing_at_all_is_an_array_too() -> None:
    assert Buffers().empty((0, 5), np.bool_).shape == (0, 5)
