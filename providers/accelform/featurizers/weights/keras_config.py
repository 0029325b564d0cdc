"""What a Keras configuration says of a ResNet, compared layer by layer with the network that the FPGA runs.

Weights alone don't tell what is computed with them. Where a file has its configuration, it does: strides, paddings,
activations, the epsilon of each batch norm. What would give other answers is refused; an epsilon is taken over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from accelform_runtime.network.network import Network
from accelform_runtime.network.steps import Convolution, MaxPool, Window

MAX_DEPTH = 60
KERAS_DEFAULT_EPSILON = 1e-3
"""Of Keras's BatchNormalization."""

STRUCTURE = frozenset(
    {
        "InputLayer", "Functional", "Model", "Sequential", "Conv2D", "BatchNormalization", "ZeroPadding2D", "Add",
        "Dense", "Activation", "ReLU", "Softmax", "MaxPooling2D", "MaxPool2D", "GlobalAveragePooling2D",
        "GlobalAvgPool2D", "Flatten", "Reshape",
    }
)  # fmt: skip
IDLE = frozenset({"Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "AlphaDropout",
                  "ActivityRegularization"})  # fmt: skip
"""Layers that do something in training only; so do those whose class begins with Random."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer of the configuration; `before`: the one that it reads, if that is in the same model."""

    name: str
    kind: str
    config: Mapping[str, Any]
    before: Layer | None = None


def layers_of(config: Any) -> dict[str, Layer]:
    """Every layer by its name, those of models inside the model too; of one name the last."""
    return {layer.name: layer for layer in _layers(config, 0)}


def _layers(config: Any, depth: int) -> Iterator[Layer]:
    model = config.get("config") if isinstance(config, dict) else None
    rows = model.get("layers") if isinstance(model, dict) else model if isinstance(model, list) else None
    if not isinstance(rows, list) or depth > MAX_DEPTH:
        return
    known: dict[str, Layer] = {}
    previous: Layer | None = None
    for row in rows:
        inner = row.get("config") if isinstance(row, dict) else None
        if not isinstance(inner, (dict, list)):
            continue
        settings = inner if isinstance(inner, dict) else {}
        reads = next((known[name] for name in _strings(row.get("inbound_nodes"), 0) if name in known), None)
        if not row.get("inbound_nodes"):
            # A Sequential model's layers read their predecessor.
            reads = previous
        layer = Layer(
            name=str(settings.get("name", row.get("name"))), kind=str(row.get("class_name")), config=settings,
            before=reads,
        )  # fmt: skip
        known[layer.name] = previous = layer
        yield layer
        yield from _layers(row, depth + 1)


def _strings(node: Any, depth: int) -> Iterator[str]:
    """Keras 2 and 3 write differently which layers one reads; their names are in either."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, (list, dict)) and depth <= MAX_DEPTH:
        for value in node.values() if isinstance(node, dict) else node:
            yield from _strings(value, depth + 1)


def differences(layers: Mapping[str, Layer], network: Network, slim: Callable[[str], str | None]) -> list[str]:
    """What the layers compute otherwise than the network's steps; `slim`: a layer's name -> its step's, if it has one.

    Which layer reads which is not compared.
    """
    found: list[str] = []
    for layer in layers.values():
        step = network.by_name.get(slim(layer.name) or "")
        if layer.kind == "Conv2D" and isinstance(step, Convolution):
            found += _convolution(layer, step, network)
        elif layer.kind in ("MaxPooling2D", "MaxPool2D"):
            found += _pool(layer, network)
        elif layer.kind in ("Activation", "ReLU"):
            found += _activation(layer)
        elif layer.kind == "Dense":
            if (kind := _name_of(layer.config.get("activation"))) not in ("softmax", "linear"):
                found.append(f"{layer.name} ends in {kind}; the service's prediction is a softmax")
        elif layer.kind not in STRUCTURE | IDLE and not layer.kind.startswith("Random"):
            found.append(f"{layer.name} is a layer {layer.kind}, which the FPGA's network doesn't have")
    return found


def epsilon_of(layer: Layer) -> float:
    """Of a batch norm; Keras's default where the configuration leaves it out."""
    return float(layer.config.get("epsilon", KERAS_DEFAULT_EPSILON))


