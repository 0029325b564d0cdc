"""Writes a network as an ONNX graph the way different frameworks do: the opposite of what is tested here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from accelform_runtime.network.network import Network
from accelform_runtime.network.steps import (
    IMAGE,
    Add,
    Affine,
    AveragePool,
    BatchNorm,
    Concat,
    Convolution,
    Maps,
    MaxPool,
    Mean,
    Normalise,
    Window,
)


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a framework writes things.

    Attributes:
        channels_last: the wire and everything but convolutions, pools is [N, H, W, C], with a transpose pair each
        norm: batch norms as one node, as Mul and Add, or folded into the convolution before them
        padding: as attribute, or as Pad nodes
        bias: part of Conv, or an Add
        relu: which spelling
        mean: which spelling
        dense: convolutions that cover their maps as Gemm after Flatten, or MatMul + Add after Reshape, or Conv
    """

    channels_last: bool = False
    norm: str = "node"
    padding: str = "attribute"
    bias: str = "conv"
    relu: str = "Relu"
    mean: str = "GlobalAveragePool"
    dense: str = "Conv"
    l2: str = "LpNormalization"
    opset: int = 17
    swapped: bool = False
    batch: str | int = "N"


TORCH = Style(dense="Gemm", l2="ReduceL2")
TORCH_FOLDED = Style(norm="folded", dense="Gemm", opset=11, l2="squares")
TF = Style(
    channels_last=True,
    bias="Add",
    padding="Pad",
    relu="Max",
    mean="ReduceMean",
    dense="MatMul",
    norm="mul_add",
    l2="rsqrt",
    swapped=True,
)
KERAS = Style(channels_last=True, padding="Pad", relu="Clip", mean="ReduceMean18", opset=18, dense="MatMul", l2="rsqrt")
STYLES = {"torch": TORCH, "torch_folded": TORCH_FOLDED, "tensorflow": TF, "keras": KERAS}

Arrays = Mapping[str, np.ndarray]


