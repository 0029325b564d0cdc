"""The model's part of a call, the same code in every process that is measured: decode, run, the first output.

Beside NumPy, onnxruntime, Pillow and simplejpeg it needs nothing, so that it runs in the tools' environments too.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from accelform_runtime.device.session import open_session
from accelform_runtime.worker import images

MODEL, THREADS, ADDRESS_PORT = "BENCHMARK_MODEL", "BENCHMARK_THREADS", "BENCHMARK_PORT"
WARM_UP_RUNS = 2
TENSOR_SHAPE = (1, 224, 224, 3)


class Pipeline:
    """One graph in a session with the options that the runtime uses."""

    def __init__(self, model: Path, threads: int) -> None:
        """Opens the graph and runs it, so that the first call finds memory and threads in place."""
        self.session = open_session(model, threads)
        expected = self.session.get_inputs()[0]
        self.input = expected.name
        self.outputs = [self.session.get_outputs()[0].name]
        self.takes_images = expected.type == "tensor(uint8)"
        value = np.full((1, 256, 256, 3), 127, np.uint8) if self.takes_images else np.zeros(TENSOR_SHAPE, np.float32)
        for _ in range(WARM_UP_RUNS):
            self.run(value)

    @classmethod
    def from_environment(cls) -> Pipeline:
        """What the variables of this process name."""
        return cls(Path(os.environ[MODEL]), int(os.environ[THREADS]))

    def run(self, value: NDArray[np.generic]) -> NDArray[np.float32]:
        """The model's first output for its input."""
        found: NDArray[np.float32] = self.session.run(self.outputs, {self.input: value})[0]
        return found

    def answer(self, data: bytes | memoryview) -> NDArray[np.float32]:
        """The model's first output for an encoded image, or for a tensor's bytes, whichever the model takes."""
        if self.takes_images:
            return self.run(images.decode(bytes(data))[None])
        return self.run(np.frombuffer(data, np.float32).reshape(TENSOR_SHAPE))


def port() -> int:
    """Where the service shall listen."""
    return int(os.environ[ADDRESS_PORT])
