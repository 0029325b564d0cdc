"""The emulated FPGA with its one resident model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from accelform_runtime.device.bundle import Bundle, read_model
from accelform_runtime.device.threads import available_threads
from accelform_runtime.errors import BundleInvalid, InternalError, InvalidImage

WARM_UP_RUNS: Final = 2


class Fpga:
    """One model in one session, run one image at a time."""

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        """Loads the bundle in `folder`; `threads` 0 takes what affinity and quota give.

        Raises BundleInvalid when the bundle is damaged or does not describe its graph.
        """
        self.bundle = Bundle.read(folder)
        self.threads = threads or available_threads()
        started = time.perf_counter()
        self._session = _session(read_model(folder, self.bundle), self.threads)
        self.load_seconds = time.perf_counter() - started
        self._input = self.bundle.inputs[0].name
        self._check_names()

    def run(self, image: NDArray[np.uint8], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Scores one image, uint8 [1, height, width, 3].

        Returns the outputs asked for (tensor names; None means all), each with a leading dimension of 1.
        Raises InvalidImage when the image does not fit the model's preprocessing.
        """
        names = list(outputs) if outputs is not None else [tensor.name for tensor in self.bundle.outputs]
        try:
            values = self._session.run(names, {self._input: image})
        except _INVALID as error:
            height, width = image.shape[1:3]
            raise InvalidImage(
                f"the model does not take an image of {width} x {height} pixels; send a larger or less narrow one"
            ) from error
        except Exception as error:
            raise InternalError(f"the model failed on an image: {error}") from error
        return dict(zip(names, values, strict=True))

    def warm_up(self) -> None:
        """Runs the model a few times, so that the first call finds memory and threads in place.

        Raises BundleInvalid when the model cannot score a plain image.
        """
        image = np.full((1, 256, 256, 3), 127, dtype=np.uint8)
        try:
            for _ in range(WARM_UP_RUNS):
                self.run(image)
        except (InternalError, InvalidImage) as error:
            raise BundleInvalid(f"model {self.bundle.name!r} fails on a plain grey image: {error.__cause__}") from error

    def _check_names(self) -> None:
        graph_inputs = [(item.name, item.type) for item in self._session.get_inputs()]
        if graph_inputs != [(self._input, "tensor(uint8)")]:
            raise BundleInvalid(
                f"the bundle's input is {self._input!r} in uint8, the graph's inputs are {graph_inputs}"
            )
        graph_outputs = {item.name for item in self._session.get_outputs()}
        missing = [tensor.name for tensor in self.bundle.outputs if tensor.name not in graph_outputs]
        if missing:
            raise BundleInvalid(
                f"the graph has no output {', '.join(missing)}; it has {', '.join(sorted(graph_outputs))}"
            )


_INVALID = onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument


def _session(model: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    # Threads that spin long take the cores from gRPC and from neighbours: beside one busy process ResNet-50 took 86 ms
    # instead of 60. Threads that never spin cost an idle machine 20 %: 51 ms, not 42. A short spin has both: 44 and 58.
    options.add_session_config_entry("session.intra_op.spin_duration_us", "10")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BundleInvalid(f"onnxruntime cannot load the model: {error}") from error
