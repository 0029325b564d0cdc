from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelform_runtime.network import arithmetic as ops
from accelform_runtime.network.steps import Window
from accelform_runtime.numerics import NumberFormat, load_profile

BRAINWAVE = load_profile("bw-a10-cnn")


def square(kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Window:
    return Window(
        kernel=(kernel, kernel), stride=(stride, stride), padding=(padding,) * 4, dilation=(dilation, dilation)
    )


def naive_convolution(maps: np.ndarray, weights: np.ndarray, window: Window) -> np.ndarray:
    """Loops in rational arithmetic: no rounding at all."""
    top, left, bottom, right = window.padding
    padded = np.pad(maps, ((top, bottom), (left, right), (0, 0)))
    result = np.zeros((*window.out_sides(*maps.shape[:2]), weights.shape[3]))
    for y, x, out in np.ndindex(*result.shape):
        total = Fraction(0)
        for row, column in np.ndindex(*window.kernel):
            pixel = padded[
                y * window.stride[0] + row * window.dilation[0], x * window.stride[1] + column * window.dilation[1]
            ]
            products = zip(pixel.tolist(), weights[row, column, :, out].tolist(), strict=True)
            total += sum(Fraction(a) * Fraction(b) for a, b in products)
        result[y, x, out] = float(total)
    return result


@pytest.mark.parametrize(
    "window",
    [
        square(1),
        square(1, stride=2),
        square(3, padding=1),
        square(3, stride=2, padding=1),
        square(7, stride=2, padding=3),
        square(3, padding=2, dilation=2),
        Window(kernel=(1, 3), stride=(2, 1), padding=(0, 1, 1, 2), dilation=(1, 2)),
    ],
)
def test_convolution_of_equal_exponents_is_exact(window: Window) -> None:
    """Where no sum needs more than 24 bits, the result equals rational arithmetic."""
    random = np.random.default_rng(sum(window.kernel))
    maps = random.integers(-31, 32, (9, 8, 3)).astype(np.float32) / np.float32(16)
    weights = random.integers(-31, 32, (*window.kernel, 3, 2)).astype(np.float32) / np.float32(16)

    result = ops.convolve(maps, weights, window=window, fmt=BRAINWAVE)

    assert np.float32 == result.dtype
    assert np.array_equal(naive_convolution(maps, weights, window), result)


def test_vectors_are_added_in_increasing_order(variant: Callable[..., NumberFormat]) -> None:
    """Across vectors float32 rounds after each addition: taps outside, channel blocks inside."""
    fmt = variant(block_size=1, exponent_bits=8)
    big = 2.0**24
    ones = np.ones((1, 2, 2, 1), np.float32)

    def total(*taps: list[float]) -> float:
        maps = np.array([taps], np.float32)
        return ops.convolve(maps, ones, window=Window(kernel=(1, 2)), fmt=fmt).item()

    # 1 + 2^24 rounds to 2^24, so what is lost tells the order.
    assert total([1.0, big], [-big, 0.0]) == 0.0
    assert total([-big, 0.0], [1.0, big]) == 1.0
    assert total([big, -big], [0.0, 1.0]) == 1.0
    assert total([0.0, 1.0], [big, -big]) == 0.0


def test_a_vector_is_one_exact_sum(variant: Callable[..., NumberFormat]) -> None:
    """Inside a vector nothing rounds, in whatever order the matrix product adds."""
    maps = np.full((1, 1, 128), 31.0, np.float32)
    weights = np.full((1, 1, 128, 1), 31.0, np.float32)

    assert ops.convolve(maps, weights, window=square(1), fmt=variant()).item() == 128 * 31 * 31


def test_pointwise_rounds_to_float16_ties_to_even() -> None:
    """Values between convolutions are float16: 11 significant bits, subnormals kept, overflow infinite."""
    values = np.array([1 + 2**-11, 1 + 3 * 2**-11, 2.0**-25, 3 * 2.0**-26, 65519.0, 65520.0, 1e6], np.float32)

    expected = [1.0, 1 + 2**-9, 0.0, 2.0**-24, 65504.0, np.inf, np.inf]
    assert expected == ops.pointwise(values, BRAINWAVE).tolist()
    assert values.tolist() == ops.pointwise(values, load_profile("float32")).tolist()


def test_relu_gives_plus_zero() -> None:
    """Nothing negative, not even a zero, leaves a ReLU."""
    result = ops.relu(np.array([-1.0, -0.0, 0.0, 2.0], np.float32))

    assert result.tolist() == [0.0, 0.0, 0.0, 2.0]
    assert not np.signbit(result).any()


@given(st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1))
@settings(max_examples=300)
def test_addition_is_correctly_rounded_float16(left: int, right: int) -> None:
    """Adding in float32 and rounding once more equals float16's own addition, for all bit patterns."""
    a, b = (np.array([bits], np.uint16).view(np.float16) for bits in (left, right))
    if not (np.isfinite(a) & np.isfinite(b)).all():
        return

    exact = Fraction(float(a[0])) + Fraction(float(b[0]))
    with np.errstate(over="ignore"):
        expected = np.float64(float(exact)).astype(np.float16)

    assert expected == ops.add(a.astype(np.float32), b.astype(np.float32), BRAINWAVE)[0]


