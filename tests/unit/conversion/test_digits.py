"""The shipped network at full size on real images: exactness and accuracy as served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from accelform.conversion.fidelity import build, check_exactness, layer_outputs, measure_accuracy
from accelform.featurizers.source import ModelSource
from accelform_runtime.numerics import load_profile


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize("digit", [0, 7])
def test_every_layer_is_bit_exact_on_real_images(digits: ModelSource, digit_images: list[Path], digit: int) -> None:
    """All 71 layers of the full network equal the definition, and every sum is proven independent of its order."""
    exactness = check_exactness(
        digits, pixels(digit_images[digit]), number_format="bw-a10-cnn", certify=digit == 7, threads=2
    )

    assert len(exactness.layers) == 71
    assert exactness.different == ()
    assert exactness.proven


def test_quantising_keeps_the_features(digits: ModelSource, digit_images: list[Path]) -> None:
    """On a trained network the FPGA's features follow the float32 ones (a random network's would not have to)."""
    features = []
    for number_format in ("float32", "bw-a10-cnn"):
        built = build(digits, name="features", fmt=load_profile(number_format))
        _, layers = layer_outputs(built, pixels(digit_images[3]), image_tensor="InputImage:0", threads=2)
        features.append(layers["features"])

    assert not np.array_equal(*features)
    assert np.corrcoef(*features)[0, 1] > 0.95


@pytest.mark.parametrize("number_format", ["float32", "bw-a10-cnn"])
def test_accuracy_is_measured_as_served(digits: ModelSource, digit_images: list[Path], number_format: str) -> None:
    """At least nine of the ten shipped held-out images are right, in either format."""
    images = [pixels(path) for path in digit_images]

    accuracy = measure_accuracy(digits, images, list(range(10)), number_format=number_format, threads=2)

    assert accuracy.images == 10
    assert accuracy.share >= 0.9


def test_accuracy_needs_one_class_per_image(digits: ModelSource) -> None:
    """A mismatch is refused before anything is converted."""
    with pytest.raises(ValueError, match="1 images and 2 classes"):
        measure_accuracy(digits, [np.zeros((8, 8, 3), np.uint8)], [1, 2], number_format="float32")
