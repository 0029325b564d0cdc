"""ResNet v1 as tf-slim defines it: the stride sits in the last unit of a block, on its 3x3.

Source: He et al. 2016 (the topology); tf-slim's `resnet_v1` and `resnet_utils` (names, strides, paddings,
    batch-norm epsilon).
"""

from __future__ import annotations

from accelform.featurizers.networks.builder import Builder, plain
from accelform_runtime.network.network import Network
from accelform_runtime.network.steps import IMAGE, BatchNorm, Variables

BATCH_NORM_EPSILON = 1e-5
"""tf-slim's `resnet_arg_scope` default."""

BOTTLENECK_EXPANSION = 4
STEM_CHANNELS = 64
IMAGE_SIZE = 224
UNITS_PER_BLOCK = {"resnet_v1_50": (3, 4, 6, 3), "resnet_v1_152": (3, 8, 36, 3)}


def resnet_v1(name: str, features: str, *, width_divisor: int = 1, image_size: int = IMAGE_SIZE) -> Network:
    """`resnet_v1_50` or `resnet_v1_152`; its features leave as the tensor `features`."""
    builder = Builder(name=name, image_size=image_size, width_divisor=width_divisor)
    stem = _conv(builder, f"{name}/conv1", IMAGE, builder.wide(STEM_CHANNELS), kernel=7, stride=2)
    net = builder.max_pool(f"{name}/pool1", stem, builder.same(stem, 3, stride=2))
    blocks = UNITS_PER_BLOCK[name]
    for block, units in enumerate(blocks, start=1):
        base = builder.wide(STEM_CHANNELS << (block - 1))
        for index in range(1, units + 1):
            stride = 2 if index == units and block != len(blocks) else 1
            net = _unit(builder, f"{name}/block{block}/unit_{index}/bottleneck_v1", net, base, stride)
    net = builder.mean(f"{name}/pool5", net)
    builder.output(features, net, (1, 1, builder.maps[net].channels))
    return builder.network()


def resnet_v1_classifier(name: str, features: int, classes: int) -> Variables:
    """A 1x1 convolution with bias."""
    return {f"{name}/logits/weights": (1, 1, features, classes), f"{name}/logits/biases": (classes,)}


def _unit(builder: Builder, name: str, source: str, base: int, stride: int) -> str:
    """out = ReLU(shortcut(x) + conv3(conv2(conv1(x)))).

    The shortcut is a convolution where the depth changes; else x itself, every `stride`-th row and column of it.
    """
    out_channels = base * BOTTLENECK_EXPANSION
    shortcut = source
    if builder.maps[source].channels != out_channels:
        shortcut = _conv(builder, f"{name}/shortcut", source, out_channels, kernel=1, stride=stride, relu=False)
    elif stride != 1:
        shortcut = builder.max_pool(f"{name}/shortcut", source, plain(1, stride=stride))
    net = _conv(builder, f"{name}/conv1", source, base, kernel=1)
    net = _conv(builder, f"{name}/conv2", net, base, kernel=3, stride=stride)
    net = _conv(builder, f"{name}/conv3", net, out_channels, kernel=1, relu=False)
    return builder.add(name, shortcut, net)


def _conv(
    builder: Builder, name: str, source: str, channels: int, *, kernel: int, stride: int = 1, relu: bool = True
) -> str:
    norm = BatchNorm(scope=f"{name}/BatchNorm", epsilon=BATCH_NORM_EPSILON)
    window = plain(kernel, stride=stride, padding=kernel // 2)
    return builder.convolution(name, source, channels, window, batch_norm=norm, relu=relu)
