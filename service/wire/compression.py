"""bslz4 and lz4 in HDF5 framing, as in CBOR tag 56500, through the native library inside hdf5plugin.

That library is built without OpenMP (the usual bitshuffle wheel is with it, and hangs after a fork) and is called
through ctypes, which releases the interpreter lock: threads decode side by side. It believes the lengths inside the
data, so they are walked here first.
"""

from __future__ import annotations

import ctypes
import struct
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.errors import WireError

Compression = Literal["none", "lz4", "bslz4"]
Bytes = NDArray[np.uint8]

FRAMING = struct.Struct(">QI")  # decompressed size, block size; both in bytes
BLOCK_HEAD = struct.Struct(">I")  # compressed size of one block
LZ4_MAX_RATIO = 255  # no LZ4 stream expands further
LZ4_BLOCK_BYTES = 1 << 30  # the HDF5 filter's own default
SHUFFLE_BLOCK_BYTES = 8192  # bitshuffle's own default: stays in the first-level cache
MIN_BLOCK_BYTES = 64  # smaller blocks are all overhead: only an attacker writes them
ELEMENT_SIZES = (1, 2, 4, 8)
ALGORITHMS = ("lz4", "bslz4")


def decompress(algorithm: str, element_size: int, payload: memoryview, size: int) -> Bytes:
    """Return the `size` bytes that `payload` holds by one of ALGORITHMS; raise WireError where it holds something else.

    All sizes are checked before the result is allocated.
    """
    stated, block = _framing(payload)
    if stated != size:
        raise WireError(f"{algorithm} data of {stated} bytes, the array has {size}")
    if size > LZ4_MAX_RATIO * len(payload):
        raise WireError(f"{algorithm} data: {len(payload)} bytes cannot hold {size}")
    if block < min(size, MIN_BLOCK_BYTES):
        raise WireError(f"{algorithm} data in blocks of {block} bytes, expected at least {MIN_BLOCK_BYTES}")
    if algorithm == "lz4":
        return _decompress_lz4(payload, size, block)
    return _decompress_bslz4(payload, size, block, element_size)


def stated_size(payload: memoryview) -> int:
    """Return the decompressed size that the framing claims, bytes."""
    return _framing(payload)[0]


def compress(algorithm: str, array: NDArray[Any]) -> bytes:
    """Return a C-contiguous array of at most 1 GiB compressed, with its framing."""
    if array.nbytes > LZ4_BLOCK_BYTES:
        raise ValueError(f"array of {array.nbytes} bytes, at most {LZ4_BLOCK_BYTES} can be compressed")
    return _compress_lz4(array) if algorithm == "lz4" else _compress_bslz4(array)


def _framing(payload: memoryview) -> tuple[int, int]:
    if len(payload) < FRAMING.size:
        raise WireError(f"compressed data of {len(payload)} bytes, its framing alone has {FRAMING.size}")
    size, block = FRAMING.unpack_from(payload)
    return int(size), int(block)


def _decompress_lz4(payload: memoryview, size: int, block: int) -> Bytes:
    blocks = _lz4_blocks(payload, size, block)
    source, target = np.frombuffer(payload, np.uint8), np.empty(size, np.uint8)
    for index, (start, stop) in enumerate(blocks):
        part = target[index * block : (index + 1) * block]
        if stop - start == part.size:  # stored, as it would not shrink
            part[:] = source[start:stop]
        elif _native().LZ4_decompress_safe(_at(source, start), _at(part), stop - start, part.size) != part.size:
            raise WireError(f"lz4 data damaged in block {index} of {len(blocks)}")
    return target


def _decompress_bslz4(payload: memoryview, size: int, block: int, element_size: int) -> Bytes:
    if element_size not in ELEMENT_SIZES or size % element_size or block % (8 * element_size):
        raise WireError(f"bslz4 data of {size} bytes in blocks of {block}: impossible for elements of {element_size}")
    tail = size % (8 * element_size)  # stored as it is, behind the last block
    _lz4_blocks(payload[: len(payload) - tail], size - tail, block)
    source, target = np.frombuffer(payload, np.uint8), np.empty(size, np.uint8)
    read = _native().bshuf_decompress_lz4(
        _at(source, FRAMING.size), _at(target), size // element_size, element_size, block // element_size
    )
    if read != len(payload) - FRAMING.size:
        raise WireError(f"bslz4 data damaged: native code {read}")
    return target


def _lz4_blocks(payload: memoryview, size: int, block: int) -> list[tuple[int, int]]:
    """Walk the chain of blocks; return where each one's data start and stop."""
    at, end, blocks = FRAMING.size, len(payload), []
    read_length = BLOCK_HEAD.unpack_from
    for index in range(-(-size // block) if size else 0):
        start = at + BLOCK_HEAD.size
        if start > end:
            raise WireError(f"compressed data end at byte {end}, before block {index}")
        at = start + read_length(payload, at)[0]
        blocks.append((start, at))
    if at != end:
        raise WireError(f"compressed data: blocks end at byte {at}, the data at byte {end}")
    return blocks


def _compress_lz4(array: NDArray[Any]) -> bytes:
    library = _native()
    packed = np.empty(library.LZ4_compressBound(array.nbytes), np.uint8)
    used = library.LZ4_compress_default(_at(array), _at(packed), array.nbytes, packed.size)
    stored = packed[:used] if used < array.nbytes else array.reshape(-1).view(np.uint8)
    return b"".join((FRAMING.pack(array.nbytes, array.nbytes), BLOCK_HEAD.pack(stored.size), stored.data))


def _compress_bslz4(array: NDArray[Any]) -> bytes:
    library, item = _native(), array.itemsize
    block = SHUFFLE_BLOCK_BYTES // item
    packed = np.empty(library.bshuf_compress_lz4_bound(array.size, item, block), np.uint8)
    used = library.bshuf_compress_lz4(_at(array), _at(packed), array.size, item, block)
    return b"".join((FRAMING.pack(array.nbytes, block * item), packed[:used].data))


def _at(array: NDArray[Any], offset: int = 0) -> int:
    return int(array.ctypes.data) + offset


@cache
def _native() -> ctypes.CDLL:
    library = ctypes.CDLL(str(_library_path()))
    size, pointer, whole = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int
    for name, result, arguments in (
        ("bshuf_decompress_lz4", ctypes.c_int64, [pointer, pointer, size, size, size]),
        ("bshuf_compress_lz4", ctypes.c_int64, [pointer, pointer, size, size, size]),
        ("bshuf_compress_lz4_bound", size, [size, size, size]),
        ("LZ4_decompress_safe", whole, [pointer, pointer, whole, whole]),
        ("LZ4_compress_default", whole, [pointer, pointer, whole, whole]),
        ("LZ4_compressBound", whole, [whole]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _library_path() -> Path:
    spec = find_spec("hdf5plugin")  # found, not imported: its import would pull in h5py
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise ImportError("hdf5plugin is not installed; it holds the native lz4 and bitshuffle")
    return next(Path(folders[0], "plugins").glob("libh5bshuf.*"))
