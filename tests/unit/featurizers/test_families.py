"""The families' table: what clients of the original service know must not drift."""

from __future__ import annotations

import math

import pytest

from accelform.featurizers.families import FAMILIES, Family
from accelform.featurizers.preprocessing import Preprocess

PUBLISHED = {
    "resnet50": ("rn50", "1.1.3", "msfprn50", "1.1.2", 224, 2048),
    "resnet152": ("rn152", "1.1.2", "msfprn152", "1.1.3", 224, 2048),
    "densenet121": ("dn121", "1.1.4", "msfpdn121", "1.1.4", 224, 1024),
    "vgg16": ("vgg16", "1.1.3", "msfpvgg16", "1.1.2", 224, 4096),
    "ssd_vgg": ("vggssd", "1.1.3", "msfpvggssd", "1.1.3", 300, None),
}
"""Azure ML's accelerated models package 1.62.0: ids and versions, float32 and quantized; image; features."""

PREDICTIONS = {
    "resnet50": "classifier_1/resnet_v1_50/predictions/Softmax:0",
    "resnet152": "classifier/resnet_v1_152/predictions/Softmax:0",
    "densenet121": "classifier/densenet121/predictions/Softmax:0",
    "vgg16": "classifier/vgg_16/fc8/squeezed:0",
    "ssd_vgg": None,
}
DETECTOR_OUTPUTS = [
    ("block4", 37, 4), ("block7", 19, 6), ("block8", 10, 6), ("block9", 5, 6), ("block10", 3, 4), ("block11", 1, 4)
]  # fmt: skip
BY_NAME = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def test_there_are_five() -> None:
    """No more have an FPGA configuration."""
    assert list(FAMILIES) == list(PUBLISHED)
    assert all(family.name == name for name, family in FAMILIES.items())


@BY_NAME
def test_ids_versions_and_sizes(family: Family) -> None:
    """Each row is the package's."""
    row = (family.model_id, family.model_version, family.quantized_model_id, family.quantized_model_version)

    assert (*row, family.image_size, family.feature_length) == PUBLISHED[family.name]
    assert (family.image_tensor, family.prediction_tensor) == ("InputImage:0", PREDICTIONS[family.name])


@BY_NAME
def test_a_row_is_of_its_network(family: Family) -> None:
    """Sizes and tensors are the network's; every output takes all of its maps."""
    network = family.network()

    assert network.image.height == network.image.width == family.image_size
    assert tuple(output.tensor for output in network.outputs) == family.feature_tensors
    assert all(math.prod(output.shape) == network.maps[output.value].size for output in network.outputs)
    if family.feature_length is not None:
        assert family.feature_tensor == "brainwave_target_node_1_Version_0.1:0"
        assert [output.shape for output in network.outputs] == [(1, 1, family.feature_length)]


def test_a_detectors_twelve_outputs() -> None:
    """Class scores of all six grids, then boxes of all six: 8432 anchors of 21 + 4 values."""
    outputs = [(output.tensor, output.shape) for output in FAMILIES["ssd_vgg"].network().outputs]

    assert outputs == [
        (f"ssd_300_vgg/{block}_box/{tensor}:0", (grid, grid, anchors, values))
        for tensor, values in (("Reshape_1", 21), ("Reshape", 4))
        for block, grid, anchors in DETECTOR_OUTPUTS
    ]
    assert sum(math.prod(shape[:3]) for _, shape in outputs[:6]) == 8732 - 4 * (38**2 - 37**2)
    assert 4 * sum(math.prod(shape) for _, shape in outputs) == 843_200


def test_classifiers_have_their_checkpoints_names() -> None:
    """Weights [1, 1, features, classes] and biases, narrower where the network is; none for the detector."""
    variables = {name: family.classifier_variables(10, width_divisor=4) for name, family in FAMILIES.items()}

    assert variables == {
        "resnet50": {"resnet_v1_50/logits/weights": (1, 1, 512, 10), "resnet_v1_50/logits/biases": (10,)},
        "resnet152": {"resnet_v1_152/logits/weights": (1, 1, 512, 10), "resnet_v1_152/logits/biases": (10,)},
        "densenet121": {"densenet121/logits/weights": (1, 1, 256, 10), "densenet121/logits/biases": (10,)},
        "vgg16": {"vgg_16/fc8/weights": (1, 1, 1024, 10), "vgg_16/fc8/biases": (10,)},
        "ssd_vgg": {},
    }


def test_only_vgg_gives_scores() -> None:
    """Its usual classifier ends before the softmax; a detector's scores are turned into probabilities later."""
    assert [name for name, family in FAMILIES.items() if not family.softmax] == ["vgg16", "ssd_vgg"]


def test_preprocessing_is_what_the_weights_were_trained_with() -> None:
    """DenseNet scales its input; the detector sees the whole image, stretched."""
    assert {name: family.preprocess for name, family in FAMILIES.items()} == {
        "resnet50": Preprocess(),
        "resnet152": Preprocess(),
        "densenet121": Preprocess(scaling_factor=0.017),
        "vgg16": Preprocess(),
        "ssd_vgg": Preprocess(keep_aspect_ratio=False),
    }
