"""VGG-16 as tf-slim defines it, fc6 and fc7 inside: they are a 7x7 and a 1x1 convolution.

Source: Simonyan and Zisserman 2015 (the topology, its variant D); tf-slim's `vgg_16` (names, paddings).
"""

from __future__ import annotations

from accelform.featurizers.networks.builder import Builder, plain
from accelform_runtime.network.network import Network
from accelform_runtime.network.steps import IMAGE, Variables

NAME = "vgg_16"
IMAGE_SIZE = 224
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
"""Convolutions and channels of each block; a pool of 2x2/2 follows."""

DENSE_CHANNELS = 4096
DENSE_KERNEL = 7


def vgg_16(features: str, *, width_divisor: int = 1) -> Network:
    """Ends in fc7's ReLU: maps [1, 1, 4096], which leave as the tensor `features`."""
    builder = Builder(name=NAME, image_size=IMAGE_SIZE, width_divisor=width_divisor)
    net = IMAGE
    for block, (convolutions, channels) in enumerate(BLOCKS, start=1):
        net = conv_block(builder, block, net, convolutions, channels)
        net = builder.max_pool(f"{NAME}/pool{block}", net, plain(2, stride=2))
    dense = builder.wide(DENSE_CHANNELS)
    net = builder.convolution(f"{NAME}/fc6", net, dense, plain(DENSE_KERNEL), bias=True, relu=True)
    net = builder.convolution(f"{NAME}/fc7", net, dense, plain(1), bias=True, relu=True)
    builder.output(features, net, (1, 1, dense))
    return builder.network()


def vgg_16_classifier(features: int, classes: int) -> Variables:
    """fc8, a 1x1 convolution with bias."""
    return {f"{NAME}/fc8/weights": (1, 1, features, classes), f"{NAME}/fc8/biases": (classes,)}


def conv_block(builder: Builder, block: int, source: str, convolutions: int, channels: int) -> str:
    """`convolutions` of 3x3 with bias and ReLU, one after the other."""
    net = source
    for index in range(1, convolutions + 1):
        name = f"{builder.name}/conv{block}/conv{block}_{index}"
        net = builder.convolution(name, net, builder.wide(channels), plain(3, padding=1), bias=True, relu=True)
    return net
