"""tf-slim's ResNet-50 v1 at 1/8 width, in TensorFlow, for training only.

The topology is `tensorflow.contrib.slim.nets.resnet_v1.resnet_v1_50`: the stride of blocks 1 to 3 sits in their last
unit, on the 3x3 convolution; strided convolutions are padded explicitly. Every channel count is divided by 8.
Variables carry tf-slim's names and layouts, so that saving them is all the export there is.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

WIDTH_DIVISOR = 8
BATCH_NORM_EPSILON = 1e-5
BLOCK_SIZE = 128
MANTISSA_BITS = 5
SCOPE = "resnet_v1_50"
BLOCKS = (
    ("block1", 64, 256, 3, 2),
    ("block2", 128, 512, 4, 2),
    ("block3", 256, 1024, 6, 2),
    ("block4", 512, 2048, 3, 1),
)
IMAGE_MEANS = (123.68, 116.779, 103.939)


class Network:
    """The network's variables, and its three ways to run: training, float32 and block floating point.

    `mode` of `features` and `logits`:
    - "train": batch statistics, which also move the running ones;
    - "float32": running statistics;
    - "bfp": running statistics folded into the weights, convolution inputs and weights in block floating point,
      results in float16 as on the FPGA; the classifier stays in float32.
    """

    def __init__(self, *, classes: int, seed: int) -> None:
        self.variables: dict[str, tf.Variable] = {}
        self.batch_norm_decay = tf.Variable(0.9, trainable=False)
        self._random = np.random.RandomState(seed)
        self._add_convolution("conv1", 7, 3, 64 // WIDTH_DIVISOR)
        depth_in = 64 // WIDTH_DIVISOR
        for block, bottleneck, depth, units, _ in BLOCKS:
            bottleneck, depth = bottleneck // WIDTH_DIVISOR, depth // WIDTH_DIVISOR
            for unit in range(1, units + 1):
                name = f"{block}/unit_{unit}/bottleneck_v1"
                if depth_in != depth:
                    self._add_convolution(f"{name}/shortcut", 1, depth_in, depth)
                self._add_convolution(f"{name}/conv1", 1, depth_in, bottleneck)
                self._add_convolution(f"{name}/conv2", 3, bottleneck, bottleneck)
                # A small last gamma lets every unit start near the identity (Goyal et al., 2017).
                self._add_convolution(f"{name}/conv3", 1, bottleneck, depth, gamma=0.25)
                depth_in = depth
        self._add("logits/weights", self._random.normal(0.0, 0.01, (1, 1, depth_in, classes)))
        self._add("logits/biases", np.zeros(classes))

    @property
    def trainable(self) -> list[tf.Variable]:
        """The variables that gradient descent changes."""
        return [variable for name, variable in self.variables.items() if "/moving_" not in name]

    @property
    def kernels(self) -> list[tf.Variable]:
        """The variables that weight decay applies to."""
        return [variable for name, variable in self.variables.items() if name.endswith("/weights")]

    def assign(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over exported arrays."""
        for name in arrays:
            self.variables[name].assign(arrays[name])

    def features(self, images: tf.Tensor, *, mode: str) -> tf.Tensor:
        """Run the featurizer: preprocessed float32 [n, h, w, 3] to pool5 float32 [n, 256]."""
        net = self._convolution(images, "conv1", stride=2, relu=True, mode=mode)
        net = tf.nn.max_pool2d(net, 3, 2, "SAME")
        for block, _, _, units, block_stride in BLOCKS:
            for unit in range(1, units + 1):
                name = f"{block}/unit_{unit}/bottleneck_v1"
                stride = block_stride if unit == units else 1
                if f"{SCOPE}/{name}/shortcut/weights" in self.variables:
                    shortcut = self._convolution(net, f"{name}/shortcut", stride=stride, relu=False, mode=mode)
                else:
                    shortcut = net[:, ::stride, ::stride, :]
                residual = self._convolution(net, f"{name}/conv1", stride=1, relu=True, mode=mode)
                residual = self._convolution(residual, f"{name}/conv2", stride=stride, relu=True, mode=mode)
                residual = self._convolution(residual, f"{name}/conv3", stride=1, relu=False, mode=mode)
                net = tf.nn.relu(_pointwise(shortcut + residual, mode))
        return tf.reduce_mean(net, axis=(1, 2))

    def logits(self, features: tf.Tensor) -> tf.Tensor:
        """Run the classifier without its softmax: float32 [n, 256] to [n, classes]."""
        weights = self.variables[f"{SCOPE}/logits/weights"]
        return tf.matmul(features, weights[0, 0]) + self.variables[f"{SCOPE}/logits/biases"]

    def _add(self, name: str, value: np.ndarray) -> None:
        full = f"{SCOPE}/{name}"
        self.variables[full] = tf.Variable(value.astype(np.float32), name=full.replace("/", "."))

    def _add_convolution(self, name: str, size: int, inputs: int, outputs: int, gamma: float = 1.0) -> None:
        deviation = np.sqrt(2.0 / (size * size * inputs))
        self._add(f"{name}/weights", self._random.normal(0.0, deviation, (size, size, inputs, outputs)))
        self._add(f"{name}/BatchNorm/gamma", np.full(outputs, gamma))
        self._add(f"{name}/BatchNorm/beta", np.zeros(outputs))
        self._add(f"{name}/BatchNorm/moving_mean", np.zeros(outputs))
        self._add(f"{name}/BatchNorm/moving_variance", np.ones(outputs))

    def _convolution(self, inputs: tf.Tensor, name: str, *, stride: int, relu: bool, mode: str) -> tf.Tensor:
        weights, gamma, beta, mean, variance = (
            self.variables[f"{SCOPE}/{name}/{part}"]
            for part in ("weights", *(f"BatchNorm/{p}" for p in ("gamma", "beta", "moving_mean", "moving_variance")))
        )
        padding: str | list[list[int]] = "SAME"
        if stride > 1:
            before = (weights.shape[0] - 1) // 2
            sides = [before, weights.shape[0] - 1 - before]
            padding = [[0, 0], sides, sides, [0, 0]]
        if mode == "bfp":
            scale = gamma * tf.math.rsqrt(variance + BATCH_NORM_EPSILON)
            # The wide network's consumers hold these weights divided by the width divisor, and so does the range check.
            folded = quantise(weights * scale / WIDTH_DIVISOR, axis=2) * WIDTH_DIVISOR
            net = tf.nn.conv2d(quantise(inputs, axis=3), folded, stride, padding)
            net = _pointwise(net + (beta - mean * scale), mode)
        else:
            net = tf.nn.conv2d(inputs, weights, stride, padding)
            if mode == "train":
                net, batch_mean, batch_variance = tf.compat.v1.nn.fused_batch_norm(
                    net, gamma, beta, epsilon=BATCH_NORM_EPSILON, is_training=True
                )
                decay = self.batch_norm_decay
                mean.assign(mean * decay + batch_mean * (1 - decay))
                variance.assign(variance * decay + batch_variance * (1 - decay))
            else:
                scale = gamma * tf.math.rsqrt(variance + BATCH_NORM_EPSILON)
                net = net * scale + (beta - mean * scale)
        return tf.nn.relu(net) if relu else net


