"""What a failing call of the TensorRT engine says; the part of it that needs no GPU."""

from __future__ import annotations

import pytest

from models.engine.tensorrt import first_cause
from tests.helpers.networks import builds_tensorrt


def test_a_failure_while_a_graph_is_recorded_is_the_cause_and_not_what_torch_makes_of_it() -> None:
    with pytest.raises(RuntimeError, match="previous error during capture") as raised:
        broken_capture()
    assert str(first_cause(raised.value)) == "tensorrt 1.2 failed: no kernel; choose the torch backend"


def broken_capture() -> None:
    """Fail as torch.cuda.graph does: an error within is followed by one when the capture is ended."""
    try:
        raise ValueError("tensorrt 1.2 failed: no kernel; choose the torch backend")
    finally:
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture")


@builds_tensorrt
def test_what_torch_alone_says_is_one_line() -> None:
    said = str(first_cause(RuntimeError("CUDA error: no kernel image\n" + "Compile with ...\n" * 100)))
    assert "failed: CUDA error: no kernel image Compile" in said
    assert said.endswith("; choose the torch backend")
    assert "\n" not in said
    assert len(said) < 400
