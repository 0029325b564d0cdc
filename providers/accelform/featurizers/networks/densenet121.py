"""DenseNet-121 with batch norm before its convolutions, in the names of the widely used tf-slim port.

Source: Huang et al. 2017 (the topology, BC with growth rate 32); pudae's tf-densenet (names, paddings, epsilon).
    A batch norm that reads a concat can't be folded and is a step of its own; that of `x2` follows the convolution of
    `x1` and is folded into it.
"""

from __future__ import annotations

from accelform.featurizers.networks.builder import Builder, plain
from accelform_runtime.network.network import Network
from accelform_runtime.network.steps import IMAGE, BatchNorm, Variables

NAME = "densenet121"
IMAGE_SIZE = 224
BATCH_NORM_EPSILON = 1.1e-5
GROWTH_RATE = 32
BOTTLENECK = 4
STEM_CHANNELS = 64
LAYERS_PER_BLOCK = (6, 12, 24, 16)


def densenet121(features: str, *, width_divisor: int = 1) -> Network:
    """Ends in the global mean: maps [1, 1, 1024], which leave as the tensor `features`."""
    builder = Builder(name=NAME, image_size=IMAGE_SIZE, width_divisor=width_divisor)
    window = builder.same(IMAGE, 7, stride=2)
    stem = builder.wide(STEM_CHANNELS)
    net = builder.convolution(f"{NAME}/conv1", IMAGE, stem, window, batch_norm=_norm(NAME), relu=True)
    net = builder.max_pool(f"{NAME}/pool1", net, builder.same(net, 3, stride=2))
    for block, layers in enumerate(LAYERS_PER_BLOCK, start=1):
        for layer in range(1, layers + 1):
            net = _layer(builder, f"{NAME}/dense_block{block}/conv_block{layer}", net)
        if block != len(LAYERS_PER_BLOCK):
            net = _transition(builder, f"{NAME}/transition_block{block}", net)
    net = builder.affine(net, _norm(f"{NAME}/final_block"))
    net = builder.mean(f"{NAME}/final_block/global_avg_pool", net)
    builder.output(features, net, (1, 1, builder.maps[net].channels))
    return builder.network()


def densenet121_classifier(features: int, classes: int) -> Variables:
    """A 1x1 convolution with bias."""
    return {f"{NAME}/logits/weights": (1, 1, features, classes), f"{NAME}/logits/biases": (classes,)}


def _layer(builder: Builder, name: str, source: str) -> str:
    """concat(x, x2(x1(x))): a bottleneck of 1x1, then 3x3."""
    growth = builder.wide(GROWTH_RATE)
    net = builder.affine(source, _norm(f"{name}/x1"))
    norm = _norm(f"{name}/x2")
    net = builder.convolution(f"{name}/x1/Conv", net, BOTTLENECK * growth, plain(1), batch_norm=norm, relu=True)
    net = builder.convolution(f"{name}/x2/Conv", net, growth, plain(3, padding=1))
    return builder.concat(name, source, net)


def _transition(builder: Builder, name: str, source: str) -> str:
    """Half the channels, half the height and width."""
    net = builder.affine(source, _norm(f"{name}/blk"))
    net = builder.convolution(f"{name}/blk/Conv", net, builder.maps[source].channels // 2, plain(1))
    return builder.average_pool(f"{name}/AvgPool2D", net, plain(2, stride=2))


def _norm(scope: str) -> BatchNorm:
    return BatchNorm(scope=f"{scope}/BatchNorm", epsilon=BATCH_NORM_EPSILON)
