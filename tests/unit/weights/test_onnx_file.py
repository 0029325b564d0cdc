"""Initialisers of ONNX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from accelform.errors import WeightsUnreadable
from accelform.featurizers.weights.onnx_file import read_onnx

WEIGHTS = np.arange(3 * 3 * 2 * 5, dtype=np.float32).reshape(3, 3, 2, 5)
GAMMA = np.array([1, 2, 3, 4, 5], np.float32)


def model(initializers: list[TensorProto], convolution_weights: str = "") -> onnx.ModelProto:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 2, 8, 8])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
    if convolution_weights:
        node = helper.make_node("Conv", ["image", convolution_weights], ["output"])
    else:
        node = helper.make_node("Identity", ["image"], ["output"])
    return helper.make_model(helper.make_graph([node], "net", [image], [output], initializers))


def test_a_convolutions_weights_turn_to_hwio(tmp_path: Path) -> None:
    """A Conv node's weights are OIHW by definition; others are HWIO already; names may end in :0; constants pass by."""
    oihw = np.ascontiguousarray(WEIGHTS.transpose(3, 2, 0, 1))
    initializers = [
        numpy_helper.from_array(oihw, "resnet_v1_50/conv1/weights:0"),
        numpy_helper.from_array(WEIGHTS, "resnet_v1_50/conv2/weights"),
        numpy_helper.from_array(GAMMA, "resnet_v1_50/conv1/BatchNorm/gamma"),
        numpy_helper.from_array(np.array([1, -1]), "shape_constant"),
    ]
    onnx.save(model(initializers, "resnet_v1_50/conv1/weights:0"), tmp_path / "a.onnx")
    result = read_onnx(tmp_path / "a.onnx")

    assert set(result) == {
        f"resnet_v1_50/{name}" for name in ("conv1/weights", "conv2/weights", "conv1/BatchNorm/gamma")
    }
    np.testing.assert_array_equal(result["resnet_v1_50/conv1/weights"], WEIGHTS)
    np.testing.assert_array_equal(result["resnet_v1_50/conv2/weights"], WEIGHTS)
    np.testing.assert_array_equal(result["resnet_v1_50/conv1/BatchNorm/gamma"], GAMMA)


def external(location: str, length: int = GAMMA.nbytes) -> TensorProto:
    tensor = TensorProto(name="resnet_v1_50/conv1/BatchNorm/gamma", data_type=TensorProto.FLOAT, dims=[5])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def test_external_data_beside_the_file_is_read(tmp_path: Path) -> None:
    """Large models keep their arrays in a second file of the same folder."""
    (tmp_path / "a.data").write_bytes(GAMMA.tobytes())
    onnx.save(model([external("a.data")]), tmp_path / "a.onnx")

    np.testing.assert_array_equal(read_onnx(tmp_path / "a.onnx")["resnet_v1_50/conv1/BatchNorm/gamma"], GAMMA)


@pytest.mark.parametrize("location", ["../secret", "{folder}/secret", "link", "", "nested/../../secret", "missing"])
def test_external_data_elsewhere_is_refused(tmp_path: Path, location: str) -> None:
    """No path, link or absence makes the reader open another file."""
    folder = tmp_path / "model"
    (folder / "nested").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(GAMMA.tobytes())
    (folder / "link").symlink_to(tmp_path / "secret")
    onnx.save(model([external(location.format(folder=tmp_path))]), folder / "a.onnx")
    with pytest.raises(WeightsUnreadable, match="gamma has its data in"):
        read_onnx(folder / "a.onnx")


def test_external_data_that_is_too_short_is_refused(tmp_path: Path) -> None:
    """A cut data file is unreadable, not half an array."""
    (tmp_path / "a.data").write_bytes(GAMMA.tobytes()[:8])
    onnx.save(model([external("a.data", length=8)]), tmp_path / "a.onnx")
    with pytest.raises(WeightsUnreadable, match=r"a\.onnx can't be read"):
        read_onnx(tmp_path / "a.onnx")


def test_damage_and_false_sizes_are_reported(tmp_path: Path) -> None:
    """Foreign bytes, and an array that claims more than the limit, are refused before memory is taken."""
    path = tmp_path / "a.onnx"
    path.write_bytes(b"not a protobuf at all")
    with pytest.raises(WeightsUnreadable, match="can't be read as an ONNX file"):
        read_onnx(path)
    onnx.save(model([TensorProto(name="resnet_v1_50/x", data_type=TensorProto.FLOAT, dims=[1 << 40])]), path)
    with pytest.raises(WeightsUnreadable, match="1024 MiB"):
        read_onnx(path)
