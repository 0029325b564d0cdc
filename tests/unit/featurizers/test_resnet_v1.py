from __future__ import annotations

import math

import pytest

from accelform.featurizers.resnet_v1 import resnet_v1_50


def test_size_is_tf_slims() -> None:
    """53 convolutions, 3.48 GMAC, 23.5 M weights: the stride sits in a block's last unit, on its 3x3."""
    plan = resnet_v1_50()

    assert len(plan.convolutions) == 53
    assert plan.multiply_accumulates == 3_480_207_360
    assert sum(math.prod(conv.weights_shape) for conv in plan.convolutions) == 23_454_912
    assert (plan.feature_length, plan.feature_size) == (2048, 7)


@pytest.mark.parametrize(
    ("name", "shape", "stride", "out_size"),
    [
        ("conv1", (7, 7, 3, 64), 2, 112),
        ("block1/unit_1/bottleneck_v1/shortcut", (1, 1, 64, 256), 1, 56),
        ("block1/unit_1/bottleneck_v1/conv1", (1, 1, 64, 64), 1, 56),
        ("block1/unit_3/bottleneck_v1/conv2", (3, 3, 64, 64), 2, 28),
        ("block2/unit_1/bottleneck_v1/shortcut", (1, 1, 256, 512), 1, 28),
        ("block2/unit_4/bottleneck_v1/conv1", (1, 1, 512, 128), 1, 28),
        ("block3/unit_6/bottleneck_v1/conv2", (3, 3, 256, 256), 2, 7),
        ("block4/unit_1/bottleneck_v1/shortcut", (1, 1, 1024, 2048), 1, 7),
        ("block4/unit_3/bottleneck_v1/conv3", (1, 1, 512, 2048), 1, 7),
    ],
)
def test_layers_are_tf_slims(name: str, shape: tuple[int, ...], stride: int, out_size: int) -> None:
    """Names, shapes, strides and sizes of layers that other ResNets have differently."""
    layers = {conv.name: conv for conv in resnet_v1_50().convolutions}

    conv = layers[f"resnet_v1_50/{name}"]

    assert (shape, stride, out_size) == (conv.weights_shape, conv.stride, conv.out_size)


def test_only_units_that_change_depth_have_a_shortcut_convolution() -> None:
    """The first unit of each block does; elsewhere the shortcut is the input, subsampled where the unit strides."""
    units = resnet_v1_50().units

    assert [index for index, unit in enumerate(units, 1) if unit.shortcut is not None] == [1, 4, 8, 14]
    assert [index for index, unit in enumerate(units, 1) if unit.stride == 2] == [3, 7, 13]


def test_variables_are_named_as_in_checkpoints() -> None:
    """Five variables per convolution under tf-slim's names, two for the classifier."""
    plan = resnet_v1_50()
    variables = plan.variables()

    assert len(variables) == 265
    assert variables["resnet_v1_50/block3/unit_6/bottleneck_v1/conv2/weights"] == (3, 3, 256, 256)
    assert variables["resnet_v1_50/block3/unit_6/bottleneck_v1/conv2/BatchNorm/moving_variance"] == (256,)
    assert plan.classifier_variables(10) == {
        "resnet_v1_50/logits/weights": (1, 1, 2048, 10),
        "resnet_v1_50/logits/biases": (10,),
    }


def test_narrow_plan_divides_every_channel_count() -> None:
    """A width divisor changes channels only; the image keeps its three."""
    wide, narrow = resnet_v1_50(), resnet_v1_50(width_divisor=8)

    for a, b in zip(wide.convolutions, narrow.convolutions, strict=True):
        assert (a.name, a.kernel, a.stride, a.out_size) == (b.name, b.kernel, b.stride, b.out_size)
        assert a.out_channels == 8 * b.out_channels
    assert narrow.stem.in_channels == 3
