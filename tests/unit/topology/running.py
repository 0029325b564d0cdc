"""Runs an ONNX model as it is, and as its split parts one after the other."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime

from accelform.conversion.split import SplitModel
from accelform_runtime.network.reference import Reference
from accelform_runtime.numerics import load_profile

FLOAT32 = load_profile("float32")


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run_whole(model: onnx.ModelProto, image: np.ndarray) -> dict[str, np.ndarray]:
    running = session(model)
    names = [output.name for output in running.get_outputs()]
    return dict(zip(names, running.run(names, {running.get_inputs()[0].name: image}), strict=True))


def run_split(split: SplitModel, image: np.ndarray) -> dict[str, np.ndarray]:
    """Front and head in onnxruntime, the network in its NumPy definition, in float32."""
    if split.front is not None:
        (image,) = _graph(split.front, split.opset, {split.inputs[0].name: image}).values()
    assert image.dtype == np.float32
    assert image.shape == (1, split.network.image.height, split.network.image.width, split.network.image.channels)
    found = Reference(split.network, split.parameters, FLOAT32).run(image[0])
    tensors = {name: values[np.newaxis] for name, values in found.items()}
    if split.head is None:
        return tensors
    return _graph(split.head, split.opset, tensors)


def _graph(graph: onnx.GraphProto, opset: int, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    running = session(model)
    names = [output.name for output in running.get_outputs()]
    return dict(zip(names, running.run(names, feeds), strict=True))


def assert_close(expected: dict[str, np.ndarray], found: dict[str, np.ndarray], *, tolerance: float = 2e-4) -> None:
    """Every tensor of the same shape, and equal within `tolerance` of its largest value."""
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].shape == values.shape, name
        largest = float(np.abs(values).max())
        assert float(np.abs(values - found[name]).max()) <= tolerance * max(largest, 1e-6), name
