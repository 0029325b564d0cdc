"""The five networks: sizes as published, names and strides of their tf-slim originals."""

from __future__ import annotations

import math

import pytest

from accelform.featurizers.families import FAMILIES, Family
from accelform_runtime.network.network import Network
from accelform_runtime.network.steps import AveragePool, Concat, Convolution, MaxPool, Normalise


@pytest.fixture(scope="module")
def networks() -> dict[str, Network]:
    return {name: family.network() for name, family in FAMILIES.items()}


@pytest.mark.parametrize(
    ("name", "convolutions", "multiply_accumulates", "weights"),
    [
        ("resnet50", 53, 3_480_207_360, 23_454_912),
        ("resnet152", 155, 10_904_649_728, 57_992_384),
        ("densenet121", 120, 2_833_137_664, 6_870_208),
        ("vgg16", 15, 15_466_168_320, 134_248_128),
        ("ssd_vgg", 35, 30_896_609_792, 26_276_032),
    ],
)
def test_sizes(
    networks: dict[str, Network], name: str, convolutions: int, multiply_accumulates: int, weights: int
) -> None:
    """Layers, GMAC and millions of weights that a second derivation from the papers gave as well."""
    network = networks[name]

    assert len(network.convolutions) == convolutions
    assert network.multiply_accumulates == multiply_accumulates
    assert sum(math.prod(conv.weights_shape) for conv in network.convolutions) == weights


@pytest.mark.parametrize(
    ("family", "name", "shape", "stride", "dilation", "padding", "out"),
    [
        ("resnet50", "resnet_v1_50/conv1", (7, 7, 3, 64), 2, 1, (3, 3, 3, 3), 112),
        ("resnet50", "resnet_v1_50/block1/unit_1/bottleneck_v1/shortcut", (1, 1, 64, 256), 1, 1, (0,) * 4, 56),
        ("resnet50", "resnet_v1_50/block1/unit_3/bottleneck_v1/conv2", (3, 3, 64, 64), 2, 1, (1,) * 4, 28),
        ("resnet50", "resnet_v1_50/block2/unit_1/bottleneck_v1/shortcut", (1, 1, 256, 512), 1, 1, (0,) * 4, 28),
        ("resnet50", "resnet_v1_50/block3/unit_6/bottleneck_v1/conv2", (3, 3, 256, 256), 2, 1, (1,) * 4, 7),
        ("resnet50", "resnet_v1_50/block4/unit_3/bottleneck_v1/conv3", (1, 1, 512, 2048), 1, 1, (0,) * 4, 7),
        ("resnet152", "resnet_v1_152/block2/unit_8/bottleneck_v1/conv2", (3, 3, 128, 128), 2, 1, (1,) * 4, 14),
        ("resnet152", "resnet_v1_152/block3/unit_36/bottleneck_v1/conv2", (3, 3, 256, 256), 2, 1, (1,) * 4, 7),
        ("densenet121", "densenet121/conv1", (7, 7, 3, 64), 2, 1, (2, 2, 3, 3), 112),
        ("densenet121", "densenet121/dense_block1/conv_block6/x1/Conv", (1, 1, 224, 128), 1, 1, (0,) * 4, 56),
        ("densenet121", "densenet121/transition_block1/blk/Conv", (1, 1, 256, 128), 1, 1, (0,) * 4, 56),
        ("densenet121", "densenet121/dense_block4/conv_block16/x2/Conv", (3, 3, 128, 32), 1, 1, (1,) * 4, 7),
        ("vgg16", "vgg_16/conv5/conv5_3", (3, 3, 512, 512), 1, 1, (1,) * 4, 14),
        ("vgg16", "vgg_16/fc6", (7, 7, 512, 4096), 1, 1, (0,) * 4, 1),
        ("vgg16", "vgg_16/fc7", (1, 1, 4096, 4096), 1, 1, (0,) * 4, 1),
        ("ssd_vgg", "ssd_300_vgg/conv4/conv4_3", (3, 3, 512, 512), 1, 1, (1,) * 4, 37),
        ("ssd_vgg", "ssd_300_vgg/conv6", (3, 3, 512, 1024), 1, 6, (6,) * 4, 19),
        ("ssd_vgg", "ssd_300_vgg/block8/conv3x3", (3, 3, 256, 512), 2, 1, (1,) * 4, 10),
        ("ssd_vgg", "ssd_300_vgg/block11/conv3x3", (3, 3, 128, 256), 1, 1, (0,) * 4, 1),
        ("ssd_vgg", "ssd_300_vgg/block7_box/conv_cls", (3, 3, 1024, 126), 1, 1, (1,) * 4, 19),
        ("ssd_vgg", "ssd_300_vgg/block4_box/conv_loc", (3, 3, 512, 16), 1, 1, (1,) * 4, 37),
    ],
)
def test_layers(
    networks: dict[str, Network],
    family: str,
    name: str,
    shape: tuple[int, ...],
    stride: int,
    dilation: int,
    padding: tuple[int, ...],
    out: int,
) -> None:
    """Names, shapes, strides, paddings and sizes of layers that other renderings have differently."""
    network = networks[family]
    conv = network.by_name[name]

    assert isinstance(conv, Convolution)
    assert (conv.weights_shape, conv.weights) == (shape, f"{name}/weights")
    assert conv.window.stride == (stride,) * 2
    assert conv.window.dilation == (dilation,) * 2
    assert conv.window.padding == padding
    assert network.maps[name].height == network.maps[name].width == out