def random_variables(network: Network, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights that keep activations sane, batch norms that do something."""
    random = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}
    for name, shape in network.variables().items():
        part = name.rpartition("/")[2]
        if len(shape) == 4:
            values = random.normal(0, np.sqrt(1.6 / np.prod(shape[:3])), shape)
        elif part in ("moving_variance",):
            values = random.uniform(0.5, 2.0, shape)
        elif part == "gamma":
            values = random.uniform(0.6, 1.2, shape)
        else:
            values = random.normal(0, 0.1, shape)
        found[name] = values.astype(np.float32)
    return found


class Exporter:
    """Collects nodes; `maps` are the sizes of every value, `order` how each value lies."""

    def __init__(self, network: Network, variables: Arrays, style: Style) -> None:
        self.network, self.variables, self.style = network, variables, style
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self._count = 0

    def constant(self, array: npt.ArrayLike) -> str:
        self._count += 1
        name = f"const_{self._count}"
        self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        self._count += 1
        output = f"value_{self._count}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=f"{op}_{self._count}", **attributes))
        return output

    def vector(self, values: np.ndarray) -> np.ndarray:
        """To broadcast over channels."""
        return values if self.style.channels_last else values.reshape(-1, 1, 1)

    def first(self, value: str, work: Callable[[str], str]) -> str:
        """Work on [N, C, H, W] in whatever layout the style has."""
        if not self.style.channels_last:
            return work(value)
        inner = work(self.node("Transpose", value, perm=[0, 3, 1, 2]))
        return self.node("Transpose", inner, perm=[0, 2, 3, 1])

    def relu(self, value: str) -> str:
        zero = np.float32(0)
        if self.style.relu == "Clip":
            return self.node("Clip", value, self.constant(zero))
        if self.style.relu == "Max":
            return self.node("Max", self.constant(zero), value)
        return self.node("Relu", value)

    def norm(self, value: str, norm: BatchNorm, channels: int) -> str:
        parts = [self.variables[f"{norm.scope}/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")]
        if self.style.norm == "mul_add":
            scale, shift = folded(parts, norm.epsilon)
            value = self.node("Mul", value, self.constant(self.vector(scale)))
            return self.node("Add", self.constant(self.vector(shift)), value)

        def work(inner: str) -> str:
            return self.node("BatchNormalization", inner, *map(self.constant, parts), epsilon=norm.epsilon)

        return self.first(value, work)

    def padded(self, value: str, window: Window, *, fill: float = 0.0) -> tuple[str, list[int]]:
        top, left, bottom, right = window.padding
        if self.style.padding != "Pad" or not any(window.padding):
            return value, [top, left, bottom, right]
        amounts = (
            [0, top, left, 0, 0, bottom, right, 0]
            if self.style.channels_last
            else [0, 0, top, left, 0, 0, bottom, right]
        )
        inputs = [self.constant(np.array(amounts, np.int64)), self.constant(np.float32(fill))]
        return self.node("Pad", value, *inputs), [0, 0, 0, 0]

    def convolution(self, step: Convolution, value: str) -> str:
        weights = self.variables[step.weights]
        bias = None if step.biases is None else self.variables[step.biases]
        norm = step.batch_norm
        if norm is not None and self.style.norm == "folded":
            parts = [self.variables[f"{norm.scope}/{p}"] for p in ("gamma", "beta", "moving_mean", "moving_variance")]
            scale, shift = folded(parts, norm.epsilon)
            weights, bias, norm = weights * scale, shift + (0 if bias is None else bias * scale), None
        maps = self.network.maps[step.source]
        covers = step.window == Window(kernel=(maps.height, maps.width))
        if covers and self.style.dense != "Conv":
            value = self.dense(value, weights, bias, maps)
        else:
            value = self._plain_convolution(value, weights, bias, step.window)
        if norm is not None:
            value = self.norm(value, norm, step.out_channels)
        return self.relu(value) if step.relu else value

    def _plain_convolution(self, value: str, weights: np.ndarray, bias: np.ndarray | None, window: Window) -> str:
        value, pads = self.padded(value, window)
        inputs = [self.constant(weights.transpose(3, 2, 0, 1).astype(np.float32))]
        if bias is not None and self.style.bias == "conv":
            inputs.append(self.constant(bias.astype(np.float32)))

        def work(inner: str) -> str:
            return self.node(
                "Conv",
                inner,
                *inputs,
                kernel_shape=window.kernel,
                strides=window.stride,
                pads=pads,
                dilations=window.dilation,
            )

        value = self.first(value, work)
        if bias is not None and self.style.bias != "conv":
            value = self.node("Add", value, self.constant(self.vector(bias.astype(np.float32))))
        return value

    def dense(self, value: str, weights: np.ndarray, bias: np.ndarray | None, maps: Maps) -> str:
        """Flattened, multiplied, and back to maps of one position."""
        out = weights.shape[3]
        order = (0, 1, 2, 3) if self.style.channels_last else (2, 0, 1, 3)
        matrix = weights.transpose(order).reshape(-1, out).astype(np.float32)
        bias = np.zeros(out, np.float32) if bias is None else bias.astype(np.float32)
        if self.style.dense == "Gemm":
            row = self.node("Flatten", value)
            result = self.node("Gemm", row, self.constant(matrix.T), self.constant(bias), transB=1)
        else:
            row = self.node("Reshape", value, self.constant(np.array([-1, maps.size], np.int64)))
            result = self.node("Add", self.node("MatMul", row, self.constant(matrix)), self.constant(bias))
        shape = [-1, 1, 1, out] if self.style.channels_last else [-1, out, 1, 1]
        return self.node("Reshape", result, self.constant(np.array(shape, np.int64)))

    def pool(self, step: MaxPool | AveragePool, value: str, sure: bool) -> str:
        window = step.window
        if isinstance(step, MaxPool) and window.kernel == (1, 1) and self.style.channels_last:
            starts, ends = np.array([0, 0]), np.array([2**31 - 1, 2**31 - 1])
            return self.node(
                "Slice", value, *map(self.constant, (starts, ends, np.array([1, 2]), np.array(window.stride)))
            )
        pads = list(window.padding)
        if isinstance(step, MaxPool) and sure:
            value, pads = self.padded(value, window)

        def work(inner: str) -> str:
            op = "MaxPool" if isinstance(step, MaxPool) else "AveragePool"
            return self.node(op, inner, kernel_shape=window.kernel, strides=window.stride, pads=pads)

        return self.first(value, work)

    def mean(self, value: str, maps: Maps) -> str:
        axes = [1, 2] if self.style.channels_last else [2, 3]
        if self.style.mean == "ReduceMean":
            return self.node("ReduceMean", value, axes=axes, keepdims=1)
        if self.style.mean == "ReduceMean18":
            flat = self.node("ReduceMean", value, self.constant(np.array(axes, np.int64)), keepdims=0)
            shape = [-1, 1, 1, maps.channels] if self.style.channels_last else [-1, maps.channels, 1, 1]
            return self.node("Reshape", flat, self.constant(np.array(shape, np.int64)))
        if self.style.mean == "AveragePool":
            return self.first(
                value, lambda inner: self.node("AveragePool", inner, kernel_shape=[maps.height, maps.width])
            )
        return self.first(value, lambda inner: self.node("GlobalAveragePool", inner))

    def normalise(self, step: Normalise, value: str) -> str:
        axis = 3 if self.style.channels_last else 1
        scale = self.constant(self.vector(self.variables[step.scale]))
        if self.style.l2 == "LpNormalization":
            return self.node("Mul", self.node("LpNormalization", value, axis=axis, p=2), scale)
        if self.style.l2 == "ReduceL2":
            norm = self.node("ReduceL2", value, axes=[axis], keepdims=1)
            norm = self.node("Clip", norm, self.constant(np.float32(1e-6)))
            shape = self.node("Shape", value)
            return self.node("Mul", scale, self.node("Div", value, self.node("Expand", norm, shape)))
        square = (
            self.node("Mul", value, value)
            if self.style.l2 == "squares"
            else self.node("Pow", value, self.constant(np.float32(2)))
        )
        total = (
            self.node("ReduceSum", square, axes=[axis], keepdims=1)
            if self.style.opset < 13
            else self.node("ReduceSum", square, self.constant(np.array([axis])), keepdims=1)
        )
        root = self.node("Sqrt", self.node("Max", total, self.constant(np.float32(1e-12))))
        if self.style.l2 == "squares":
            return self.node("Mul", self.node("Div", value, root), scale)
        return self.node("Mul", scale, self.node("Mul", value, self.node("Reciprocal", root)))

    def write(self, image: str) -> dict[str, str]:
        """Step name -> ONNX value."""
        values = {IMAGE: image}
        for step in self.network.steps:
            sources = [values[source] for source in step.sources]
            if isinstance(step, Convolution):
                values[step.name] = self.convolution(step, sources[0])
            elif isinstance(step, (MaxPool, AveragePool)):
                values[step.name] = self.pool(step, sources[0], step.source in self.network.non_negative)
            elif isinstance(step, Mean):
                values[step.name] = self.mean(sources[0], self.network.maps[step.source])
            elif isinstance(step, Add):
                total = self.node("Add", *(sources[::-1] if self.style.swapped else sources))
                values[step.name] = self.relu(total) if step.relu else total
            elif isinstance(step, Concat):
                values[step.name] = self.node("Concat", *sources, axis=3 if self.style.channels_last else 1)
            elif isinstance(step, Normalise):
                values[step.name] = self.normalise(step, sources[0])
            else:
                assert isinstance(step, Affine)
                value = self.norm(sources[0], step.batch_norm, step.channels)
                values[step.name] = self.relu(value) if step.relu else value
        return values


def folded(parts: Sequence[np.ndarray], epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    gamma, beta, mean, variance = (part.astype(np.float64) for part in parts)
    scale = gamma / np.sqrt(variance + epsilon)
    return scale.astype(np.float32), (beta - mean * scale).astype(np.float32)


Head = Callable[[Exporter, dict[str, str]], list[tuple[str, list[Any]]]]
"""Adds nodes behind the network and gives the graph's outputs: value, shape."""


def softmax_head(classes: int = 5, *, seed: int = 3, last: str | None = None) -> Head:
    """A dense layer on the features, `logits:0`, then Softmax, `scores:0`."""

    def add(exporter: Exporter, values: dict[str, str]) -> list[tuple[str, list[Any]]]:
        value = last or exporter.network.outputs[0].value
        channels = exporter.network.maps[value].channels
        random = np.random.default_rng(seed)
        row = exporter.node("Flatten", values[value])
        weights = exporter.constant(random.normal(0, 0.5, (channels, classes)).astype(np.float32))
        logits = exporter.node("Gemm", row, weights, exporter.constant(np.arange(classes, dtype=np.float32) / 7))
        exporter.nodes.append(helper.make_node("Softmax", [logits], ["scores:0"], axis=1))
        exporter.nodes.append(helper.make_node("Identity", [logits], ["logits:0"]))
        return [(name, [exporter.style.batch, classes]) for name in ("scores:0", "logits:0")]

    return add


def plain_outputs(exporter: Exporter, values: dict[str, str]) -> list[tuple[str, list[Any]]]:
    """The network's own tensors, under their names, with their shapes."""
    found = []
    for output in exporter.network.outputs:
        value = values[output.value]
        if not exporter.style.channels_last:
            value = exporter.node("Transpose", value, perm=[0, 2, 3, 1])
        shape = exporter.constant(np.array([-1, *output.shape], np.int64))
        exporter.nodes.append(helper.make_node("Reshape", [value, shape], [output.tensor]))
        found.append((output.tensor, [exporter.style.batch, *output.shape]))
    return found


def export(
    network: Network,
    variables: Arrays,
    style: Style,
    head: Head = plain_outputs,
    *,
    image: str = "pixels:0",
    check: bool = True,
) -> onnx.ModelProto:
    """The whole model."""
    exporter = Exporter(network, variables, style)
    values = exporter.write(image)
    outputs = head(exporter, values)
    maps = network.image
    sides = [maps.height, maps.width]
    shape = [style.batch, *sides, maps.channels] if style.channels_last else [style.batch, maps.channels, *sides]
    graph = helper.make_graph(
        exporter.nodes,
        "exported",
        [helper.make_tensor_value_info(image, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in outputs],
        list(exporter.initializers.values()),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", style.opset)], ir_version=8)
    if check:
        onnx.checker.check_model(model)
    return model
