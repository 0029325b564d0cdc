"""A model in which onnxruntime itself fails, for some images only."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from tests.contract.runtime.conftest import CLASSES, INPUT, OUTPUT

FAILS_ABOVE = 200
"""An image that is fuller of red than this makes the graph fail."""


def failing_model() -> bytes:
    """Softmax over a projection of the mean colour, which is reshaped to four values where red is above the limit."""
    constants: dict[str, np.ndarray] = {
        "axes": np.array([1, 2], np.int64),
        "red": np.array([0], np.int64),
        "limit": np.array([[FAILS_ABOVE]], np.float32),
        "three": np.array([3], np.int64),
        "one": np.array([1], np.int64),
        "first": np.array([0], np.int64),
        "projection": np.ones((3, CLASSES), np.float32),
    }
    nodes = [
        helper.make_node("Cast", [INPUT], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Gather", ["mean", "red"], ["mean_red"], axis=1),
        helper.make_node("Greater", ["mean_red", "limit"], ["over"]),
        helper.make_node("Cast", ["over"], ["over_number"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["over_number", "one"], ["more"]),
        helper.make_node("Add", ["three", "more"], ["length"]),
        helper.make_node("Reshape", ["mean", "length"], ["flat"]),
        helper.make_node("MatMul", ["flat", "projection"], ["vector"]),
        helper.make_node("Unsqueeze", ["vector", "first"], ["scores"]),
        helper.make_node("Softmax", ["scores"], [OUTPUT], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "failing",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [1, "height", "width", 3])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())
