"""TensorRT on a GPU: engines are built once, kept whole, and their work stays in order with the caller's stream."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.engine.tensorrt import SUFFIX, TensorRTEngine
from tests.helpers.networks import SHAPE, needs_cuda, needs_tensorrt, small_unet

pytestmark = [pytest.mark.gpu, needs_cuda, needs_tensorrt]


def make(cache: Path) -> TensorRTEngine:
    return TensorRTEngine(small_unet(), SHAPE, precision="fp16", cache=cache)


def test_an_engine_is_built_once(tmp_path: Path) -> None:
    make(tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.suffix == SUFFIX
    built_ns = file.stat().st_mtime_ns
    make(tmp_path)
    assert [(file, file.stat().st_mtime_ns) for file in tmp_path.iterdir()] == [(file, built_ns)]


def test_a_damaged_engine_is_told(tmp_path: Path) -> None:
    make(tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"does not load .*delete the file if it is damaged"):
        make(tmp_path)


def test_calls_from_two_streams_do_not_overtake_each_other(tmp_path: Path) -> None:
    engine, streams = make(tmp_path), [torch.cuda.Stream() for _ in range(2)]
    volumes = [torch.randn(1, *SHAPE, device="cuda") for _ in streams]
    alone = [engine.run(some) for some in volumes]
    torch.cuda.synchronize()
    for _ in range(50):
        results = []
        for stream, some in zip(streams, volumes, strict=True):
            with torch.cuda.stream(stream):
                results.append(engine.run(some))
        torch.cuda.synchronize()
        assert all(torch.equal(one, other) for one, other in zip(results, alone, strict=True))
