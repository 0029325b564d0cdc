"""The FPGA's operations on a batch of maps [n, height, width, channels] in TensorFlow, float32, with gradients.

A sum of products whose certificate is complete comes out the same in any order. TensorFlow's convolution adds in an
order of its own, so where a sum is not proven, its last bit may differ from the definition's; `convolve_in_order` adds
as the definition does, exactly and several times slower.

Where this module divides, it takes `divide_no_nan`: TensorFlow's graph optimiser turns other divisions into products
with a reciprocal, and a division by a root into a product with a reciprocal root, which round differently.
"""

from __future__ import annotations

from typing import Any

from accelform.training.backend import tf
from accelform_runtime.network.steps import Window
from accelform_runtime.numerics.format import NumberFormat


def convolve(maps: Any, weights: Any, window: Window) -> Any:
    """A convolution with HWIO `weights`, added in TensorFlow's order."""
    padded = _padded(maps, window, 0.0)
    if window.dilation == (1, 1):
        return tf.nn.conv2d(padded, weights, strides=window.stride, padding="VALID")
    return _dilated(padded, weights, window)


def _dilated(padded: Any, weights: Any, window: Window) -> Any:
    """A dilated convolution as bare ones of the pixels that are `dilation` apart.

    TensorFlow has no gradient of its own dilated convolution on processors where it does without oneDNN.
    """
    height, width = int(padded.shape[1]), int(padded.shape[2])
    room = [[0, -height % window.dilation[0]], [0, -width % window.dilation[1]]]
    apart = tf.space_to_batch(padded, window.dilation, room)
    together = tf.batch_to_space(
        tf.nn.conv2d(apart, weights, strides=1, padding="VALID"), window.dilation, [[0, 0]] * 2
    )
    rows, columns = (
        size - step * (taps - 1)
        for size, step, taps in zip((height, width), window.dilation, window.kernel, strict=True)
    )
    return together[:, : rows : window.stride[0], : columns : window.stride[1]]


def convolve_in_order(maps: Any, weights: Any, window: Window, *, fmt: NumberFormat) -> Any:
    """The same, from +0 in float32: taps row by row outside, blocks of input channels inside.

    A block's products are multiples of one power of two that add up to less than 2^24 of it, so a matrix product per
    block is exact.
    """
    channels, outputs = int(weights.shape[2]), int(weights.shape[3])
    padded = _padded(maps, window, 0.0)
    total = None
    for row in range(window.kernel[0]):
        for column in range(window.kernel[1]):
            pixels = _tap(padded, window, row, column)
            for start in range(0, channels, fmt.block_size or channels):
                block = slice(start, start + (fmt.block_size or channels))
                part = tf.linalg.matmul(
                    tf.reshape(pixels[..., block], [-1, len(range(channels)[block])]), weights[row, column, block]
                )
                total = part if total is None else total + part
    shape = tf.concat([tf.shape(_tap(padded, window, 0, 0))[:-1], [outputs]], axis=0)
    return tf.reshape(total, shape)


def max_pool(maps: Any, window: Window) -> Any:
    """The largest value under the window; padding never wins."""
    padded = _padded(maps, window, float("-inf"))
    if window.kernel == (1, 1):
        return _tap(padded, window, 0, 0)
    if window.dilation == (1, 1):
        return tf.nn.max_pool2d(padded, window.kernel, window.stride, "VALID")
    taps = [_tap(padded, window, *at) for at in _taps(window)]
    return tf.reduce_max(tf.stack(taps), axis=0)


def average_pool(maps: Any, window: Window) -> Any:
    """The mean of the values under the window, padding not counted: summed in float64, rounded to float32."""
    doubles = tf.cast(maps, tf.float64)
    padded, counted = (_padded(values, window, 0.0) for values in (doubles, tf.ones_like(doubles)))
    taps = list(_taps(window))
    total = tf.add_n([_tap(padded, window, *at) for at in taps])
    count = tf.add_n([_tap(counted, window, *at) for at in taps])
    return tf.cast(tf.math.divide_no_nan(total, count), tf.float32)


def spatial_mean(maps: Any) -> Any:
    """[n, 1, 1, channels]: the mean over height and width, summed in float64, rounded to float32."""
    doubles = tf.cast(maps, tf.float64)
    total = tf.reduce_sum(doubles, axis=(1, 2), keepdims=True)
    size = tf.cast(tf.shape(maps)[1] * tf.shape(maps)[2], tf.float64)
    return tf.cast(tf.math.divide_no_nan(total, size), tf.float32)


def normalise(maps: Any, scale: Any, *, epsilon: float) -> Any:
    """maps / sqrt(max(sum over channels of maps^2, epsilon)) * scale in float64, rounded to float32."""
    doubles = tf.cast(maps, tf.float64)
    squares = tf.reduce_sum(tf.square(doubles), axis=-1, keepdims=True)
    root = tf.sqrt(tf.maximum(squares, tf.constant(epsilon, tf.float64)))
    return tf.cast(tf.math.divide_no_nan(doubles, root) * tf.cast(scale, tf.float64), tf.float32)


def relu(values: Any) -> Any:
    """max(value, 0); NaN stays."""
    return tf.nn.relu(values)


def _padded(values: Any, window: Window, filling: float) -> Any:
    top, left, bottom, right = window.padding
    if not any(window.padding):
        return values
    return tf.pad(values, [[0, 0], [top, bottom], [left, right], [0, 0]], constant_values=filling)


def _taps(window: Window) -> list[tuple[int, int]]:
    return [(row, column) for row in range(window.kernel[0]) for column in range(window.kernel[1])]


def _tap(padded: Any, window: Window, row: int, column: int) -> Any:
    """What the window's element (row, column) meets on its walk over padded maps of known sides."""
    height, width = int(padded.shape[1]), int(padded.shape[2])
    bare = Window(kernel=window.kernel, stride=window.stride, dilation=window.dilation)
    rows, columns = bare.out_sides(height, width)
    first_row, first_column = row * window.dilation[0], column * window.dilation[1]
    return padded[
        :,
        first_row : first_row + (rows - 1) * window.stride[0] + 1 : window.stride[0],
        first_column : first_column + (columns - 1) * window.stride[1] + 1 : window.stride[1],
    ]
