"""A small network with a step of every kind, seeded arrays for any network, and an image for it."""

from __future__ import annotations

import numpy as np

from accelform_runtime.network.network import Network, Output
from accelform_runtime.network.parameters import Parameters, StepArrays
from accelform_runtime.network.steps import (
    Add,
    Affine,
    AveragePool,
    BatchNorm,
    Concat,
    Convolution,
    Maps,
    MaxPool,
    Mean,
    Normalise,
    Window,
)

TENSORS = ("maps:0", "positions:0", "features:0")


def every_kind() -> Network:
    """Short blocks, uneven windows, dilation, signed and non-negative values, maps and vectors as outputs."""

    def conv(name: str, source: str, channels: tuple[int, int], window: Window, *, relu: bool) -> Convolution:
        return Convolution(
            name=f"net/{name}",
            source=source if source == "image" else f"net/{source}",
            in_channels=channels[0],
            out_channels=channels[1],
            window=window,
            weights=f"net/{name}/weights",
            biases=f"net/{name}/biases",
            relu=relu,
        )

    def norm(name: str) -> BatchNorm:
        return BatchNorm(scope=f"net/{name}/BatchNorm", epsilon=1e-3)

    one = Window(kernel=(1, 1))
    same = Window(kernel=(3, 3), padding=(1, 1, 1, 1))
    return Network(
        name="net",
        image=Maps(height=17, width=14, channels=3),
        steps=(
            conv("stem", "image", (3, 140), Window(kernel=(5, 3), stride=(2, 1), padding=(2, 0, 2, 2)), relu=True),
            MaxPool(
                name="net/pool", source="net/stem", window=Window(kernel=(3, 3), stride=(2, 2), padding=(0, 0, 1, 1))
            ),
            conv("signed", "pool", (140, 20), one, relu=False),
            MaxPool(name="net/signed_pool", source="net/signed", window=same),
            conv("wide", "pool", (140, 20), Window(kernel=(3, 3), padding=(2, 2, 2, 2), dilation=(2, 2)), relu=False),
            Add(name="net/sum", left="net/signed_pool", right="net/wide", relu=True),
            AveragePool(name="net/uneven", source="net/sum", window=same),
            AveragePool(name="net/even", source="net/stem", window=Window(kernel=(2, 2), stride=(2, 2))),
            conv("branch", "even", (140, 12), one, relu=True),
            Add(name="net/signed_sum", left="net/signed", right="net/wide"),
            Concat(name="net/concat", inputs=("net/uneven", "net/signed_sum", "net/pool")),
            Affine(name="net/affine", source="net/concat", channels=180, batch_norm=norm("affine"), relu=True),
            conv("mixed", "affine", (180, 256), same, relu=True),
            Affine(name="net/shifted", source="net/mixed", channels=256, batch_norm=norm("shifted")),
            conv("shifted_conv", "shifted", (256, 8), one, relu=False),
            Normalise(name="net/normal", source="net/mixed", channels=256, scale="net/normal/gamma"),
            conv("boxes", "normal", (256, 6), same, relu=False),
            Mean(name="net/mean", source="net/shifted_conv"),
            conv("dense", "mean", (8, 10), one, relu=False),
        ),
        outputs=(
            Output(tensor=TENSORS[0], value="net/branch", shape=(4, 7, 12)),
            Output(tensor=TENSORS[1], value="net/boxes", shape=(4, 7, 2, 3)),
            Output(tensor=TENSORS[2], value="net/dense", shape=(1, 1, 10)),
        ),
    )


def seeded_parameters(network: Network, *, seed: int = 0) -> Parameters:
    """Uniform weights that keep activations near one; residual branches are small, so that sums don't grow."""
    random = np.random.default_rng(seed)
    parameters: dict[str, StepArrays] = {}
    for step in network.steps:
        if isinstance(step, Convolution):
            fan_in = np.prod(step.weights_shape[:3])
            limit = np.sqrt((6 if step.relu else 0.6) / fan_in)
            weights = random.uniform(-limit, limit, step.weights_shape).astype(np.float32)
            bias = random.normal(0, 0.05, step.out_channels).astype(np.float32)
            parameters[step.name] = StepArrays(weights=weights, bias=bias)
        elif isinstance(step, Affine):
            scale = random.uniform(0.5, 1.5, step.channels).astype(np.float32)
            bias = random.normal(0, 0.1, step.channels).astype(np.float32)
            parameters[step.name] = StepArrays(scale=scale, bias=bias)
        elif isinstance(step, Normalise):
            parameters[step.name] = StepArrays(scale=random.uniform(10, 20, step.channels).astype(np.float32))
    return parameters


def image_for(network: Network, *, seed: int = 1) -> np.ndarray:
    """Coarse squares and noise, float32 [height, width, channels], near one."""
    random = np.random.default_rng(seed)
    maps = network.image
    squares = random.uniform(-2, 2, (-(-maps.height // 8), -(-maps.width // 8), maps.channels))
    coarse = np.kron(squares, np.ones((8, 8, 1)))[: maps.height, : maps.width]
    return (coarse + random.normal(0, 0.3, coarse.shape)).astype(np.float32)
