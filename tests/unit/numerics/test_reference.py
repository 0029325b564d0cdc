from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelform_runtime.numerics import NumberFormat, load_profile
from accelform_runtime.numerics import reference as ops
from accelform_runtime.numerics.quantiser import quantise

BRAINWAVE = load_profile("bw-a10-cnn")


def naive_convolution(maps: np.ndarray, weights: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """Seven loops in rational arithmetic: no rounding at all."""
    kernel, _, _, out_channels = weights.shape
    padded = np.pad(maps, ((padding, padding), (padding, padding), (0, 0)))
    size = [(length - kernel) // stride + 1 for length in padded.shape[:2]]
    result = np.zeros((*size, out_channels))
    for y, x, out in np.ndindex(*result.shape):
        window = padded[y * stride : y * stride + kernel, x * stride : x * stride + kernel]
        products = zip(window.reshape(-1).tolist(), weights[..., out].reshape(-1).tolist(), strict=True)
        result[y, x, out] = float(sum(Fraction(a) * Fraction(b) for a, b in products))
    return result


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(1, 1, 0), (1, 2, 0), (3, 1, 1), (3, 2, 1), (7, 2, 3)])
def test_convolution_of_equal_exponents_is_exact(kernel: int, stride: int, padding: int) -> None:
    """Where no sum needs more than 24 bits, the result equals rational arithmetic."""
    random = np.random.default_rng(kernel)
    maps = random.integers(-31, 32, (9, 8, 3)).astype(np.float32) / 16
    weights = random.integers(-31, 32, (kernel, kernel, 3, 2)).astype(np.float32) / 16

    result = ops.convolve(maps, weights, stride=stride, padding=padding, fmt=BRAINWAVE)

    assert np.float32 == result.dtype
    assert np.array_equal(naive_convolution(maps, weights, stride, padding), result)


def test_vectors_are_added_in_increasing_order(variant: Callable[..., NumberFormat]) -> None:
    """Across vectors float32 rounds after each addition: taps outside, channel blocks inside."""
    fmt = variant(block_size=1, exponent_bits=8)
    big = 2.0**24
    ones = np.ones((1, 2, 2, 1), np.float32)

    def total(*taps: list[float]) -> float:
        maps = np.array([taps], np.float32)
        return ops.convolve(maps, ones[:, : len(taps), : len(taps[0])], stride=1, padding=0, fmt=fmt).item()

    # 1 + 2^24 rounds to 2^24, so what is lost tells the order.
    assert total([1.0, big], [-big, 0.0]) == 0.0
    assert total([-big, 0.0], [1.0, big]) == 1.0
    assert total([big, -big], [0.0, 1.0]) == 1.0
    assert total([0.0, 1.0], [big, -big]) == 0.0


def test_a_vector_is_one_exact_sum(variant: Callable[..., NumberFormat]) -> None:
    """Inside a vector nothing rounds, in whatever order the matrix product adds."""
    maps = np.full((1, 1, 128), 31.0, np.float32)
    weights = np.full((1, 1, 128, 1), 31.0, np.float32)

    assert ops.convolve(maps, weights, stride=1, padding=0, fmt=variant()).item() == 128 * 31 * 31


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
def test_max_pool_pads_after(size: int) -> None:
    """An even map is padded after its last row only, an odd one on both sides; padding never wins."""
    maps = -np.arange(size * size, dtype=np.float32).reshape(size, size, 1) - 1

    result = ops.max_pool_same(maps)

    before = 0 if size % 2 == 0 else 1
    starts = [max(0, 2 * index - before) for index in range(-(-size // 2))]
    expected = [[maps[y, x, 0] for x in starts] for y in starts]
    assert expected == result[..., 0].tolist()


def test_mean_is_exact_before_its_roundings() -> None:
    """A tiny value next to a large one is not lost before the division."""
    maps = np.zeros((7, 7, 1), np.float32)
    maps[0, 0, 0], maps[3, 3, 0] = 49 * 1024, 2.0**-14

    assert ops.spatial_mean(maps, BRAINWAVE).item() == 1024.0
    maps[0, 0, 0] = 49 * 1024 + 24.5
    maps[6, 6, 0] = -24.5
    assert ops.spatial_mean(maps, BRAINWAVE).item() == 1024.0


def test_certificate_proves_quantised_normal_data() -> None:
    """Ordinary activations and weights are proven independent of the order of addition."""
    random = np.random.default_rng(0)
    maps = quantise(np.maximum(random.normal(size=(6, 6, 256)), 0), fmt=BRAINWAVE, axis=-1)
    weights = quantise(random.normal(size=(3, 3, 256, 64)) / 48, fmt=BRAINWAVE, axis=2)

    certificate = ops.certify(maps, weights, stride=1, padding=1, fmt=BRAINWAVE)

    assert certificate.complete
    assert certificate.outputs == 6 * 6 * 64


def test_certificate_refuses_a_wide_spread() -> None:
    """Where a block is 2^20 times smaller than another, sums can round, and it says so for those outputs alone."""
    maps = np.zeros((1, 2, 256), np.float32)
    maps[0, :, :128] = 31.0
    maps[0, 1, 128:] = 31 * 2.0**-18
    weights = np.ones((1, 1, 256, 3), np.float32)

    certificate = ops.certify(maps, weights, stride=1, padding=0, fmt=BRAINWAVE)

    assert (certificate.outputs, certificate.proven) == (6, 3)
