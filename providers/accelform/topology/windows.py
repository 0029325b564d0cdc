"""Convolutions, dense layers and pools of ONNX, as raw steps."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np

from accelform.topology.graph import Node
from accelform.topology.lifter import Handler, Lifter
from accelform.topology.raw import Kernel, Raw, Vector
from accelform.topology.values import NO_PADDING, MapValue, NotLiftable, Padding, Value
from accelform_runtime.network.steps import Maps, Window

LOWEST = -1e30
"""A padding below this never wins against a value of a network."""


def convolution(lifter: Lifter, node: Node) -> Value:
    """[1, C, H, W] with weights [O, C, kh, kw]."""
    return convolved(lifter, node, _channels_first(lifter.maps(node, padded=True)), spread=1)


def convolved(lifter: Lifter, node: Node, value: MapValue, *, spread: int) -> MapValue:
    """The node's convolution over every `spread`-th row and column."""
    if value.fill != 0:
        raise NotLiftable(f"reads maps padded with {value.fill:g}; the FPGA pads with zeros")
    weights = lifter.constant(node, 1)
    if weights is None or len(weights.shape) != 4:
        raise NotLiftable("has no weights of two spatial dimensions")
    out_channels, in_channels, *kernel = weights.shape
    if node.attribute("group", 1) != 1:
        raise NotLiftable(f"is a grouped convolution ({node.attribute('group')} groups), which the FPGA does not have")
    if in_channels != value.maps.channels:
        raise NotLiftable(f"has weights for {in_channels} channels and reads {value.maps.channels}")
    window = _window(node, value, (kernel[0], kernel[1]))
    if spread != 1:
        if window != Window(kernel=window.kernel, padding=value.padding):
            raise NotLiftable("strides, pads or dilates blocks")
        window = replace(window, dilation=(spread, spread))
    bias = lifter.constant(node, 2)
    if bias is not None and bias.shape != (out_channels,):
        raise NotLiftable(f"adds a bias of shape {list(bias.shape)} to {out_channels} channels")
    raw = Raw(
        kind="convolution",
        sources=(value.raw,),
        maps=_walked(value.maps, window, out_channels),
        node=node.label,
        window=window,
        kernel=Kernel(
            constant=weights,
            form="OIHW",
            height=kernel[0],
            width=kernel[1],
            in_channels=in_channels,
            out_channels=out_channels,
        ),
        bias=None if bias is None else bias.vector(),
        label=_module(node.input(1)),
    )
    return lifter.output(value, raw)


def gemm(lifter: Lifter, node: Node) -> Value:
    """A dense layer: alpha * maps * matrix + beta * bias."""
    if node.attribute("transA", 0):
        raise NotLiftable("transposes the maps")
    bias = lifter.constant(node, 2)
    transposed, alpha = bool(node.attribute("transB", 0)), float(node.attribute("alpha", 1.0))
    value = _dense(lifter, node, transposed=transposed, scale=alpha)
    if bias is None:
        return value
    if bias.size not in (1, value.maps.channels):
        raise NotLiftable("adds a constant that is not one number per channel")
    vector = bias.vector() * float(node.attribute("beta", 1.0))
    vector = np.broadcast_to(vector, (value.maps.channels,))
    return lifter.output(
        value, Raw(kind="affine", sources=(value.raw,), maps=value.maps, node=node.label, bias=np.array(vector))
    )


def matmul(lifter: Lifter, node: Node) -> Value:
    """A dense layer over a row, or a 1x1 convolution over maps whose channels come last."""
    return _dense(lifter, node, transposed=False, scale=1.0)


def _dense(lifter: Lifter, node: Node, *, transposed: bool, scale: float) -> MapValue:
    value = lifter.maps(node)
    matrix = lifter.constant(node, 1)
    if matrix is None or len(matrix.shape) != 2:
        raise NotLiftable("multiplies with something other than a matrix")
    in_channels, out_channels = reversed(matrix.shape) if transposed else matrix.shape
    maps = value.maps
    # The row of a dense layer is everything after the batch axis; otherwise the matrix meets the channels alone.
    row = value.shape[1:] == (maps.size,) or all(dim == 1 for dim in value.shape[:-1])
    if row and in_channels == maps.size:
        height, width = maps.height, maps.width
        shape = (*value.shape[:-1], out_channels)
        out = Maps(height=1, width=1, channels=out_channels)
    elif value.channel_axis == len(value.shape) - 1 and "HWC" in value.orders and in_channels == maps.channels:
        value = replace(value, order="HWC")
        height, width = 1, 1
        shape = (*value.shape[:-1], out_channels)
        out = Maps(height=maps.height, width=maps.width, channels=out_channels)
    else:
        raise NotLiftable(f"multiplies {list(value.shape)} with a matrix {list(matrix.shape)} along other axes")
    kernel = Kernel(
        constant=matrix,
        form=value.order,
        height=height,
        width=width,
        in_channels=maps.channels,
        out_channels=out_channels,
        transposed=transposed,
    )
    factor: Vector | None = None if scale == 1.0 else np.full(out_channels, scale)
    raw = Raw(
        kind="convolution",
        sources=(value.raw,),
        maps=out,
        node=node.label,
        window=Window(kernel=(height, width)),
        kernel=kernel,
        scale=factor,
        label=_module(node.input(1)),
    )
    return replace(value, raw=lifter.add(raw), maps=out, shape=shape)


