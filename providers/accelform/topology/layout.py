"""Operators of ONNX that move or rename maps and compute nothing."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from accelform.topology.constants import Constant, flattened_axis
from accelform.topology.graph import FLOATS, Node
from accelform.topology.lifter import Handler, Lifter
from accelform.topology.values import MapValue, NotLiftable, Value


def same(lifter: Lifter, node: Node) -> Value:
    return _moved(lifter, node)


def dropout(lifter: Lifter, node: Node) -> Value:
    """Nothing, once a network is trained."""
    training = lifter.constant(node, 2)
    if training is not None and training.array().any():
        raise NotLiftable("drops values at random: export the network for inference")
    return _moved(lifter, node)


def cast(lifter: Lifter, node: Node) -> Value:
    """Between floating-point types: the FPGA's part computes in its own."""
    if node.attribute("to") not in FLOATS:
        raise NotLiftable("casts maps to a type that is not floating-point")
    return _moved(lifter, node)


def transpose(lifter: Lifter, node: Node) -> Value:
    value = lifter.maps(node, padded=True)
    return value.transposed(tuple(node.attribute("perm", tuple(reversed(range(len(value.shape)))))))


def reshape(lifter: Lifter, node: Node) -> Value:
    wanted = lifter.integers(node, 1)
    if wanted is None:
        raise NotLiftable("has no shape")
    return lifter.maps(node).reshaped(list(wanted), allow_zero=bool(node.attribute("allowzero", 0)))


def flatten(lifter: Lifter, node: Node) -> Value:
    value = lifter.maps(node)
    axis = flattened_axis(node, len(value.shape))
    return value.with_shape((prod(value.shape[:axis]), prod(value.shape[axis:])))


def squeeze(lifter: Lifter, node: Node) -> Value:
    value = lifter.maps(node)
    rank = len(value.shape)
    axes = lifter.axes(node)
    # Without axes every 1 goes, the batch axis too, which is 1 only here.
    if axes is None or any(value.shape[axis] != 1 for axis in axes):
        raise NotLiftable("squeezes axes that are not of size 1")
    dropped = {axis % rank for axis in axes}
    return value.with_shape(tuple(dim for index, dim in enumerate(value.shape) if index not in dropped))


def unsqueeze(lifter: Lifter, node: Node) -> Value:
    value, axes = lifter.maps(node), lifter.axes(node)
    if axes is None:
        raise NotLiftable("has no axes")
    rank = len(value.shape) + len(axes)
    added = {axis % rank for axis in axes}
    if len(added) != len(axes):
        raise NotLiftable("adds one axis twice")
    rest = iter(value.shape)
    return value.with_shape(tuple(1 if index in added else next(rest) for index in range(rank)))


def pad(lifter: Lifter, node: Node) -> Value:
    """Around height and width; the convolution or pool that follows takes it in."""
    value = lifter.maps(node)
    if node.attribute("mode", "constant") != "constant":
        raise NotLiftable(f"pads in mode {node.attribute('mode')}; the FPGA pads with zeros")
    amounts = node.attribute("pads") or lifter.integers(node, 1)
    rank = len(value.shape)
    axes = lifter.integers(node, 3) or tuple(range(rank))
    if amounts is None or len(amounts) != 2 * len(axes):
        raise NotLiftable("has paddings that don't fit its input")
    before, after = [0] * rank, [0] * rank
    for index, axis in enumerate(axes):
        before[axis], after[axis] = amounts[index], amounts[index + len(axes)]
    if not any(before) and not any(after):
        return value
    if value.spatial_axes is None or min(*before, *after) < 0:
        raise NotLiftable("crops maps, or pads maps that were reshaped")
    row, column = value.spatial_axes
    if any(before[axis] or after[axis] for axis in range(rank) if axis not in (row, column)):
        raise NotLiftable("pads another axis than height and width")
    shape = tuple(dim + before[axis] + after[axis] for axis, dim in enumerate(value.shape))
    fill = lifter.scalar(node.input(2)) if node.input(2) else float(node.attribute("value", 0.0))
    if fill is None:
        raise NotLiftable("pads with a value that is computed while it runs")
    padding = (before[row], before[column], after[row], after[column])
    return replace(value, order=value.layout or value.order, shape=shape, padding=padding, fill=fill)


def shape_of(lifter: Lifter, node: Node) -> Value:
    """The shape of maps is known, with a batch of 1: a constant, not maps."""
    value = lifter.values[node.inputs[0]]
    if not isinstance(value, MapValue):
        raise NotLiftable("asks for the shape of what is no maps")
    dims = value.shape[node.attribute("start", 0) : node.attribute("end")]
    lifter.constants[node.outputs[0]] = Constant(node.label, array=np.array(dims, np.int64), real=True)
    raise NotLiftable("asks for a shape")


def _moved(lifter: Lifter, node: Node) -> Value:
    value = lifter.values.get(node.input(0))
    if value is None:
        raise NotLiftable("also reads what is not in the FPGA's part")
    return value


LAYOUT_HANDLERS: dict[str, Handler] = {
    "Identity": same,
    "Dropout": dropout,
    "Cast": cast,
    "Transpose": transpose,
    "Reshape": reshape,
    "Flatten": flatten,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Pad": pad,
    "Shape": shape_of,
}
