"""Stream v2 as anybody would write and read it who has only the public documents: cbor2 and the public codecs.

Shares no code with the service, so that agreement means something. Sources: RFC 8746, DECTRIS' stream_v2 and
compression-tag documents, the HDF5 framings of bitshuffle and lz4.
"""

from __future__ import annotations

import struct
from typing import Any

import bitshuffle
import cbor2
import lz4.block
import numpy as np
from dectris.compression import decompress
from numpy.typing import NDArray

TYPED = {64: "u1", 69: "<u2", 70: "<u4", 72: "i1", 77: "<i2", 78: "<i4", 85: "<f4", 86: "<f8", 65: ">u2", 66: ">u4"}
TAGS = {np.dtype(name): tag for tag, name in TYPED.items()}
BLOCK_BYTES = 8192


def from_hex(text: str) -> bytes:
    """Bytes of hex digits; what follows a # is a remark."""
    return bytes.fromhex("".join(line.split("#")[0] for line in text.splitlines()))


def read_public(message: bytes) -> Any:
    """Read one message; arrays as NumPy arrays."""

    def hook(tag: cbor2.CBORTag, immutable: bool) -> Any:
        if tag.tag == 40:
            shape, values = tag.value
            return np.reshape(values, shape)
        if tag.tag in TYPED:
            return np.frombuffer(tag.value, TYPED[tag.tag])
        if tag.tag == 56500:
            algorithm, element_size, packed = tag.value
            return decompress(packed, algorithm, elem_size=element_size)
        return tag

    return cbor2.loads(message, tag_hook=hook)


def write_public(fields: dict[str, Any], compression: str = "none", **options: Any) -> bytes:
    """Write one message; NumPy arrays inside become tag 40, compressed where asked."""

    def default(encoder: Any, value: Any) -> None:
        encoder.encode(public_array(value, compression))

    return cbor2.dumps(fields, default=default, **options)


def public_array(array: NDArray[Any], compression: str = "none", block_bytes: int = BLOCK_BYTES) -> cbor2.CBORTag:
    """A NumPy array as CBOR tag 40."""
    content: Any = array.tobytes()
    if compression == "bslz4":
        content = cbor2.CBORTag(56500, ["bslz4", array.itemsize, _bslz4(array, block_bytes)])
    if compression == "lz4":
        content = cbor2.CBORTag(56500, ["lz4", 0, _lz4(content, block_bytes)])
    return cbor2.CBORTag(40, [list(array.shape), cbor2.CBORTag(TAGS[array.dtype], content)])


def _bslz4(array: NDArray[Any], block_bytes: int) -> bytes:
    packed = bitshuffle.compress_lz4(np.ascontiguousarray(array), block_bytes // array.itemsize)
    return struct.pack(">QI", array.nbytes, block_bytes) + packed.tobytes()


def _lz4(raw: bytes, block_bytes: int) -> bytes:
    parts = [struct.pack(">QI", len(raw), block_bytes)]
    for start in range(0, len(raw), block_bytes):
        block = raw[start : start + block_bytes]
        packed = lz4.block.compress(block, store_size=False)
        kept = packed if len(packed) < len(block) else block
        parts.append(struct.pack(">I", len(kept)) + kept)
    return b"".join(parts)
