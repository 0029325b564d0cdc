"""L2 normalisation over channels in the spellings of frameworks: one operator, or squares, sum, root and quotient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from accelform.topology.constants import Constant
from accelform.topology.graph import Node
from accelform.topology.lifter import Handler, Lifter, per_channel
from accelform.topology.raw import Raw, Vector
from accelform.topology.values import MapValue, NormValue, NotLiftable, Value

NO_FLOOR = float(np.finfo(np.float32).tiny)
"""Keeps the quotient of a zero vector 0 where the graph names no smallest norm."""

MAX_SHIFT = 1e-6
"""Added to a norm instead of compared with it, a number up to this makes no difference that float32 would show."""


def lp_normalization(lifter: Lifter, node: Node) -> Value:
    """maps / ||maps|| per position."""
    value = lifter.maps(node)
    if node.attribute("p", 2) != 2 or value.channel_axis is None:
        raise NotLiftable("normalises in another way than by the L2 norm over channels")
    if node.attribute("axis", -1) % len(value.shape) != value.channel_axis:
        raise NotLiftable("normalises along another axis than the channels")
    return _normalised(lifter, node, value, NO_FLOOR)


def power(lifter: Lifter, node: Node) -> Value:
    """Only squares, and only on the way to a norm."""
    value, exponent = lifter.values.get(node.input(0)), lifter.scalar(node.input(1))
    if isinstance(value, MapValue) and exponent == 2:
        return NormValue(of=value, stage="square")
    if isinstance(value, NormValue) and value.stage == "sum" and exponent in (0.5, -0.5):
        return replace(value, stage="norm" if exponent == 0.5 else "inverse")
    raise NotLiftable("raises to a power outside an L2 norm")


def reduce_sum(lifter: Lifter, node: Node) -> Value:
    value = lifter.values.get(node.input(0))
    if not isinstance(value, NormValue) or value.stage != "square":
        raise NotLiftable("sums maps up; the FPGA does that only for an L2 norm")
    return _over_channels(lifter, node, value.of, "sum")


def reduce_sum_square(lifter: Lifter, node: Node) -> Value:
    return _over_channels(lifter, node, lifter.maps(node), "sum")


def reduce_l2(lifter: Lifter, node: Node) -> Value:
    return _over_channels(lifter, node, lifter.maps(node), "norm")


def square_root(lifter: Lifter, node: Node) -> Value:
    value = lifter.values.get(node.input(0))
    if not isinstance(value, NormValue) or value.stage not in ("sum", "inverse"):
        raise NotLiftable("takes a root outside an L2 norm")
    if value.stage == "inverse":
        raise NotLiftable("takes the root of a reciprocal")
    return replace(value, stage="norm")


def reciprocal(lifter: Lifter, node: Node) -> Value:
    value = lifter.values.get(node.input(0))
    if not isinstance(value, NormValue) or value.stage != "norm":
        raise NotLiftable("takes a reciprocal outside an L2 norm")
    return replace(value, stage="inverse")


def expand(lifter: Lifter, node: Node) -> Value:
    """A norm repeated over the channels is still that norm."""
    value = lifter.values.get(node.input(0))
    if isinstance(value, NormValue) and value.stage in ("sum", "norm", "inverse"):
        return value
    raise NotLiftable("repeats maps")


def product(lifter: Lifter, node: Node, left: Value, right: Value) -> Value:
    """maps * maps, or maps * (1 / norm)."""
    if left == right and isinstance(left, MapValue):
        return NormValue(of=left, stage="square")
    for data, norm in ((left, right), (right, left)):
        inverse = isinstance(norm, NormValue) and norm.stage == "inverse"
        if isinstance(data, MapValue) and isinstance(norm, NormValue) and inverse and norm.of == data:
            return _normalised(lifter, node, data, norm.floor, norm.scale)
    raise NotLiftable("multiplies maps with maps")


def scaled(value: NormValue, constant: Constant) -> NormValue:
    """(1 / norm) * one number per channel."""
    if value.stage != "inverse" or value.scale is not None:
        raise NotLiftable("multiplies on the way to a norm")
    return replace(value, scale=per_channel(value.of, constant))


def quotient(lifter: Lifter, node: Node, left: Value | None, right: Value) -> Value:
    """maps / norm, or 1 / norm."""
    if isinstance(right, NormValue) and right.stage == "norm":
        if isinstance(left, MapValue) and right.of == left:
            return _normalised(lifter, node, left, right.floor)
        if left is None and lifter.scalar(node.inputs[0]) == 1:
            return replace(right, stage="inverse")
    raise NotLiftable("divides by maps")


def floored(value: NormValue, low: float) -> NormValue:
    """max(sum, low), or max(norm, low), which is sqrt(max(sum, low^2))."""
    if value.stage == "sum":
        return replace(value, floor=max(value.floor, low))
    if value.stage == "norm":
        return replace(value, floor=max(value.floor, low * low))
    raise NotLiftable("compares on the way to a norm")


def shifted(value: NormValue, shift: float | None) -> NormValue:
    """norm + tiny."""
    if shift is None or not 0 <= shift <= MAX_SHIFT:
        raise NotLiftable("adds to a norm what changes it")
    return floored(value, shift)


def _over_channels(lifter: Lifter, node: Node, value: MapValue, stage: str) -> NormValue:
    axes = lifter.axes(node)
    rank = len(value.shape)
    if axes is None or value.layout is None or not node.attribute("keepdims", 1):
        raise NotLiftable("sums maps up over all axes, or without keeping them")
    if {axis % rank for axis in axes} != {value.channel_axis}:
        raise NotLiftable("sums maps up along another axis than the channels")
    return NormValue(of=value, stage="norm" if stage == "norm" else "sum")


def _normalised(lifter: Lifter, node: Node, value: MapValue, floor: float, scale: Vector | None = None) -> MapValue:
    raw = Raw(
        kind="normalise",
        sources=(value.raw,),
        maps=value.maps,
        node=node.label,
        epsilon=floor or NO_FLOOR,
        scale=scale,
        non_negative=scale is None and lifter.raws[value.raw].non_negative,
    )
    return lifter.output(value, raw)


NORM_HANDLERS: dict[str, Handler] = {
    "LpNormalization": lp_normalization,
    "Pow": power,
    "ReduceSum": reduce_sum,
    "ReduceSumSquare": reduce_sum_square,
    "ReduceL2": reduce_l2,
    "Sqrt": square_root,
    "Reciprocal": reciprocal,
    "Expand": expand,
}