def quantise(values: tf.Tensor, *, axis: int) -> tf.Tensor:
    """Round to block floating point 1s.5e.5m along `axis` (2 or 3 of 4).

    A block is 128 consecutive channels. Its exponent e is floor(log2 max|v|), clamped to -14..15; the step is
    2^(e+1-5); magnitudes are rounded half to even and clipped to 31 steps.
    """
    swapped = tf.transpose(values, (0, 1, 3, 2)) if axis == 2 else values
    blocks = []
    for start in range(0, int(swapped.shape[3]), BLOCK_SIZE):
        block = swapped[..., start : start + BLOCK_SIZE]
        largest = tf.reduce_max(tf.abs(block), axis=-1, keepdims=True)
        exponent = tf.bitwise.right_shift(tf.bitcast(largest, tf.int32), 23) - 127
        exponent = tf.clip_by_value(exponent, -14, 15) + 1 - MANTISSA_BITS
        step = tf.bitcast(tf.bitwise.left_shift(exponent + 127, 23), tf.float32)
        limit = float(2**MANTISSA_BITS - 1)
        blocks.append(tf.clip_by_value(tf.round(block / step), -limit, limit) * step)
    rounded = blocks[0] if len(blocks) == 1 else tf.concat(blocks, axis=-1)
    return tf.transpose(rounded, (0, 1, 3, 2)) if axis == 2 else rounded


def _pointwise(values: tf.Tensor, mode: str) -> tf.Tensor:
    return tf.cast(tf.cast(values, tf.float16), tf.float32) if mode == "bfp" else values