def max_pool(lifter: Lifter, node: Node) -> Value:
    """Zeros around maps that are never negative are as good as no padding."""
    value = _channels_first(lifter.maps(node, padded=True))
    zeros = value.fill == 0 and lifter.raws[value.raw].non_negative
    if not value.plain and not zeros and value.fill > LOWEST:
        raise NotLiftable(f"takes the maximum with a padding of {value.fill:g}, which may win")
    if len(node.outputs) > 1 and node.outputs[1]:
        raise NotLiftable("gives the places of its maxima")
    return _pool(lifter, node, value, kind="max")


def average_pool(lifter: Lifter, node: Node) -> Value:
    """Padding is not counted; a pool that covers its maps is their mean."""
    value = _channels_first(lifter.maps(node))
    window = _window(node, value, tuple(node.attribute("kernel_shape")))
    if window.padding != NO_PADDING and node.attribute("count_include_pad", 0):
        raise NotLiftable("counts its padding in its averages")
    whole = window.kernel == (value.maps.height, value.maps.width) and window.padding == NO_PADDING
    if whole and window.dilation == (1, 1):
        return mean(lifter, node, value)
    return _pool(lifter, node, value, kind="max" if window.kernel == (1, 1) else "average")


def global_average_pool(lifter: Lifter, node: Node) -> Value:
    return mean(lifter, node, _channels_first(lifter.maps(node)))


def global_max_pool(lifter: Lifter, node: Node) -> Value:
    value = _channels_first(lifter.maps(node))
    maps = value.maps
    window = Window(kernel=(maps.height, maps.width))
    out = Maps(height=1, width=1, channels=maps.channels)
    raw = Raw(
        kind="max",
        sources=(value.raw,),
        maps=out,
        node=node.label,
        window=window,
        non_negative=lifter.raws[value.raw].non_negative,
    )
    return lifter.output(value, raw)


def reduce_mean(lifter: Lifter, node: Node) -> Value:
    """Over height and width, with or without keeping their axes."""
    value = lifter.maps(node)
    axes = lifter.axes(node)
    if axes is None or value.spatial_axes is None:
        raise NotLiftable("takes the mean over all axes at once")
    found = {axis % len(value.shape) for axis in axes}
    if found != set(value.spatial_axes):
        raise NotLiftable(f"takes the mean along axes {sorted(found)}; the FPGA does along height and width")
    result = mean(lifter, node, value)
    if node.attribute("keepdims", 1):
        return result
    return result.with_shape((1, value.maps.channels))


def mean(lifter: Lifter, node: Node, value: MapValue) -> MapValue:
    out = Maps(height=1, width=1, channels=value.maps.channels)
    raw = Raw(
        kind="mean",
        sources=(value.raw,),
        maps=out,
        node=node.label,
        non_negative=lifter.raws[value.raw].non_negative,
    )
    return lifter.output(value, raw)


def strided_slice(lifter: Lifter, node: Node) -> Value:
    """Every n-th row and column from the first one: a 1x1 max pool with that stride."""
    value = lifter.maps(node)
    starts, ends = lifter.integers(node, 1), lifter.integers(node, 2)
    if starts is None or ends is None:
        raise NotLiftable("cuts at places that are computed while it runs")
    axes = lifter.integers(node, 3) or tuple(range(len(starts)))
    steps = lifter.integers(node, 4) or (1,) * len(starts)
    strides = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if start not in (0, -value.shape[axis]) or end < value.shape[axis] or step < 1:
            raise NotLiftable(f"cuts a piece out of axis {axis}")
        if step > 1:
            strides[axis % len(value.shape)] = step
    if not strides:
        return value
    if value.spatial_axes is None or not set(strides) <= set(value.spatial_axes):
        raise NotLiftable("takes every n-th element along an axis that is neither height nor width")
    pair = (strides.get(value.spatial_axes[0], 1), strides.get(value.spatial_axes[1], 1))
    window = Window(kernel=(1, 1), stride=pair)
    raw = Raw(
        kind="max",
        sources=(value.raw,),
        maps=_walked(value.maps, window, value.maps.channels),
        node=node.label,
        window=window,
        non_negative=lifter.raws[value.raw].non_negative,
    )
    return lifter.output(value, raw)


