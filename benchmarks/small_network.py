"""A network of about a millisecond, as a bundle: beside it, what a call costs can be seen."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LAYERS = 5
WIDTH = 256


def bundle(folder: Path, name: str = "small") -> Path:
    """Writes the network's bundle into `folder`, under `name`."""
    folder.mkdir(parents=True)
    model = _model()
    (folder / "model.onnx").write_bytes(model)
    description = {
        "schema": 3,
        "name": name,
        "version": "1",
        "family": "small",
        "number_format": "float32",
        "method_name": "tensorflow/serving/predict",
        "inputs": [{"name": "in:0", "alias": "images", "encoding": "image", "dtype": "DT_STRING", "shape": [-1]}],
        "outputs": [{"name": "out:0", "alias": "output_alias", "dtype": "DT_FLOAT", "shape": [-1, WIDTH]}],
        "labels": [],
        "estimate": {"latency_ms": 1.0, "occupancy_ms": 1.0},
        "files": {"model.onnx": {"sha256": hashlib.sha256(model).hexdigest(), "size_bytes": len(model)}},
    }
    (folder / "bundle.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


def _model() -> bytes:
    # One small matrix for all layers: weights that fill the cache would measure whose copy is in it.
    random = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {
        "axes": np.array([1, 2], np.int64),
        "rows": np.array([0], np.int64),
        "w0": random.normal(size=(3, WIDTH)).astype(np.float32),
        "spread": random.normal(size=(WIDTH, WIDTH)).astype(np.float32),
        "w": (random.normal(size=(WIDTH, WIDTH)) / WIDTH).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["in:0"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "w0"], ["colour"]),
        helper.make_node("Mul", ["colour", "spread"], ["h0"]),
    ]
    nodes += [helper.make_node("MatMul", [f"h{layer}", "w"], [f"h{layer + 1}"]) for layer in range(LAYERS)]
    nodes.append(helper.make_node("ReduceMean", [f"h{LAYERS}", "rows"], ["scores"]))
    nodes.append(helper.make_node("Softmax", ["scores"], ["out:0"]))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("in:0", TensorProto.UINT8, [1, "height", "width", 3])],
        [helper.make_tensor_value_info("out:0", TensorProto.FLOAT, [1, WIDTH])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
