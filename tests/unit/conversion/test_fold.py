from __future__ import annotations

import numpy as np
import pytest

from accelform.conversion.fold import fold_variables
from accelform_runtime.errors import NotFinite
from accelform_runtime.network.network import Network
from accelform_runtime.network.steps import Affine, BatchNorm, Convolution, Maps, Normalise, Window

EPSILON = 1e-3


def network(*, biases: bool) -> Network:
    norm = BatchNorm(scope="net/conv/BatchNorm", epsilon=EPSILON)
    return Network(
        name="net",
        image=Maps(height=1, width=1, channels=3),
        steps=(
            Convolution(
                name="net/conv",
                source="image",
                in_channels=3,
                out_channels=2,
                window=Window(kernel=(1, 1)),
                weights="net/conv/weights",
                biases="net/conv/biases" if biases else None,
                batch_norm=norm,
            ),
            Affine(name="net/affine", source="net/conv", channels=2, batch_norm=norm),
            Normalise(name="net/normal", source="net/affine", channels=2, scale="net/normal/gamma"),
            Convolution(
                name="net/plain",
                source="net/normal",
                in_channels=2,
                out_channels=1,
                window=Window(kernel=(1, 1)),
                weights="net/plain/weights",
            ),
        ),
        outputs=(),
    )


@pytest.fixture
def variables() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    made = {
        name: random.normal(size=shape).astype(np.float32) for name, shape in network(biases=True).variables().items()
    }
    made["net/conv/BatchNorm/moving_variance"] = np.array([0.5, 2.0], np.float32)
    return made


@pytest.mark.parametrize("biases", [False, True])
def test_folding_is_batch_norm(variables: dict[str, np.ndarray], biases: bool) -> None:
    """gamma (Wx + b - mean) / sqrt(variance + epsilon) + beta, in one multiplication and one addition."""
    arrays = fold_variables(network(biases=biases), variables)
    weights, bias = arrays["net/conv"].convolution
    x = np.random.default_rng(1).normal(size=3)
    before = x @ variables["net/conv/weights"][0, 0] + (variables["net/conv/biases"] if biases else 0)
    gamma, beta, mean, variance = (
        variables[f"net/conv/BatchNorm/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )

    expected = gamma * (before - mean) / np.sqrt(variance + EPSILON) + beta

    np.testing.assert_allclose(x @ weights[0, 0] + bias, expected, rtol=1e-5, atol=1e-6)
    scale, shift = arrays["net/affine"].affine
    np.testing.assert_allclose(before * scale + shift, expected, rtol=1e-5, atol=1e-6)


def test_the_rest_is_taken_over(variables: dict[str, np.ndarray]) -> None:
    """A normalisation's scale, plain weights, and zeros where there is no bias."""
    arrays = fold_variables(network(biases=True), variables)

    assert np.array_equal(arrays["net/normal"].normalise, variables["net/normal/gamma"])
    weights, bias = arrays["net/plain"].convolution
    assert np.array_equal(weights, variables["net/plain/weights"])
    assert bias.tolist() == [0.0]
    assert all(array.dtype == np.float32 for array in (weights, bias, *arrays["net/affine"].affine))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("net/conv/BatchNorm/gamma", 3e38),
        ("net/conv/BatchNorm/moving_mean", 3e38),
        ("net/conv/BatchNorm/moving_variance", -EPSILON),
        ("net/conv/weights", np.nan),
    ],
)
def test_arrays_that_leave_the_range_are_refused(variables: dict[str, np.ndarray], name: str, value: float) -> None:
    """A fold beyond float32 never becomes a silent infinity."""
    variables["net/conv/BatchNorm/moving_variance"][:] = 1e-3
    variables[name] = np.full_like(variables[name], value)
    if name.endswith(("gamma", "mean")):
        variables["net/conv/weights"][:] = 50.0
        variables["net/conv/BatchNorm/gamma"] = np.full(2, 3e38, np.float32)

    with pytest.raises(NotFinite, match="net/conv: weights or bias leave float32's range"):
        fold_variables(network(biases=True), variables)
