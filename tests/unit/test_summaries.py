"""Summaries of results to CBOR and back."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import WireError
from service.records import ResultSummary, SeriesStatus
from service.wire import arrays
from service.wire.summaries import decode_summary, encode_summary
from tests.helpers.public_format import read_public
from tests.helpers.streams import FIGURES
from tests.helpers.streams import summary as summary_of

WHERE = {"path": Path("/results/7.h5"), "picture": Path("/results/7.png")}
FAILED = summary_of(4, SeriesStatus.FAILED, slices={}, error="no counts")


@pytest.mark.parametrize("summary", [summary_of(3, **WHERE), FAILED], ids=["done", "failed"])
def test_round_trip(summary: ResultSummary) -> None:
    back = decode_summary(encode_summary(summary))
    for field in dataclasses.fields(summary):
        np.testing.assert_equal(getattr(back, field.name), getattr(summary, field.name))
    assert isinstance(back.status, SeriesStatus)
    assert all(plane.dtype == np.float32 for plane in back.slices.values())


def test_read_with_public_means() -> None:
    read = read_public(encode_summary(summary_of(3, **WHERE)))
    assert (read["type"], read["sequence"], read["status"], read["path"]) == ("result", 3, "done", "/results/7.h5")
    assert read["figures"] == dataclasses.asdict(FIGURES)
    assert read["slices"]["amplitude"].shape == (5, 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "image"}, "no map of type 'result'"),
        ({"sequence": "3"}, "sequence is str"),
        ({"series_unique_id": 3}, "series_unique_id is int"),
        ({"status": "splendid"}, "splendid"),
        ({"accounting": {"sent": 3}}, "missing"),
        ({"accounting": 3}, "accounting is int"),
        ({"figures": {"beauty": 1}}, "beauty"),
        ({"slices": {"amplitude": [1, 2]}}, "slice amplitude"),
        ({"latencies_s": {"invert": "long"}}, "long"),
        ({"latency_s": "long"}, "long"),
        ({"notes": 5}, "iterable"),
        ({"finished_at": None}, "float"),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    tree = arrays.decode(encode_summary(summary_of(3))) | changes
    with pytest.raises(WireError) as error:
        decode_summary(arrays.encode(tree))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_newer_fields_are_ignored() -> None:
    tree = arrays.decode(encode_summary(summary_of(3))) | {"colour": "red"}
    assert decode_summary(arrays.encode(tree)).sequence == 3


@settings(max_examples=300, deadline=None)
@given(flips=st.lists(st.integers(0, 10**6), min_size=1, max_size=3), length=st.floats(0, 1))
def test_damaged(flips: list[int], length: float) -> None:
    raw = bytearray(encode_summary(summary_of(3, **WHERE)))
    for flip in flips:
        raw[flip // 8 % len(raw)] ^= 1 << flip % 8
    for damaged in (bytes(raw), bytes(raw[: round(length * len(raw))])):
        with contextlib.suppress(WireError):
            assert isinstance(decode_summary(damaged), ResultSummary)