@pytest.mark.parametrize("size", [112, 7, 4, 1])
def test_max_pool_padding_never_wins(size: int) -> None:
    """3x3 with stride 2 as TensorFlow pads it: after the last row of an even map, on both sides of an odd one."""
    maps = -np.arange(size * size, dtype=np.float32).reshape(size, size, 1) - 1
    before = 0 if size % 2 == 0 else 1

    result = ops.max_pool(maps, Window(kernel=(3, 3), stride=(2, 2), padding=(before, before, 1, 1)))

    starts = [max(0, 2 * index - before) for index in range(-(-size // 2))]
    expected = [[maps[y, x, 0] for x in starts] for y in starts]
    assert expected == result[..., 0].tolist()


def test_average_pool_does_not_count_padding() -> None:
    """A corner's mean is that of the values there are, rounded once."""
    maps = np.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0], [64.0, 128.0, 256.0]], np.float32)[..., np.newaxis]

    result = ops.average_pool(maps, Window(kernel=(2, 2), stride=(2, 2), padding=(1, 1, 0, 0)), BRAINWAVE)

    assert result[..., 0].tolist() == [[1.0, 3.0], [36.0, 108.0]]


def test_average_pool_adds_exactly() -> None:
    """A tiny value beside large ones that cancel is the mean."""
    maps = np.array([[60000.0, 2.0**-14], [-60000.0, 0.0]], np.float32)[..., np.newaxis]

    assert ops.average_pool(maps, square(2), BRAINWAVE).item() == 2.0**-16


def test_affine_rounds_each_step_to_float16() -> None:
    """Factor, product, summand and sum: four roundings."""
    maps = np.full((1, 1, 2), 3.0, np.float32)
    scale = np.array([1 + 2**-11 + 2**-20, 1.0], np.float32)
    bias = np.array([0.0, 2.0**-12], np.float32)

    result = ops.affine(maps, scale, bias, BRAINWAVE)

    assert result[0, 0].tolist() == [float(np.float16(3 * (1 + 2**-10))), 3.0]


def test_normalise_scales_each_position_to_one() -> None:
    """3-4-5 by hand; a position of zeros stays zero and is no division by it."""
    maps = np.array([[[3.0, 4.0], [0.0, 0.0]]], np.float32)

    result = ops.normalise(maps, np.array([20.0, 10.0], np.float32), 1e-12, BRAINWAVE)

    assert result.tolist() == [[[12.0, 8.0], [0.0, 0.0]]]


def test_mean_is_exact_before_its_roundings() -> None:
    """A tiny value next to a large one is not lost before the division."""
    maps = np.zeros((7, 7, 1), np.float32)
    maps[0, 0, 0], maps[3, 3, 0] = 49 * 1024, 2.0**-14

    assert ops.spatial_mean(maps, BRAINWAVE).item() == 1024.0
    maps[0, 0, 0] = 49 * 1024 + 24.5
    maps[6, 6, 0] = -24.5
    assert ops.spatial_mean(maps, BRAINWAVE).item() == 1024.0
