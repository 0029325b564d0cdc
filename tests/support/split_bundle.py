"""A small model as the conversion writes it: one graph, and the same in parts: front, FPGA network, head.

On small whole numbers block floating point rounds nothing, so the graph needs no quantiser to equal the definition.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from onnx import GraphProto, TensorProto, helper, numpy_helper

from accelform_runtime.network.network import Network, Output
from accelform_runtime.network.packed import write_packed
from accelform_runtime.network.parameters import StepArrays
from accelform_runtime.network.steps import Convolution, Maps, Mean, Window
from accelform_runtime.numerics.format import load_profile

SIDE, CHANNELS, FEATURES, CLASSES = 4, 3, 8, 5
INPUT, IMAGE = "Placeholder:0", "net/image:0"
MAPS, MEANS, PREDICTION = "net/maps:0", "net/features:0", "classifier/Softmax:0"
SUMS = SIDE * SIDE * FEATURES

Arrays = dict[str, np.ndarray]


def network() -> Network:
    """A convolution with ReLU, and the mean of its maps."""
    window = Window(kernel=(3, 3), padding=(1, 1, 1, 1))
    return Network(
        name="net",
        image=Maps(height=SIDE, width=SIDE, channels=CHANNELS),
        steps=(
            Convolution(
                name="net/conv",
                source="image",
                in_channels=CHANNELS,
                out_channels=FEATURES,
                window=window,
                weights="net/conv/weights",
                relu=True,
            ),
            Mean(name="net/mean", source="net/conv"),
        ),
        outputs=(
            Output(tensor=MAPS, value="net/conv", shape=(SIDE, SIDE, FEATURES)),
            Output(tensor=MEANS, value="net/mean", shape=(1, 1, FEATURES)),
        ),
    )


def arrays() -> Arrays:
    """Weights of the convolution and of the classifier behind it."""
    random = np.random.default_rng(3)
    return {
        "weights": random.integers(-3, 4, (3, 3, CHANNELS, FEATURES)).astype(np.float32),
        "biases": random.integers(-8, 9, FEATURES).astype(np.float32),
        "classifier": (random.normal(size=(FEATURES, CLASSES)) / 8).astype(np.float32),
    }


def plain_image(seed: int = 0) -> np.ndarray:
    """float32 [1, channels, height, width] of small whole numbers: every sum is proven."""
    return np.random.default_rng(seed).integers(-5, 6, (1, CHANNELS, SIDE, SIDE)).astype(np.float32)


def uneven_image() -> np.ndarray:
    """Pixels so far apart that the order of addition could show: no sum beside the large one is proven."""
    image = plain_image(1)
    image[:, :, 0, 0], image[:, :, 0, 1] = 31.0 * 2**-14, 31.0 * 2**10
    return image


def write_split_bundle(folder: Path, *, parts: bool = True, number_format: str = "bw-a10-cnn", **changes: Any) -> Path:
    """The bundle; without `parts`, only the whole graph. `changes` are to its description."""
    folder.mkdir(parents=True)
    files = {"model.onnx": _model()}
    if parts:
        fmt, own = load_profile(number_format), arrays()
        steps = {"net/conv": StepArrays(weights=own["weights"], bias=own["biases"])}
        write_packed(folder / "fpga.npz", network(), steps, fmt)
        content = {"network": network().as_dict(), "number_format": number_format, "image_tensor": IMAGE}
        files |= {"fpga.json": json.dumps(content).encode(), "front.onnx": _front(), "head.onnx": _head()}
        files["fpga.npz"] = (folder / "fpga.npz").read_bytes()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    description = {
        "schema": 3,
        "name": "split",
        "version": "1",
        "family": None,
        "number_format": number_format,
        "method_name": "tensorflow/serving/predict",
        "inputs": [_tensor(INPUT, "images", CHANNELS, SIDE, SIDE) | {"encoding": ""}],
        "outputs": [_tensor(PREDICTION, "output_alias", CLASSES), _tensor(MAPS, "out_1", SIDE, SIDE, FEATURES)],
        "labels": [],
        "estimate": {"latency_ms": 1.0, "occupancy_ms": 0.5},
        "files": {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)} for name, data in files.items()
        },
        **changes,
    }
    (folder / "bundle.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


def _tensor(name: str, alias: str, *shape: int) -> dict[str, Any]:
    return {"name": name, "alias": alias, "dtype": "DT_FLOAT", "shape": [-1, *shape]}


def _front() -> bytes:
    nodes = [helper.make_node("Transpose", [INPUT], [IMAGE], perm=[0, 2, 3, 1])]
    return _graph(nodes, {INPUT: [1, CHANNELS, SIDE, SIDE]}, {IMAGE: [1, SIDE, SIDE, CHANNELS]}, {})


def _head() -> bytes:
    constants = {"flat": np.array([1, -1], np.int64), "w": arrays()["classifier"]}
    return _graph(_classify(), {MEANS: [1, 1, 1, FEATURES]}, {PREDICTION: [1, CLASSES]}, constants)


def _model() -> bytes:
    own = arrays()
    constants = {
        "flat": np.array([1, -1], np.int64),
        "w": own["classifier"],
        "kernel": np.ascontiguousarray(own["weights"].transpose(3, 2, 0, 1)),
        "biases": own["biases"],
    }
    nodes = [
        helper.make_node("Conv", [INPUT, "kernel", "biases"], ["sums"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["sums"], ["maps"]),
        helper.make_node("Transpose", ["maps"], [MAPS], perm=[0, 2, 3, 1]),
        helper.make_node("GlobalAveragePool", ["maps"], ["mean"]),
        helper.make_node("Cast", ["mean"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["half"], [MEANS], to=TensorProto.FLOAT),
        *_classify(),
    ]
    outputs = {PREDICTION: [1, CLASSES], MAPS: [1, SIDE, SIDE, FEATURES]}
    return _graph(nodes, {INPUT: [1, CHANNELS, SIDE, SIDE]}, outputs, constants)


def _classify() -> list[Any]:
    return [
        helper.make_node("Reshape", [MEANS, "flat"], ["vector"]),
        helper.make_node("MatMul", ["vector", "w"], ["scores"]),
        helper.make_node("Softmax", ["scores"], [PREDICTION], axis=-1),
    ]


def _graph(nodes: list[Any], inputs: dict[str, list[int]], outputs: dict[str, list[int]], constants: Arrays) -> bytes:
    graph: GraphProto = helper.make_graph(
        nodes,
        "split",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())
