"""Multiply-accumulates by shapes."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from accelform.conversion.work import fpga_share, multiply_accumulates


def graph(*nodes: onnx.NodeProto, **arrays: np.ndarray) -> onnx.GraphProto:
    return helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 9, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )


def test_every_weighed_operator_is_counted_for_one_image() -> None:
    """Strides, groups, transposed convolutions, and dense layers behind a reshape whose shape is a constant."""
    found = multiply_accumulates(
        graph(
            helper.make_node("Conv", ["x", "w"], ["a"], strides=[2, 2]),
            helper.make_node("Conv", ["a", "grouped"], ["b"], group=2, pads=[1, 1, 1, 1]),
            helper.make_node("ConvTranspose", ["b", "back"], ["c"], strides=[2, 2]),
            helper.make_node("GlobalAveragePool", ["c"], ["d"]),
            helper.make_node("Reshape", ["d", "shape"], ["e"]),
            helper.make_node("Gemm", ["e", "matrix"], ["y"], transB=1),
            w=np.ones((6, 3, 3, 3), np.float32),
            grouped=np.ones((6, 3, 3, 3), np.float32),
            back=np.ones((6, 5, 2, 2), np.float32),
            shape=np.array([-1, 5], np.int64),
            matrix=np.ones((7, 5), np.float32),
        ),
        17,
    )

    assert found == 4 * 4 * 6 * 27 + 4 * 4 * 6 * 27 + 4 * 4 * 6 * 5 * 4 + 5 * 7


def test_what_can_not_be_counted_is_not_guessed() -> None:
    """A share of what is not known is none."""
    nodes = (helper.make_node("Resize", ["x", "", "", "sizes"], ["a"]), helper.make_node("Conv", ["a", "w"], ["y"]))
    arrays = {"w": np.ones((6, 3, 3, 3), np.float32)}
    unknown = graph(*nodes, **arrays)
    unknown.input.append(helper.make_tensor_value_info("sizes", TensorProto.INT64, [4]))

    assert multiply_accumulates(unknown, 17) is None
    assert fpga_share(10, None) is None
    assert fpga_share(10, 40) == 0.25
