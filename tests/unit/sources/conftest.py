from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

CLASSES = 3


@pytest.fixture(autouse=True)
def _own_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELFORM_IMPORTS", str(tmp_path / "imports"))


@pytest.fixture
def write_onnx(tmp_path: Path) -> Callable[..., Path]:
    """Writes a network of one convolution and a classifier, NCHW, and returns the file's path."""

    def write(name: str = "net.onnx", *, seed: int = 0, external: str = "", nan: str = "", side: int = 8) -> Path:
        random = np.random.default_rng(seed)
        shapes = {"w": (4, 3, 3, 3), "b": (4,), "dense": (4, CLASSES)}
        tensors = []
        for key, shape in shapes.items():
            array = random.normal(size=shape).astype(np.float32)
            if key == nan:
                array.reshape(-1)[0] = np.nan
            tensors.append(numpy_helper.from_array(array, key))
        nodes = [
            helper.make_node("Conv", ["image", "w", "b"], ["conv"], pads=[1, 1, 1, 1], name="conv"),
            helper.make_node("Relu", ["conv"], ["relu"]),
            helper.make_node("GlobalAveragePool", ["relu"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["features"]),
            helper.make_node("MatMul", ["features", "dense"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=-1),
        ]
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, side, side])
        output = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", CLASSES])
        graph = helper.make_graph(nodes, "small", [image], [output], tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if external:
            onnx.save_model(model, path, save_as_external_data=True, location=external, size_threshold=0)
        else:
            path.write_bytes(model.SerializeToString())
        return path

    return write
