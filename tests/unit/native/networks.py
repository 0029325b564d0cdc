"""Small random networks of every kind of step, with weights and images that reach the formats' corners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from accelform_runtime.network.network import Network, NetworkInvalid, Output
from accelform_runtime.network.parameters import Parameters, StepArrays
from accelform_runtime.network.steps import (
    IMAGE,
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
    Step,
    Window,
)
from accelform_runtime.numerics.quantiser import Floats

CHANNELS = (1, 3, 4, 7, 16, 17, 31, 33, 64, 127, 128, 129, 150, 260)


@dataclass(frozen=True, kw_only=True)
class Case:
    network: Network
    parameters: Parameters
    image: Floats


@st.composite
def cases(draw: st.DrawFn) -> Case:
    image = Maps(
        height=draw(st.integers(1, 19)), width=draw(st.integers(1, 33)), channels=draw(st.sampled_from((1, 3, 5, 130)))
    )
    values = {IMAGE: image}
    steps: list[Step] = []
    for number in range(draw(st.integers(1, 8))):
        step = draw(_step(f"s{number}", values))
        try:
            network = _network(image, [*steps, step])
        except NetworkInvalid:
            continue
        steps.append(step)
        values[step.name] = network.maps[step.name]
    if not steps:
        steps.append(_convolution("only", IMAGE, image, 3, Window(kernel=(1, 1)), relu=False))
    network = _network(image, steps)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return Case(network=network, parameters=_parameters(network, rng), image=_image(image, rng))


def _network(image: Maps, steps: list[Step]) -> Network:
    bare = Network(name="random", image=image, steps=tuple(steps), outputs=())
    maps = bare.maps
    outputs = tuple(
        Output(tensor=f"{name}:0", value=name, shape=(maps[name].size,)) for name in {steps[0].name, steps[-1].name}
    )
    return Network(name="random", image=image, steps=tuple(steps), outputs=outputs)


@st.composite
def _step(draw: st.DrawFn, name: str, values: dict[str, Maps]) -> Step:
    source = draw(st.sampled_from(list(values)[-3:]))
    maps = values[source]
    relu = draw(st.booleans())
    kind = draw(st.sampled_from(("conv", "conv", "conv", "max", "average", "mean", "add", "concat", "affine", "norm")))
    alike = [value for value, other in values.items() if other == maps]
    beside = [value for value, other in values.items() if (other.height, other.width) == (maps.height, maps.width)]
    if kind == "max":
        return MaxPool(name=name, source=source, window=draw(_window(pool=True)))
    if kind == "average":
        return AveragePool(name=name, source=source, window=draw(_window(pool=True)))
    if kind == "mean":
        return Mean(name=name, source=source)
    if kind == "add":
        return Add(name=name, left=source, right=draw(st.sampled_from(alike)), relu=relu)
    if kind == "concat":
        return Concat(name=name, inputs=tuple(draw(st.lists(st.sampled_from(beside), min_size=1, max_size=3))))
    if kind == "affine":
        norm = BatchNorm(scope=name, epsilon=1e-3)
        return Affine(name=name, source=source, channels=maps.channels, batch_norm=norm, relu=relu)
    if kind == "norm":
        return Normalise(name=name, source=source, channels=maps.channels, scale=f"{name}/scale")
    return _convolution(name, source, maps, draw(st.sampled_from(CHANNELS)), draw(_window(pool=False)), relu)


def _convolution(name: str, source: str, maps: Maps, outputs: int, window: Window, relu: bool) -> Convolution:
    return Convolution(
        name=name,
        source=source,
        in_channels=maps.channels,
        out_channels=outputs,
        window=window,
        weights=f"{name}/weights",
        relu=relu,
    )


@st.composite
def _window(draw: st.DrawFn, *, pool: bool) -> Window:
    """A pool's windows always hold a value, as in every network that means something."""
    kernel = draw(st.sampled_from(((1, 1), (1, 1), (3, 3), (2, 3), (5, 1))))
    stride = draw(st.sampled_from(((1, 1), (1, 1), (2, 2), (3, 1))))
    dilation = (1, 1) if pool else draw(st.sampled_from(((1, 1), (1, 1), (2, 1))))
    most = (kernel[0] - 1, kernel[1] - 1) if pool else (2, 2)
    top, bottom = draw(st.integers(0, most[0])), draw(st.integers(0, most[0]))
    left, right = draw(st.integers(0, most[1])), draw(st.integers(0, most[1]))
    return Window(kernel=kernel, stride=stride, padding=(top, left, bottom, right), dilation=dilation)


def _parameters(network: Network, rng: np.random.Generator) -> Parameters:
    found: dict[str, StepArrays] = {}
    for step in network.steps:
        if isinstance(step, Convolution):
            fan = float(np.prod(step.weights_shape[:3])) ** 0.5
            weights = _numbers(rng, step.weights_shape) / fan
            found[step.name] = StepArrays(
                weights=weights.astype(np.float32), bias=_numbers(rng, (step.out_channels,)) / np.float32(8)
            )
        elif isinstance(step, Affine):
            found[step.name] = StepArrays(scale=_numbers(rng, (step.channels,)), bias=_numbers(rng, (step.channels,)))
        elif isinstance(step, Normalise):
            found[step.name] = StepArrays(scale=_numbers(rng, (step.channels,)))
    return found


def _numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Normal numbers with some zeros, powers of two, and numbers just below them."""
    values = rng.normal(size=shape).astype(np.float32)
    corner = np.ldexp(np.float32(1), rng.integers(-9, 2, shape)).astype(np.float32)
    kind = rng.integers(0, 12, shape)
    values = np.where(kind == 0, corner, values)
    values = np.where(kind == 1, -np.nextafter(corner, np.float32(0)), values)
    return np.where(kind == 2, np.float32(0), values)


def _image(maps: Maps, rng: np.random.Generator) -> Floats:
    image: Floats = _numbers(rng, (maps.height, maps.width, maps.channels)) * np.float32(2.0 ** rng.integers(-12, 8))
    image[rng.integers(0, maps.height)] = 0  # whole blocks of zeros
    return np.ascontiguousarray(image)
