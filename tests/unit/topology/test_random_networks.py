"""Any network of supported steps survives being written as ONNX and lifted again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.exporting import STYLES, Style, export, random_variables

from accelform.topology import split_onnx
from accelform.topology.compare import compare
from accelform_runtime.network.network import Network, Output
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

from .running import assert_close, run_split, run_whole

SIDES = st.integers(5, 9)
STYLE = st.sampled_from(list(STYLES.values()))


@st.composite
def windows(draw: st.DrawFn, *, dilated: bool) -> Window:
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2))) if dilated else (1, 1)
    top, left, bottom, right = (draw(st.integers(0, kernel[axis % 2] - 1)) for axis in range(4))
    stride = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    return Window(kernel=kernel, stride=stride, padding=(top, left, bottom, right), dilation=dilation)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """A convolution, then steps that read any earlier value. What nothing reads is an output."""
    image = Maps(height=draw(SIDES), width=draw(SIDES), channels=draw(st.integers(1, 4)))
    maps, steps, count = {IMAGE: image}, [], draw(st.integers(1, 8))
    kinds = ("conv", "conv", "max", "average", "mean", "add", "concat", "affine", "normalise")
    for index in range(count):
        kind = draw(st.sampled_from(kinds)) if index else "conv"
        step = _step(draw, kind, f"step_{index}", IMAGE if not index else draw(st.sampled_from(list(maps)[1:])), maps)
        if step is None:
            continue
        try:
            partial = Network(name="random", image=image, steps=(*steps, step), outputs=())
            maps[step.name] = partial.maps[step.name]
        except ValueError:
            continue
        steps.append(step)
    read = {source for step in steps for source in step.sources}
    outputs = tuple(
        Output(
            tensor=f"out/{step.name}:0",
            value=step.name,
            shape=(maps[step.name].height, maps[step.name].width, maps[step.name].channels),
        )
        for step in steps
        if step.name not in read
    )
    return Network(name="random", image=image, steps=tuple(steps), outputs=outputs)


def _step(draw: st.DrawFn, kind: str, name: str, source: str, maps: dict[str, Maps]) -> Step | None:
    here = maps[source]
    if kind == "conv":
        relu, norm = draw(st.booleans()), draw(st.booleans())
        return Convolution(
            name=name,
            source=source,
            in_channels=here.channels,
            out_channels=draw(st.integers(1, 5)),
            window=draw(windows(dilated=True)),
            weights=f"{name}/weights",
            biases=f"{name}/biases" if not norm and draw(st.booleans()) else None,
            batch_norm=BatchNorm(scope=f"{name}/BatchNorm", epsilon=1e-3) if norm else None,
            relu=relu,
        )
    if kind in ("max", "average"):
        window = draw(windows(dilated=False))
        whole = window.kernel == (here.height, here.width)
        if whole or window.kernel == (1, 1):
            return None
        return (MaxPool if kind == "max" else AveragePool)(name=name, source=source, window=window)
    if kind == "mean":
        return Mean(name=name, source=source) if (here.height, here.width) != (1, 1) else None
    if kind == "add":
        others = [value for value in list(maps)[1:] if maps[value] == here and value != source]
        relu = draw(st.booleans())
        return Add(name=name, left=source, right=draw(st.sampled_from(others)), relu=relu) if others else None
    if kind == "concat":
        sides = [
            value for value in list(maps)[1:] if (maps[value].height, maps[value].width) == (here.height, here.width)
        ]
        return Concat(name=name, inputs=(source, draw(st.sampled_from(sides))))
    if kind == "affine":
        folded = BatchNorm(scope=f"{name}/BatchNorm", epsilon=1e-5)
        return Affine(name=name, source=source, channels=here.channels, batch_norm=folded, relu=True)
    return Normalise(name=name, source=source, channels=here.channels, scale=f"{name}/gamma")


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(network=networks(), style=STYLE, seed=st.integers(0, 99))
def test_computes_the_same(network: Network, style: Style, seed: int) -> None:
    """Whatever was fused, the parts together give what the graph gave."""
    style = replace(style, dense="Conv")
    model = export(network, random_variables(network, seed), style)
    split = split_onnx(model)

    shape = [dim.dim_value or 1 for dim in model.graph.input[0].type.tensor_type.shape.dim]
    image = np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)
    assert_close(run_whole(model, image), run_split(split, image), tolerance=1e-3)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(network=networks(), style=STYLE)
def test_has_the_same_structure(network: Network, style: Style) -> None:
    """Step by step the network that was written, unless two of its steps can be told from one by no graph."""
    split = split_onnx(export(network, random_variables(network), style))

    fused = {step.name for step in network.steps if isinstance(step, Affine) and _takes_norms(network, step.source)}
    if not fused:
        found = compare(network, split.network)
        assert found.differences == []
        assert len(split.network.steps) == len(network.steps)


def _takes_norms(network: Network, source: str) -> bool:
    """A batch norm behind a convolution without ReLU becomes part of it."""
    step = network.by_name[source]
    return isinstance(step, Convolution) and not step.relu