def test_resnet_shortcuts(networks: dict[str, Network]) -> None:
    """A convolution where the depth changes, every second pixel where a later unit strides, else the input itself."""
    for name in ("resnet50", "resnet152"):
        steps = [step for step in networks[name].steps if step.name.endswith("/shortcut")]

        assert [type(step) for step in steps] == [Convolution, MaxPool, Convolution, MaxPool, Convolution, MaxPool,
                                                  Convolution]  # fmt: skip
        pools = [step.window for step in steps if isinstance(step, MaxPool)]
        assert {(window.kernel, window.stride) for window in pools} == {((1, 1), (2, 2))}


def test_densenet_normalises_before_it_convolves(networks: dict[str, Network]) -> None:
    """x1's batch norm stands alone on the concat; x2's is folded into x1's convolution; transitions take averages."""
    network = networks["densenet121"]
    block = "densenet121/dense_block2/conv_block3"
    first, second = network.by_name[f"{block}/x1/Conv"], network.by_name[f"{block}/x2/Conv"]

    assert isinstance(first, Convolution)
    assert first.source == f"{block}/x1/BatchNorm"
    assert first.batch_norm is not None
    assert (first.batch_norm.scope, first.batch_norm.epsilon) == (f"{block}/x2/BatchNorm", 1.1e-5)
    assert isinstance(second, Convolution)
    assert (second.batch_norm, second.biases, second.relu) == (None, None, False)
    assert network.by_name[block] == Concat(
        name=block, inputs=("densenet121/dense_block2/conv_block2", f"{block}/x2/Conv")
    )
    assert network.by_name["densenet121/conv1"].batch_norm.scope == "densenet121/BatchNorm"
    assert sum(isinstance(step, AveragePool) for step in network.steps) == 3


def test_ssd_scales_its_first_source(networks: dict[str, Network]) -> None:
    """Only block 4 is normalised, and only for its head: pool 4 reads the maps themselves."""
    network = networks["ssd_vgg"]
    (norm,) = (step for step in network.steps if isinstance(step, Normalise))

    assert norm.variables() == {"ssd_300_vgg/block4_box/L2Normalization/gamma": (512,)}
    assert network.by_name["ssd_300_vgg/block4_box/conv_loc"].sources == (norm.name,)
    assert network.by_name["ssd_300_vgg/pool4"].sources == ("ssd_300_vgg/conv4/conv4_3",)


def test_variables_are_named_as_in_checkpoints(networks: dict[str, Network]) -> None:
    """Counts and samples of every rendering's names."""
    counts = {name: len(network.variables()) for name, network in networks.items()}

    assert counts == {"resnet50": 265, "resnet152": 775, "densenet121": 604, "vgg16": 30, "ssd_vgg": 71}
    resnet = networks["resnet50"].variables()
    assert resnet["resnet_v1_50/block3/unit_6/bottleneck_v1/conv2/BatchNorm/moving_variance"] == (256,)
    assert networks["densenet121"].variables()["densenet121/final_block/BatchNorm/gamma"] == (1024,)
    assert networks["vgg16"].variables()["vgg_16/fc6/biases"] == (4096,)
    assert networks["ssd_vgg"].variables()["ssd_300_vgg/block11_box/conv_cls/biases"] == (84,)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_narrow_networks_divide_every_channel_count(family: Family) -> None:
    """A width divisor changes channels only; the image keeps its three and a detector its outputs."""
    wide, narrow = family.network(), family.network(width_divisor=8)
    outputs = {output.value for output in wide.outputs} if family.feature_length is None else set()

    for a, b in zip(wide.steps, narrow.steps, strict=True):
        factor = 1 if a.name in outputs else 8
        assert (a.name, a.sources, type(a)) == (b.name, b.sources, type(b))
        assert wide.maps[a.name].channels == factor * narrow.maps[a.name].channels
        assert wide.maps[a.name].height == narrow.maps[a.name].height
    assert narrow.convolutions[0].in_channels == 3


def test_too_narrow_is_refused() -> None:
    """DenseNet grows by 32 channels; a sixty-fourth of it would be none."""
    with pytest.raises(ValueError, match="64 times narrower: one of its layers has 32 channels"):
        FAMILIES["densenet121"].network(width_divisor=64)


@pytest.mark.parametrize("classes", [0, 21])
def test_a_detector_takes_twenty_classes(classes: int) -> None:
    """The FPGA's limit, the background not counted."""
    with pytest.raises(ValueError, match="1 to 20, the background not counted"):
        FAMILIES["ssd_vgg"].network(classes=classes)


def test_a_detector_of_fewer_classes() -> None:
    """Only the class scores change."""
    network = FAMILIES["ssd_vgg"].network(classes=3)

    assert network.outputs[0].shape == (37, 37, 4, 4)
    assert network.maps["ssd_300_vgg/block7_box/conv_cls"].channels == 6 * 4
    assert network.maps["ssd_300_vgg/block7_box/conv_loc"].channels == 6 * 4


def test_other_families_have_no_classes_of_their_own() -> None:
    """Their classifier is apart, on the CPU."""
    with pytest.raises(ValueError, match="its classifier does"):
        FAMILIES["vgg16"].network(classes=10)
