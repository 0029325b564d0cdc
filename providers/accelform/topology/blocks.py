"""Dilated convolutions as TensorFlow 1 writes them: space to batch, a dense convolution, batch to space, a crop.

In ONNX: Pad, Transpose to [C, 1, H, W], SpaceToDepth, Transpose to [n * n, C, H / n, W / n], Conv, and all of it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from accelform.topology.graph import Node
from accelform.topology.lifter import Handler, Lifter
from accelform.topology.raw import Raw
from accelform.topology.values import BlockValue, MapValue, NotLiftable, Value
from accelform.topology.windows import convolved
from accelform_runtime.network.steps import Maps

SWAP = (1, 0, 2, 3)


def block_handlers(plain: Mapping[str, Handler]) -> dict[str, Handler]:
    """Handlers that know blocks, and leave everything else to `plain`."""

    def transpose(lifter: Lifter, node: Node) -> Value:
        value, perm = lifter.values.get(node.input(0)), tuple(node.attribute("perm", ()))
        if isinstance(value, BlockValue):
            return _transposed(value, perm)
        if isinstance(value, MapValue) and value.maps.channels > 1:
            if value.layout == "CHW" and perm == SWAP:
                return BlockValue(of=replace(value, order="CHW"), stage="swapped")
            if value.layout == "HWC" and perm == (3, 0, 1, 2):
                return BlockValue(of=value.transposed((0, 3, 1, 2)), stage="swapped")
        return plain["Transpose"](lifter, node)

    def convolution(lifter: Lifter, node: Node) -> Value:
        value = lifter.values.get(node.input(0))
        if not isinstance(value, BlockValue):
            return plain["Conv"](lifter, node)
        if value.stage != "batch" or value.block < 2:
            raise NotLiftable("reads maps with their channels in another place")
        return replace(value, of=convolved(lifter, node, value.of, spread=value.block))

    def cut(lifter: Lifter, node: Node) -> Value:
        value = lifter.values.get(node.input(0))
        if isinstance(value, BlockValue) and value.stage == "swapped":
            return replace(value, of=_cropped(lifter, node, value.of))
        try:
            return plain["Slice"](lifter, node)
        except NotLiftable:
            if isinstance(value, MapValue) and value.plain and value.layout == "CHW":
                return _cropped(lifter, node, value)
            raise

    def relu(lifter: Lifter, node: Node) -> Value:
        value = lifter.values.get(node.input(0))
        if not isinstance(value, BlockValue):
            return plain["Relu"](lifter, node)
        raw = Raw(kind="relu", sources=(value.of.raw,), maps=value.of.maps, node=node.label, non_negative=True)
        if not value.of.plain:
            raise NotLiftable("reads padded maps")
        return replace(value, of=lifter.output(value.of, raw))

    return {
        "Transpose": transpose,
        "Conv": convolution,
        "Slice": cut,
        "Relu": relu,
        "SpaceToDepth": space_to_depth,
        "DepthToSpace": depth_to_space,
    }


def space_to_depth(lifter: Lifter, node: Node) -> Value:
    value, block = lifter.values.get(node.input(0)), int(node.attribute("blocksize"))
    if not isinstance(value, BlockValue) or value.stage != "swapped" or block < 1:
        raise NotLiftable("moves rows and columns into channels")
    if any(side % block for side in value.of.sides):
        raise NotLiftable(f"cuts maps of {value.of.sides} into blocks of {block}")
    return replace(value, stage="depth", block=block)


def depth_to_space(lifter: Lifter, node: Node) -> Value:
    value = lifter.values.get(node.input(0))
    if not isinstance(value, BlockValue) or value.stage != "depth" or value.block != node.attribute("blocksize"):
        raise NotLiftable("moves channels into rows and columns")
    return replace(value, stage="swapped", block=1)


def _transposed(value: BlockValue, perm: tuple[int, ...]) -> Value:
    if value.stage == "swapped" and perm == SWAP:
        return value.of
    if value.stage == "swapped" and perm == (1, 2, 3, 0):
        return value.of.transposed((0, 2, 3, 1))
    if value.stage == "depth" and perm == SWAP:
        return replace(value, stage="batch")
    if value.stage == "batch" and perm == SWAP:
        return replace(value, stage="depth")
    raise NotLiftable(f"moves axes in the order {list(perm)}")


def _cropped(lifter: Lifter, node: Node, value: MapValue) -> MapValue:
    """Rows and columns cut off behind a convolution: it pads that much less."""
    starts, ends = lifter.integers(node, 1), lifter.integers(node, 2)
    raw = lifter.raws[value.raw]
    if starts is None or ends is None or not value.plain:
        raise NotLiftable("cuts at places that are computed while it runs")
    axes = lifter.integers(node, 3) or tuple(range(len(starts)))
    steps = lifter.integers(node, 4) or (1,) * len(starts)
    sides = [value.maps.height, value.maps.width]
    off = [0, 0]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if axis not in (2, 3) or start != 0 or step != 1:
            raise NotLiftable(f"cuts a piece out of axis {axis}")
        stop = end + sides[axis - 2] if end < 0 else min(end, sides[axis - 2])
        off[axis - 2] = sides[axis - 2] - stop
    window = raw.window
    if raw.kind != "convolution" or window is None or window.stride != (1, 1):
        raise NotLiftable("cuts off rows or columns of something other than a convolution")
    top, left, bottom, right = window.padding
    if bottom < off[0] or right < off[1]:
        raise NotLiftable("cuts off rows or columns that are not padding")
    window = replace(window, padding=(top, left, bottom - off[0], right - off[1]))
    maps = Maps(height=sides[0] - off[0], width=sides[1] - off[1], channels=value.maps.channels)
    return lifter.output(value, replace(raw, window=window, maps=maps))
