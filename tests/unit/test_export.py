"""Exported networks: what ONNX's own evaluator computes from them, and that TensorRT builds each, without a GPU."""

from __future__ import annotations

import functools

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn

from models import registry
from models.engine import export, tensorrt_build
from models.engine.measure import relative_error
from models.engine.port import specs
from models.engine.precision import Precise, Precision
from models.unet import UNet
from tests.helpers.networks import SHAPE, builds_tensorrt, small_unet

BATCH = (1, 4)


@functools.cache
def exported(precision: Precision) -> bytes:
    return export.onnx_model(small_unet(), SHAPE, batch=BATCH, precision=precision)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("fp16", 3e-3)])  # it knows no bfloat16
def test_the_model_computes_what_the_module_does(precision: Precision, tolerance: float) -> None:
    evaluator = ReferenceEvaluator(onnx.load_from_string(exported(precision)))
    for items in (1, 3):
        volumes = torch.randn(items, *SHAPE)
        (result,) = evaluator.run(None, {"volume": volumes.numpy()})
        assert result.dtype == np.float32
        assert relative_error(torch.from_numpy(result), small_unet()(volumes)) < tolerance


def test_the_model_says_what_it_is() -> None:
    model = onnx.load_from_string(exported("fp16"))
    onnx.checker.check_model(model)
    assert [(known.domain, known.version) for known in model.opset_import] == [("", export.OPSET)]
    ends = {value.name: value.type.tensor_type for value in (*model.graph.input, *model.graph.output)}
    assert {name: tensor.elem_type for name, tensor in ends.items()} == dict.fromkeys(
        ("volume", "result"), onnx.TensorProto.FLOAT
    )
    assert all(tensor.shape.dim[0].dim_param == "batch" for tensor in ends.values())


def test_the_same_module_gives_the_same_bytes() -> None:
    again = export.onnx_model(small_unet(), SHAPE, batch=BATCH)
    assert again == exported("fp32")
    assert b".py" not in again  # nothing of where it was exported


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "NEEDS", ("onnx", "no_such_package"))
    with pytest.raises(ValueError, match=r"needs no_such_package: pip install 'braggloop\[tensorrt\]'"):
        export.onnx_model(small_unet(), SHAPE)
    monkeypatch.setattr(tensorrt_build, "MODULES", ("no_such_package",))
    with pytest.raises(ValueError, match=r"not installed: pip install 'braggloop\[tensorrt\]', or choose the torch"):
        tensorrt_build.library.__wrapped__()


def build(module: nn.Module, shape: tuple[int, ...], model: bytes, batch: tuple[int, int] = BATCH) -> bytes:
    return tensorrt_build.build(model, specs(module, shape, batch)[0])


@builds_tensorrt
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_tensorrt_builds_the_model_in_each_precision(precision: Precision) -> None:
    assert len(build(small_unet(), SHAPE, exported(precision))) > len(exported(precision))


@builds_tensorrt
def test_tensorrt_builds_the_whole_unet_for_one_batch_alone() -> None:
    module, shape, batch = UNet(), (1, 64, 64, 64), (2, 2)
    assert build(module, shape, export.onnx_model(module, shape, batch=batch, precision="bf16"), batch)


@builds_tensorrt
@pytest.mark.parametrize("name", registry.names())
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_tensorrt_builds_every_trained_network(name: str, precision: Precision) -> None:
    found = registry.network(name)
    module, shape = registry.build(found), found.card.input_shape
    assert build(module, shape, export.onnx_model(module, shape, batch=BATCH, precision=precision))


@builds_tensorrt
def test_tensorrt_says_why_it_cannot() -> None:
    with pytest.raises(ValueError, match=r"^tensorrt\w* [\d.]+ cannot read the model: .*ONNX"):
        build(small_unet(), SHAPE, exported("fp32")[:100])
    with pytest.raises(ValueError, match=r"^tensorrt\w* [\d.]+ cannot build the model: .*"):
        build(small_unet(), (1, 24, 16, 16), exported("fp32"))  # a profile for other volumes


@builds_tensorrt
def test_tensorrt_for_rtx_has_no_transposed_convolution_in_bfloat16() -> None:
    """Why `onnx_model` leaves them in float32; where this fails, it need not any more."""
    if not tensorrt_build.version().startswith("tensorrt_rtx"):
        pytest.skip("TensorRT proper is installed")
    layer, model = nn.ConvTranspose3d(8, 8, 2, stride=2), onnx.load_from_string(exported("bf16"))
    assert any(node.op_type == "ConvTranspose" for node in model.graph.node)
    with pytest.raises(ValueError, match=r"cannot build the model: .*deconv"):
        build(layer, (8, 4, 4, 4), _plain(layer))


def _plain(layer: nn.Module) -> bytes:
    volumes = (torch.zeros(4, 8, 4, 4, 4),)
    batch = ({0: torch.export.Dim("batch", min=1, max=4)},)
    with export._quiet():
        program = torch.onnx.export(
            Precise(layer, "bf16"), volumes, dynamo=True, opset_version=export.OPSET, input_names=["volume"],
            output_names=["result"], dynamic_shapes=batch, verbose=False,
        )  # fmt: skip
    assert program is not None
    return program.model_proto.SerializeToString()