def _convolution(layer: Layer, step: Convolution, network: Network) -> Iterator[str]:
    config, window = layer.config, step.window
    stride, dilation = _pair(config.get("strides", 1)), _pair(config.get("dilation_rate", 1))
    if stride != window.stride:
        yield f"{layer.name} has strides {list(stride)}, the FPGA's {list(window.stride)}"
    elif (padding := _padding(layer, window, network.maps[step.source].height)) not in (None, window.padding):
        yield _padded(layer.name, padding, window)
    if dilation != window.dilation:
        yield f"{layer.name} has dilation_rate {list(dilation)}, the FPGA's {list(window.dilation)}"
    if config.get("groups", 1) not in (None, 1):
        yield f"{layer.name} has {config['groups']} groups, the FPGA's one"
    if (activation := _name_of(config.get("activation"))) != "linear":
        yield f"{layer.name} has the activation {activation} before its batch norm"


def _pool(layer: Layer, network: Network) -> Iterator[str]:
    size = _pair(layer.config.get("pool_size", 2))
    stride = _pair(layer.config.get("strides") or list(size))
    pools = [step for step in network.steps if isinstance(step, MaxPool) and step.window.kernel == size]
    if not pools:
        yield f"{layer.name} takes the largest of {size[0]} x {size[1]}, as no pool of the FPGA's network does"
        return
    window = pools[0].window
    if stride != window.stride:
        yield f"{layer.name} has strides {list(stride)}, the FPGA's {pools[0].name} {list(window.stride)}"
    elif (padding := _padding(layer, window, network.maps[pools[0].source].height)) not in (None, window.padding):
        yield _padded(layer.name, padding, window)


def _padded(name: str, padding: Sequence[int] | None, window: Window) -> str:
    return (
        f"{name} reads maps padded by {list(padding or ())} (top, left, bottom, right), the FPGA's by "
        f"{list(window.padding)}"
    )


def _padding(layer: Layer, window: Window, side: int) -> tuple[int, int, int, int] | None:
    """Rows and columns around what it reads, ZeroPadding2D before it included; None: not to be known."""
    if layer.config.get("padding", "valid") == "same":
        kernel, stride = _pair(layer.config.get("kernel_size", layer.config.get("pool_size", 1))), window.stride
        total = [max((ceil(side / stride[axis]) - 1) * stride[axis] + kernel[axis] - side, 0) for axis in (0, 1)]
        own = (total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2)
    else:
        own = (0, 0, 0, 0)
    before = layer.before
    if before is None and any(window.padding):
        return None if own == (0, 0, 0, 0) else own
    if before is None or before.kind != "ZeroPadding2D":
        return own
    zeros = before.config.get("padding", 1)
    rows, columns = (zeros, zeros) if isinstance(zeros, int) else zeros
    (top, bottom), (left, right) = _pair(rows), _pair(columns)
    return own[0] + top, own[1] + left, own[2] + bottom, own[3] + right


def _activation(layer: Layer) -> Iterator[str]:
    config = layer.config
    if layer.kind == "Activation":
        if (name := _name_of(config.get("activation"))) not in ("relu", "linear", "softmax"):
            yield f"{layer.name} is {name}, which the FPGA's network doesn't have"
    elif config.get("max_value") is not None or config.get("negative_slope") or config.get("threshold"):
        yield f"{layer.name} is a ReLU with max_value, negative_slope or threshold; the FPGA's has none"


def _name_of(activation: Any) -> str:
    """Keras 3 writes an activation's name, or an object with it."""
    if isinstance(activation, dict):
        activation = activation.get("config") if isinstance(activation.get("config"), str) else activation.get(
            "class_name"
        )  # fmt: skip
    return "linear" if activation is None else str(activation)


def _pair(value: Any) -> tuple[int, int]:
    """2 -> (2, 2); Keras writes either."""
    first, second = (value, value) if isinstance(value, int) else value
    return int(first), int(second)