def _pool(lifter: Lifter, node: Node, value: MapValue, *, kind: str) -> Value:
    window = _window(node, value, tuple(node.attribute("kernel_shape")))
    if window.kernel == (1, 1) and window.stride == (1, 1) and window.padding == NO_PADDING:
        return value
    if any(pad >= window.kernel[axis % 2] for axis, pad in enumerate(window.padding)):
        raise NotLiftable("has windows that lie in the padding only")
    raw = Raw(
        kind="max" if kind == "max" else "average",
        sources=(value.raw,),
        maps=_walked(value.maps, window, value.maps.channels),
        node=node.label,
        window=window,
        non_negative=lifter.raws[value.raw].non_negative,
    )
    return lifter.output(value, raw)


def _module(weights: str) -> str:
    """PyTorch names nodes by their kind, but weights by their module: `layer1.0.conv1` of `layer1.0.conv1.weight`."""
    return weights.removesuffix(".weight") if weights.endswith(".weight") else ""


def _channels_first(value: MapValue) -> MapValue:
    """The same values read as [1, C, H, W]."""
    height, width = value.sides
    if "CHW" in value.orders and value.shape == (1, value.maps.channels, height, width):
        return replace(value, order="CHW")
    raise NotLiftable(f"reads {list(value.shape)}, which is not [1, channels, height, width] of the maps before it")


def _window(node: Node, value: MapValue, kernel: tuple[int, ...]) -> Window:
    """Kernel, strides, dilations and the sum of all paddings."""
    if len(kernel) != 2:
        raise NotLiftable(f"has {len(kernel)} spatial dimensions instead of 2")
    strides = tuple(node.attribute("strides", (1, 1)))
    dilations = tuple(node.attribute("dilations", (1, 1)))
    if len(strides) != 2 or len(dilations) != 2 or min(*strides, *dilations, *kernel) < 1:
        raise NotLiftable("has strides or dilations that don't fit two dimensions")
    top, left, bottom, right = _own_padding(node, value.sides, kernel, strides, dilations)
    outer = value.padding
    padding = (top + outer[0], left + outer[1], bottom + outer[2], right + outer[3])
    return Window(
        kernel=(kernel[0], kernel[1]),
        stride=(strides[0], strides[1]),
        padding=padding,
        dilation=(dilations[0], dilations[1]),
    )


def _own_padding(
    node: Node,
    sides: tuple[int, int],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
) -> Padding:
    mode = node.attribute("auto_pad", "NOTSET")
    extents = [(kernel[axis] - 1) * dilations[axis] + 1 for axis in (0, 1)]
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        before, after = [0, 0], [0, 0]
        for axis in (0, 1):
            total = max(0, (ceil(sides[axis] / strides[axis]) - 1) * strides[axis] + extents[axis] - sides[axis])
            small, large = total // 2, total - total // 2
            before[axis], after[axis] = (small, large) if mode == "SAME_UPPER" else (large, small)
        return (before[0], before[1], after[0], after[1])
    pads = (0, 0, 0, 0) if mode == "VALID" else tuple(node.attribute("pads", (0, 0, 0, 0)))
    if len(pads) != 4 or min(pads) < 0:
        raise NotLiftable(f"has paddings {list(pads)}")
    ends = [pads[2], pads[3]]
    if node.attribute("ceil_mode", 0):
        for axis in (0, 1):
            room = sides[axis] + pads[axis] + pads[axis + 2] - extents[axis]
            count = ceil(room / strides[axis]) + 1
            # A window that would start in the padding behind the maps is left out.
            if (count - 1) * strides[axis] >= sides[axis] + pads[axis]:
                count -= 1
            ends[axis] += max(0, (count - 1) * strides[axis] - room)
    return (pads[0], pads[1], ends[0], ends[1])


def _walked(maps: Maps, window: Window, channels: int) -> Maps:
    height, width = window.out_sides(maps.height, maps.width)
    if height < 1 or width < 1:
        raise NotLiftable(f"has a kernel larger than its maps of {maps.height} x {maps.width}")
    return Maps(height=height, width=width, channels=channels)


WINDOW_HANDLERS: dict[str, Handler] = {
    "Conv": convolution,
    "Gemm": gemm,
    "MatMul": matmul,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "ReduceMean": reduce_mean,
    "Slice": strided_slice,
}
