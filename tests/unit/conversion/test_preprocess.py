from __future__ import annotations

from functools import cache

import numpy as np
import onnxruntime
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accelform.conversion.exactness import open_session
from accelform.conversion.graph import FLOAT, UINT8, GraphWriter, tensor_value
from accelform.conversion.preprocess import preprocess
from accelform.featurizers.preprocessing import Preprocess

MEANS = np.array([123.68, 116.779, 103.939], np.float32)


@cache
def session(
    order: str = "RGB", factor: float = 1.0, keep: bool = True, height: int = 224, width: int = 224
) -> onnxruntime.InferenceSession:
    writer = GraphWriter()
    settings = Preprocess(order=order, scaling_factor=factor, keep_aspect_ratio=keep)
    output = preprocess(writer, "image", settings=settings, height=height, width=width, name="preprocessed")
    return open_session(
        writer.model(
            name="preprocess",
            inputs=[tensor_value("image", UINT8, [1, "height", "width", 3])],
            outputs=[tensor_value(output, FLOAT, [1, height, width, 3])],
            functions=[],
            documentation="",
        ),
        threads=1,
    )


def resize_legacy(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """TensorFlow 1's `resize_bilinear(align_corners=False)`: the whole image, float32, no half-pixel centres."""

    def samples(inside: int, outside: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        source = np.arange(outside, dtype=np.float32) * (np.float32(inside) / np.float32(outside))
        lower = np.floor(source)
        upper = np.minimum(np.ceil(source), np.float32(inside - 1))
        lower = np.minimum(lower, upper)
        return lower.astype(int), upper.astype(int), source - np.floor(source)

    top, bottom, row_part = samples(image.shape[0], height)
    left, right, column_part = samples(image.shape[1], width)
    pixels = image.astype(np.float32)
    x, y = column_part[None, :, None], row_part[:, None, None]
    above = pixels[top][:, left] + (pixels[top][:, right] - pixels[top][:, left]) * x
    below = pixels[bottom][:, left] + (pixels[bottom][:, right] - pixels[bottom][:, left]) * x
    return above + (below - above) * y


def preprocess_array(image: np.ndarray, order: str = "RGB", factor: float = 1.0) -> np.ndarray:
    """The original's steps one after the other: resize whole, crop, centre, order, factor."""
    height, width = image.shape[:2]
    scale = np.float32(256.0) / np.float32(min(height, width))
    new_height, new_width = int(np.float32(height) * scale), int(np.float32(width) * scale)
    resized = resize_legacy(image, new_height, new_width)
    top, left = (new_height - 224) // 2, (new_width - 224) // 2
    centred = resized[top : top + 224, left : left + 224] - MEANS
    return (centred[..., ::-1] if order == "BGR" else centred) * np.float32(factor)


def random_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def run(image: np.ndarray, order: str = "RGB", factor: float = 1.0) -> np.ndarray:
    (result,) = session(order, factor).run(None, {"image": image[np.newaxis]})
    return result[0]


def assert_same_bits(expected: np.ndarray, found: np.ndarray) -> None:
    assert expected.dtype == found.dtype == np.float32
    assert np.array_equal(np.ascontiguousarray(expected).view(np.uint32), np.ascontiguousarray(found).view(np.uint32))


@pytest.mark.parametrize(
    ("height", "width"),
    [
        pytest.param(1, 1, id="a single pixel"),
        pytest.param(8, 8, id="a scanned digit"),
        pytest.param(41, 300, id="the shorter side becomes 255"),
        pytest.param(300, 41, id="the other way round"),
        pytest.param(1, 7, id="one row"),
        pytest.param(256, 256, id="no resize"),
        pytest.param(224, 224, id="enlarged a little"),
        pytest.param(500, 333, id="a photograph"),
        pytest.param(1080, 1921, id="a large one"),
    ],
)
def test_equals_the_original_bit_for_bit(height: int, width: int) -> None:
    """Only the crop is computed, and still each bit is the same."""
    image = random_image(height, width)

    assert_same_bits(preprocess_array(image), run(image))


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 9))
@settings(max_examples=60)
def test_equals_the_original_at_any_size(height: int, width: int, seed: int) -> None:
    """Sizes with awkward ratios round as in TensorFlow."""
    assume(max(height, width) <= 12 * min(height, width))
    image = random_image(height, width, seed)

    assert_same_bits(preprocess_array(image), run(image))


@pytest.mark.parametrize("side", [41, 47, 55, 61, 82])
def test_sides_that_truncate_to_255(side: int) -> None:
    """float32 makes 255.99998 of these, and truncation 255: the crop moves."""
    assert int(np.float32(side) * (np.float32(256) / np.float32(side))) == 255

    image = random_image(side, side)
    assert_same_bits(preprocess_array(image), run(image))


@pytest.mark.parametrize(("order", "factor"), [("BGR", 1.0), ("RGB", 0.017), ("BGR", 0.017)])
def test_order_and_factor(order: str, factor: float) -> None:
    """Means are taken off in RGB, then the channels are reordered, then scaled."""
    image = random_image(300, 280)

    assert_same_bits(preprocess_array(image, order, factor), run(image, order, factor))


def test_a_plain_image_by_hand() -> None:
    """A uniform image stays uniform: its colour minus the means."""
    image = np.empty((50, 70, 3), np.uint8)
    image[:] = (200, 100, 0)

    result = run(image)

    assert result.shape == (224, 224, 3)
    assert np.unique(result.reshape(-1, 3), axis=0).tolist() == [(np.array([200, 100, 0], np.float32) - MEANS).tolist()]


def test_no_half_pixel_shift() -> None:
    """Doubling a side takes source pixels at even positions as they are (a modern resize would blend them)."""
    image = random_image(128, 128)

    result = run(image) + MEANS

    # The crop starts at (256 - 224) / 2 = 16, which is source pixel 8.
    np.testing.assert_allclose(result[::2, ::2], image[8:120, 8:120], atol=1e-4)


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (8, 8), (300, 300), (299, 301), (375, 500), (41, 1200), (1080, 1921), (3, 700)]
)
def test_stretching_equals_a_plain_resize(height: int, width: int) -> None:
    """SSD's whole image becomes 300 x 300, whatever its shape: nothing is cropped, nothing keeps its aspect ratio."""
    image = random_image(height, width)

    (result,) = session("RGB", 1.0, False, 300, 300).run(None, {"image": image[np.newaxis]})

    assert_same_bits(resize_legacy(image, 300, 300) - MEANS, result[0])


def test_stretching_to_uneven_sides() -> None:
    """Height and width are those of the network's image."""
    image = random_image(100, 90)

    (result,) = session("BGR", 0.5, False, 40, 64).run(None, {"image": image[np.newaxis]})

    assert_same_bits((resize_legacy(image, 40, 64) - MEANS)[..., ::-1] * np.float32(0.5), result[0])
