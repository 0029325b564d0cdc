"""Element-wise operators, batch norms and joins of ONNX, as raw steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from accelform.errors import InvalidWeights
from accelform.topology import norms
from accelform.topology.constants import Constant
from accelform.topology.graph import Node
from accelform.topology.lifter import Handler, Lifter, per_channel
from accelform.topology.raw import Raw, Vector
from accelform.topology.values import MapValue, NormValue, NotLiftable, Order, Value
from accelform_runtime.network.steps import Maps

UNBOUNDED = 1e30
"""An upper limit from here on limits nothing that a network computes."""


def relu(lifter: Lifter, node: Node) -> Value:
    return _relu(lifter, node, lifter.maps(node))


def clip(lifter: Lifter, node: Node) -> Value:
    """A ReLU, if it cuts at 0 below and nothing above."""
    value = lifter.values.get(node.input(0))
    if any(name and lifter.scalar(name) is None for name in (node.input(1), node.input(2))):
        raise NotLiftable("cuts values off at limits that are computed while it runs")
    low = node.attribute("min", lifter.scalar(node.input(1)))
    high = node.attribute("max", lifter.scalar(node.input(2)))
    if isinstance(value, NormValue):
        if low is None or (high is not None and high < UNBOUNDED):
            raise NotLiftable("limits a norm from above")
        return norms.floored(value, float(low))
    if high is not None and high < UNBOUNDED:
        raise NotLiftable(f"cuts values off at {high:g} (as ReLU6 does); the FPGA has the unbounded ReLU only")
    if low is None or low < -UNBOUNDED:
        return lifter.maps(node)
    if low != 0:
        raise NotLiftable(f"cuts values off at {low:g}; the FPGA's ReLU does at 0")
    return _relu(lifter, node, lifter.maps(node))


def maximum(lifter: Lifter, node: Node) -> Value:
    """Max(maps, 0)."""
    data, other = _operands(lifter, node)
    value = lifter.values[data]
    low = lifter.scalar(other)
    if isinstance(value, NormValue):
        if low is None:
            raise NotLiftable("compares a norm with something that is not one number")
        return norms.floored(value, low)
    if low != 0:
        raise NotLiftable("takes the larger of maps and something other than 0")
    return _relu(lifter, node, lifter.maps(node, node.inputs.index(data)))


def add(lifter: Lifter, node: Node) -> Value:
    """Of two maps, or of one number per channel."""
    if len(node.inputs) != 2:
        raise NotLiftable(f"adds {len(node.inputs)} values at once")
    if all(isinstance(lifter.values.get(name), MapValue) for name in node.inputs):
        return _sum(lifter, node)
    data, other = _operands(lifter, node)
    if isinstance(value := lifter.values[data], NormValue):
        return norms.shifted(value, lifter.scalar(other))
    maps = lifter.maps(node, node.inputs.index(data))
    return _affine(lifter, node, maps, bias=_vector(lifter, maps, other))


def subtract(lifter: Lifter, node: Node) -> Value:
    """A number per channel from maps."""
    maps = lifter.maps(node)
    return _affine(lifter, node, maps, bias=-_vector(lifter, maps, node.inputs[1]))


def multiply(lifter: Lifter, node: Node) -> Value:
    """By one number per channel; also maps * maps and maps / norm on the way to an L2 norm."""
    left, right = (lifter.values.get(name) for name in node.inputs)
    if left is not None and right is not None:
        return norms.product(lifter, node, left, right)
    data, other = _operands(lifter, node)
    if isinstance(value := lifter.values[data], NormValue):
        return norms.scaled(value, lifter.constants[other])
    maps = lifter.maps(node, node.inputs.index(data))
    return _affine(lifter, node, maps, scale=_vector(lifter, maps, other))


def divide(lifter: Lifter, node: Node) -> Value:
    """By one number per channel, or by the L2 norm."""
    left, right = (lifter.values.get(name) for name in node.inputs)
    if right is not None:
        return norms.quotient(lifter, node, left, right)
    maps = lifter.maps(node)
    with np.errstate(divide="ignore"):
        scale = 1.0 / _vector(lifter, maps, node.inputs[1])
    return _affine(lifter, node, maps, scale=scale)


def batch_normalization(lifter: Lifter, node: Node) -> Value:
    """(maps - mean) / sqrt(variance + epsilon) * gamma + beta, along axis 1."""
    value = lifter.maps(node)
    channels = value.maps.channels
    if "CHW" not in value.orders or len(value.shape) < 2 or value.shape[1] != channels:
        raise NotLiftable("normalises along another axis than the channels")
    if node.attribute("training_mode", 0):
        raise NotLiftable("is a batch norm in training mode: export the network for inference")
    parts = [lifter.constant(node, index) for index in range(1, 5)]
    if any(part is None or part.size != channels for part in parts):
        raise NotLiftable(f"is a batch norm without four vectors of {channels} numbers")
    gamma, beta, mean, variance = (part.vector() for part in parts if part is not None)
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + float(node.attribute("epsilon", 1e-5)))
    if not np.isfinite(scale).all():
        worst = float(variance.min())
        raise InvalidWeights(
            f"the batch norm {node.label} has a variance of {worst:g} in the tensor {node.input(4)}, whose root it "
            "divides by: look for the channel that never varied, or export the model with an epsilon above 0"
        )
    return _affine(lifter, node, value, scale=scale, bias=beta - mean * scale)


def concat(lifter: Lifter, node: Node) -> Value:
    """Along the channels."""
    values = [lifter.maps(node, index) for index in range(len(node.inputs))]
    first = values[0]
    axis = node.attribute("axis") % len(first.shape)
    order: Order = "HWC" if axis == len(first.shape) - 1 else "CHW"
    if len(first.shape) == 2:
        order = first.order
    for value in values:
        same_sides = (value.maps.height, value.maps.width) == (first.maps.height, first.maps.width)
        if value.channel_axis != axis or not same_sides or len(value.shape) != len(first.shape):
            raise NotLiftable(f"joins along axis {axis}, which is not the channels of maps of one size")
        if order not in value.orders:
            raise NotLiftable("joins maps of different layouts")
    if len(values) == 1:
        return first
    channels = sum(value.maps.channels for value in values)
    out = Maps(height=first.maps.height, width=first.maps.width, channels=channels)
    raw = Raw(
        kind="concat",
        sources=tuple(value.raw for value in values),
        maps=out,
        node=node.label,
        non_negative=all(lifter.raws[value.raw].non_negative for value in values),
    )
    shape = (*first.shape[:axis], channels, *first.shape[axis + 1 :])
    return replace(first, raw=lifter.add(raw), maps=out, order=order, shape=shape)


def _relu(lifter: Lifter, node: Node, value: MapValue) -> MapValue:
    before = lifter.raws[value.raw]
    # A sum keeps its ReLU even where it changes nothing: families have theirs there.
    if before.non_negative and before.kind != "add":
        return value
    raw = Raw(kind="relu", sources=(value.raw,), maps=value.maps, node=node.label, non_negative=True)
    return lifter.output(value, raw)


def _sum(lifter: Lifter, node: Node) -> MapValue:
    left, right = lifter.maps(node, 0), lifter.maps(node, 1)
    if left.maps != right.maps or left.shape != right.shape or left.order not in right.orders:
        raise NotLiftable(f"adds maps of shapes {list(left.shape)} and {list(right.shape)}")
    sure = lifter.raws[left.raw].non_negative and lifter.raws[right.raw].non_negative
    raw = Raw(kind="add", sources=(left.raw, right.raw), maps=left.maps, node=node.label, non_negative=sure)
    return lifter.output(left, raw)


def _affine(
    lifter: Lifter, node: Node, value: MapValue, *, scale: Vector | None = None, bias: Vector | None = None
) -> MapValue:
    raw = Raw(kind="affine", sources=(value.raw,), maps=value.maps, node=node.label, scale=scale, bias=bias)
    return lifter.output(value, raw)


def _vector(lifter: Lifter, value: MapValue, name: str) -> Vector:
    constant: Constant | None = lifter.constants.get(name)
    if constant is None:
        raise NotLiftable("also reads what is not in the FPGA's part")
    return per_channel(value, constant)


def _operands(lifter: Lifter, node: Node) -> tuple[str, str]:
    """The input that is maps (or on the way to a norm), and the other one, which has to be constant."""
    if len(node.inputs) != 2:
        raise NotLiftable(f"has {len(node.inputs)} inputs")
    left, right = node.inputs
    data, other = (left, right) if left in lifter.values else (right, left)
    if other not in lifter.constants:
        raise NotLiftable("combines maps with something that is not a constant")
    return data, other


POINTWISE_HANDLERS: dict[str, Handler] = {
    "Relu": relu,
    "Clip": clip,
    "Max": maximum,
    "Add": add,
    "Sum": add,
    "Sub": subtract,
    "Mul": multiply,
    "Div": divide,
    "BatchNormalization": batch_normalization,
    "Concat": concat,
}
