"""A network of ours in torch, every convolution's input rounded by a public quantiser, weights rounded beforehand.

Channels-last maps make blocks of channels contiguous, so that no tool pays for a transpose; what several convolutions
read is rounded once. Nothing is rounded to float16 between convolutions: none of the tools does it, and it would cost.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from accelform_runtime.network.network import Network
from accelform_runtime.network.parameters import Parameters
from accelform_runtime.network.steps import IMAGE, Add, Convolution, MaxPool, Mean, Window
from benchmarks.peer_tools.quantisers import Rows


class TorchNetwork:
    """The steps of a ResNet; `rows` None rounds nothing."""

    def __init__(self, network: Network, parameters: Parameters, rows: Rows | None) -> None:
        self._network = network
        self._rows = rows
        self._weights = {}
        for conv in network.convolutions:
            weights, bias = parameters[conv.name].convolution
            kernel = torch.from_numpy(weights.transpose(3, 2, 0, 1).copy()).contiguous(
                memory_format=torch.channels_last
            )
            self._weights[conv.name] = kernel, torch.from_numpy(bias.copy())

    @torch.inference_mode()
    def run(self, image: torch.Tensor) -> torch.Tensor:
        """`image` float32 [1, height, width, channels]; returns the first output's maps [1, channels, h, w]."""
        values = {IMAGE: image.permute(0, 3, 1, 2)}
        rounded: dict[str, torch.Tensor] = {}
        for step in self._network.steps:
            if isinstance(step, Convolution):
                if step.source not in rounded:
                    rounded[step.source] = self._round(values[step.source])
                kernel, bias = self._weights[step.name]
                padded, padding = _padded(rounded[step.source], step.window, 0.0)
                found = functional.conv2d(padded, kernel, bias, step.window.stride, padding, step.window.dilation)
                values[step.name] = found.relu_() if step.relu else found
            elif isinstance(step, MaxPool):
                padded, _ = _padded(values[step.source], step.window, float("-inf"), always=True)
                values[step.name] = functional.max_pool2d(padded, step.window.kernel, step.window.stride)
            elif isinstance(step, Add):
                total = values[step.left] + values[step.right]
                values[step.name] = total.relu_() if step.relu else total
            elif isinstance(step, Mean):
                values[step.name] = values[step.source].mean((2, 3), keepdim=True)
            else:
                raise ValueError(f"{type(step).__name__} is not written in torch here")
        return values[self._network.outputs[0].value]

    def _round(self, maps: torch.Tensor) -> torch.Tensor:
        if self._rows is None:
            return maps
        _, channels, height, width = maps.shape
        rows = maps.permute(0, 2, 3, 1).reshape(height * width, channels)
        return self._rows(rows).reshape(1, height, width, channels).permute(0, 3, 1, 2)


def _padded(
    maps: torch.Tensor, window: Window, value: float, *, always: bool = False
) -> tuple[torch.Tensor, tuple[int, int]]:
    """Maps with their padding, or the padding for the convolution to do itself where it is the same on both sides."""
    top, left, bottom, right = window.padding
    if (top, left) == (bottom, right) and not always:
        return maps, (top, left)
    if not any(window.padding):
        return maps, (0, 0)
    return functional.pad(maps, (left, right, top, bottom), value=value), (0, 0)
