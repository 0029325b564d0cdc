"""SSD on VGG-16 at 300 x 300, in the names of the widely used tf-slim port.

Source: Liu et al. 2016 (the topology); balancap's SSD-Tensorflow (names, paddings, order of a box's two
    convolutions). The third pool drops its odd row and column, as the accelerated model did: its first grid is 37 x 37,
    the port's 38 x 38.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from accelform.featurizers.networks.builder import Builder, plain
from accelform.featurizers.networks.vgg_16 import BLOCKS, conv_block
from accelform_runtime.network.network import Network
from accelform_runtime.network.steps import IMAGE

NAME = "ssd_300_vgg"
IMAGE_SIZE = 300
MAX_OBJECT_CLASSES = 20
"""Of the FPGA's deployment; the background comes on top."""

BOX_COORDINATES = 4
DENSE_CHANNELS = 1024
DILATION = 6
DROPPING_POOL = 3
"""The pool that gives floor(side / 2); the others give ceil."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """Where boxes are predicted: `anchors` of them at each of `grid` x `grid` positions."""

    block: str
    grid: int
    anchors: int


HEADS = (
    Head(block="block4", grid=37, anchors=4),
    Head(block="block7", grid=19, anchors=6),
    Head(block="block8", grid=10, anchors=6),
    Head(block="block9", grid=5, anchors=6),
    Head(block="block10", grid=3, anchors=4),
    Head(block="block11", grid=1, anchors=4),
)
CLASS_TENSORS = tuple(f"{NAME}/{head.block}_box/Reshape_1:0" for head in HEADS)
BOX_TENSORS = tuple(f"{NAME}/{head.block}_box/Reshape:0" for head in HEADS)


def ssd_300_vgg(*, width_divisor: int = 1, classes: int = MAX_OBJECT_CLASSES) -> Network:
    """`classes` kinds of object, the background not counted; first the six class scores, then the six boxes.

    Raises:
        ValueError: there are fewer than one class, or more than the FPGA's deployment takes.
    """
    if not 1 <= classes <= MAX_OBJECT_CLASSES:
        raise ValueError(
            f"{NAME} has {classes} classes; the FPGA takes 1 to {MAX_OBJECT_CLASSES}, the background not counted"
        )
    builder = Builder(name=NAME, image_size=IMAGE_SIZE, width_divisor=width_divisor)
    sources = dict(_backbone(builder))
    sources["block4"] = builder.normalise(f"{NAME}/block4_box/L2Normalization", sources["block4"])
    for head in HEADS:
        scope = f"{NAME}/{head.block}_box"
        for part, values in (("conv_loc", BOX_COORDINATES), ("conv_cls", classes + 1)):
            window = plain(3, padding=1)
            builder.convolution(f"{scope}/{part}", sources[head.block], head.anchors * values, window, bias=True)
    for tensors, part, values in ((CLASS_TENSORS, "conv_cls", classes + 1), (BOX_TENSORS, "conv_loc", BOX_COORDINATES)):
        for tensor, head in zip(tensors, HEADS, strict=True):
            shape = (head.grid, head.grid, head.anchors, values)
            builder.output(tensor, f"{NAME}/{head.block}_box/{part}", shape)
    return builder.network()


def _backbone(builder: Builder) -> Iterator[tuple[str, str]]:
    """Block -> the step that gives it, of the blocks that have a head."""
    net = IMAGE
    for block, (convolutions, channels) in enumerate(BLOCKS, start=1):
        net = conv_block(builder, block, net, convolutions, channels)
        yield f"block{block}", net
        if block == len(BLOCKS):
            window = builder.same(net, 3)
        else:
            window = plain(2, stride=2) if block == DROPPING_POOL else builder.same(net, 2, stride=2)
        net = builder.max_pool(f"{NAME}/pool{block}", net, window)
    dense = builder.wide(DENSE_CHANNELS)
    window = builder.same(net, 3, dilation=DILATION)
    net = builder.convolution(f"{NAME}/conv6", net, dense, window, bias=True, relu=True)
    net = builder.convolution(f"{NAME}/conv7", net, dense, plain(1), bias=True, relu=True)
    yield "block7", net
    for scale, narrow, channels, window in (
        ("block8", 256, 512, plain(3, stride=2, padding=1)),
        ("block9", 128, 256, plain(3, stride=2, padding=1)),
        ("block10", 128, 256, plain(3)),
        ("block11", 128, 256, plain(3)),
    ):
        scope = f"{NAME}/{scale}"
        net = builder.convolution(f"{scope}/conv1x1", net, builder.wide(narrow), plain(1), bias=True, relu=True)
        net = builder.convolution(f"{scope}/conv3x3", net, builder.wide(channels), window, bias=True, relu=True)
        yield scale, net
