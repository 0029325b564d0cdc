"""Runs a network on a few small images in float64, telling every step's raw result to whoever fits its variables.

Only for statistics, so the images may be smaller than the network's own. A network whose last kernels wouldn't fit such
maps any more gets its small maps at their own size: they repeat themselves until they have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from accelform_runtime.network.network import Network, NetworkInvalid
from accelform_runtime.network.steps import (
    IMAGE,
    Add,
    Affine,
    AveragePool,
    Concat,
    Convolution,
    Maps,
    MaxPool,
    Mean,
    Normalise,
    Step,
    Window,
)

SMALL_SIDE = 19
"""Maps up to this height and width count as small."""

MAX_CHUNK_VALUES = 1 << 23
"""Of one copy in float64, 64 MiB: memory stays bounded whatever the width."""

Fit = Callable[[Step, np.ndarray], np.ndarray]
"""A step and its raw result [n, height, width, channels] (before batch norm, bias, scale and ReLU) -> before ReLU."""


def activations(network: Network, variables: Mapping[str, np.ndarray], images: np.ndarray, fit: Fit) -> None:
    """Walks `network` over `images`, float64 [n, height, width, channels]; `fit` sees every step once, in order."""
    values = {IMAGE: images}
    small = not _takes(network, images.shape[1])
    last_use = {source: step.name for step in network.steps for source in step.sources}
    for step in network.steps:
        result = fit(step, _raw(step, [values[source] for source in step.sources], variables))
        if isinstance(step, (Convolution, Affine, Add)) and step.relu:
            result = np.maximum(result, 0)
        values[step.name] = _repeated(result, network.maps[step.name]) if small else result
        for source in set(step.sources):
            if last_use[source] == step.name:
                del values[source]


def _takes(network: Network, side: int) -> bool:
    try:
        return bool(replace(network, image=replace(network.image, height=side, width=side)).maps)
    except NetworkInvalid:
        return False


def _repeated(net: np.ndarray, maps: Maps) -> np.ndarray:
    if maps.height > SMALL_SIDE or net.shape[1] >= maps.height:
        return net
    index = np.arange(maps.height) % net.shape[1]
    result: np.ndarray = net[:, index[:, None], index[None, :]]
    return result


def _raw(step: Step, sources: list[np.ndarray], variables: Mapping[str, np.ndarray]) -> np.ndarray:
    result = first = sources[0]
    if isinstance(step, Convolution):
        result = _convolved(first, variables[step.weights], step.window)
    elif isinstance(step, MaxPool):
        result = _windows(first, step.window, -np.inf).max(axis=(3, 4))
    elif isinstance(step, AveragePool):
        result = np.nanmean(_windows(first, step.window, np.nan), axis=(3, 4))
    elif isinstance(step, Mean):
        result = first.mean(axis=(1, 2), keepdims=True)
    elif isinstance(step, Add):
        result = first + sources[1]
    elif isinstance(step, Concat):
        result = np.concatenate(sources, axis=-1)
    elif isinstance(step, Normalise):
        result = first / np.sqrt(np.maximum((first**2).sum(axis=-1, keepdims=True), step.epsilon))
    return result


def _convolved(inputs: np.ndarray, weights: np.ndarray, window: Window) -> np.ndarray:
    """Float64; a few images and a few products of each sum at a time."""
    out_channels = weights.shape[3]
    matrix = weights.reshape(-1, out_channels)
    images_at_once = max(1, MAX_CHUNK_VALUES // (inputs[0].size * window.kernel[0] * window.kernel[1]))
    products_at_once = max(1, MAX_CHUNK_VALUES // out_channels)
    parts = []
    for images in _chunks(len(inputs), images_at_once):
        windows = _windows(inputs[images], window, 0.0)
        rows = windows.reshape(-1, len(matrix))
        total = np.zeros((len(rows), out_channels))
        for products in _chunks(len(matrix), products_at_once):
            total += rows[:, products] @ matrix[products].astype(np.float64)
        parts.append(total.reshape(*windows.shape[:3], out_channels))
    return np.concatenate(parts)


def _windows(inputs: np.ndarray, window: Window, fill: float) -> np.ndarray:
    """[n, out height, out width, kernel height, kernel width, channels]."""
    top, left, bottom, right = window.padding
    padded = np.pad(inputs, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    spans = [(kernel - 1) * step + 1 for kernel, step in zip(window.kernel, window.dilation, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(1, 2))
    view = view[:, :: window.stride[0], :: window.stride[1], :, :: window.dilation[0], :: window.dilation[1]]
    return view.transpose(0, 1, 2, 4, 5, 3)


def _chunks(length: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, length, size))
