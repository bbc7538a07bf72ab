"""CBOR and its arrays: the corners that detectors do not use, but others may."""

from __future__ import annotations

from typing import Any

import cbor2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from service.errors import WireError
from service.wire import arrays, cbor, compression
from tests.helpers.public_format import from_hex

COMPRESSIONS = ("none", "lz4", "bslz4")


class TestRoundTrip:
    @settings(max_examples=40, deadline=None)
    @given(
        array=hnp.arrays(
            st.sampled_from(["<f4", "<f8", "<i8", "<u8", "<f2"]), hnp.array_shapes(max_dims=4, max_side=12)
        ),
        packed=st.sampled_from(COMPRESSIONS),
    )
    def test_arrays_of_any_kind(self, array: Any, packed: compression.Compression) -> None:
        np.testing.assert_array_equal(arrays.decode(arrays.encode(array, packed)), array)

    def test_empty_array(self) -> None:
        assert arrays.decode(arrays.encode(np.zeros((0, 3), "<u2"), "bslz4")).shape == (0, 3)

    @settings(max_examples=100, deadline=None)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.floats() | st.text() | st.binary(),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        )
    )
    def test_plain_items_agree_with_cbor2(self, value: Any) -> None:
        ours = arrays.encode(value)
        np.testing.assert_equal(cbor2.loads(ours), value)
        for indefinite in (False, True):
            np.testing.assert_equal(
                arrays.decode(cbor2.dumps(value, indefinite_containers=indefinite, canonical=not indefinite)), value
            )

    def test_numpy_scalars_and_other_things(self) -> None:
        assert arrays.decode(arrays.encode([np.float32(0.5), np.int64(3), np.bool_(True)])) == [0.5, 3, True]
        with pytest.raises(TypeError, match="cannot be written as CBOR: set"):
            arrays.encode({1, 2})
        with pytest.raises(TypeError, match="complex64"):
            arrays.encode(np.zeros(3, np.complex64))
        with pytest.raises(ValueError, match="out of 64 bits"):
            arrays.encode(2**64)

    def test_large_arrays_are_not_compressed(self) -> None:
        huge = np.broadcast_to(np.uint8(0), (1 << 15, (1 << 15) + 1))
        with pytest.raises(ValueError, match="at most"):
            compression.compress("lz4", huge)


class TestItems:
    """Corners of CBOR that detectors do not use, but others may."""

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("f9 3c00", 1.0),
            ("fa 47c35000", 100000.0),
            ("f7", None),
            ("5f 42 0102 41 03 ff", b"\1\2\3"),
            ("7f 61 61 61 62 ff", "ab"),
            ("bf 61 61 01 ff", {"a": 1}),
            ("9f 01 82 02 03 ff", [1, [2, 3]]),
            ("c1 1a 514b67b0", 1363896240),
            ("d9 d9f7 81 01", [1]),
            ("3b ffffffffffffffff", -(2**64)),
            ("d828 82 82 02 02 84 01 02 03 fb 4010000000000000", [[1, 2], [3, 4]]),
            ("d9 0410 82 82 02 02 d840 44 01020304", [[1, 3], [2, 4]]),
            ("d9dcb4 83 63 6c7a34 00 50 0000000000000003 00000003 00000003 010203".replace("50 ", "53 "), b"\1\2\3"),
            ("a1 01 02", {1: 2}),
        ],
    )
    def test_read(self, text: str, value: Any) -> None:
        np.testing.assert_equal(arrays.decode(from_hex(text)), value)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "truncated"),
            ("1c", "not CBOR"),
            ("ff", "break outside"),
            ("81 ff", "break outside"),
            ("e0", "simple value"),
            ("01 02", "1 bytes follow"),
            ("9a ffffffff", "array of 4294967295 items"),
            ("bb 00ffffffffffffff", "map of"),
            ("5b ffffffffffffffff", "truncated"),
            ("61 ff", "UTF-8"),
            ("a1 80 01", "neither text nor integer"),
            ("a2 61 61 01 61 61 02", "comes twice"),
            ("5f 61 61 ff", "foreign chunk"),
            ("5f 5f ff ff", "foreign chunk"),
            ("81" * 40 + "01", "nests deeper"),
            ("d845 01", "typed array around int"),
            ("d845 43 010203", "takes 2 bytes, the message has 3"),
            ("d828 01", "not [dimensions, array]"),
            ("d828 82 82 02 02 01", "not [dimensions, array]"),
            ("d828 82 82 20 20 d840 41 01", "dimensions"),
            ("d828 82 80 d840 41 01", "dimensions"),
            ("d828 82 82 02 02 81 01", "expected 4 numbers"),
            ("d828 82 81 01 81 61 61", "expected 1 numbers"),
            ("d828 82 82 1b 000000174876e800 01 d840 41 01", "takes 100000000000 bytes"),
            ("d828 82 82 00 1b 8000000000000000 d840 40", "array dimensions"),
            ("d828 82 84 00 1a ffffffff 1a ffffffff 1a ffffffff d840 40", "array dimensions"),
            ("d9dcb4 82 63 6c7a34 00", "not [algorithm"),
            ("d9dcb4 83 64 7a737464 00 50 00000000000000000000000000000000", "'zstd'"),
            ("d9dcb4 83 63 6c7a34 00 41 00", "framing"),
            ("d9dcb4 83 63 6c7a34 00 50 ffffffffffffffff 00000003 00000000", "may hold"),
            ("d9dcb4 83 63 6c7a34 00 50 0000000020000000 20000000 00000000", "cannot hold"),
            ("d9dcb4 83 63 6c7a34 00 51 0000000000000100 00000001 00000001 00", "blocks of 1 bytes"),
            ("d9dcb4 83 63 6c7a34 00 52 0000000000000100 00000100 00000002 ffff", "damaged in block 0"),
            ("d9dcb4 83 63 6c7a34 00 52 0000000000000100 00000100 ffffffff ffff", "blocks end at"),
            ("d9dcb4 83 63 6c7a34 00 4e 0000000000000100 00000080 0000", "before block 0"),
            ("d9dcb4 83 63 6c7a34 00 4c 0000000000000001 00000080", "before block 0"),
            ("d9dcb4 83 63 6c7a34 00 51 0000000000000050 00000040 00000001 ff", "before block 1"),
            ("d9dcb4 83 65 62736c7a34 03 50 0000000000000100 00000100 00000000", "impossible for elements of 3"),
            ("d9dcb4 83 65 62736c7a34 02 52 0000000000000100 00000100 00000002 ffff", "native code"),
        ],
    )
    def test_refused_in_one_line(self, text: str, message: str) -> None:
        with pytest.raises(WireError) as error:
            arrays.decode(from_hex(text))
        assert message in str(error.value)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 200

    def test_array_in_a_list_without_length(self) -> None:
        (found,) = arrays.decode(from_hex("9f d828 82 81 02 d840 42 0102 ff"))
        np.testing.assert_array_equal(found, [1, 2])

    def test_too_many_items(self) -> None:
        with pytest.raises(WireError, match="more than"):
            cbor.decode(bytes((0x9A, 0, 4, 0, 0)) + bytes(1 << 18))
        with pytest.raises(WireError, match="more than"):
            cbor.decode(b"\x5f" + b"\x41a" * (cbor.MAX_ITEMS + 1))
