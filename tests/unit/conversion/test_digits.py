"""The shipped network at full size on real images: exactness as served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from accelform.conversion.converter import build
from accelform.conversion.exactness import check_exactness, served_layers
from accelform.conversion.split import SplitModel
from accelform_runtime.numerics import load_profile


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))[np.newaxis]


def test_every_layer_is_bit_exact_on_a_real_image(split_digits: SplitModel, digit_images: list[Path]) -> None:
    """All steps of the full network equal the definition, and every sum is proven independent of its order."""
    exactness = check_exactness(
        split_digits, pixels(digit_images[7]), number_format="bw-a10-cnn", certify=True, threads=2
    )

    assert len(exactness.layers) == len(split_digits.network.steps) + 1
    assert exactness.different == ()
    assert exactness.proven
    assert len(exactness.certificates) == 53


def test_quantising_keeps_the_features(split_digits: SplitModel, digit_images: list[Path]) -> None:
    """On a trained network the FPGA's features follow the float32 ones (a random network's would not have to)."""
    (output,) = split_digits.network.outputs
    features: list[np.ndarray] = []
    for number_format in ("float32", "bw-a10-cnn"):
        built = build(split_digits, name="features", fmt=load_profile(number_format))
        layers = served_layers(built, split_digits, pixels(digit_images[3]), threads=2)
        features.append(layers.tensors[output.tensor].ravel())

    exact, rounded = features
    assert not np.array_equal(exact, rounded)
    assert np.corrcoef(exact, rounded)[0, 1] > 0.95
