"""onnxruntime sessions as this runtime opens them, and one session as a stage of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from accelform_runtime.errors import BundleInvalid, InternalError, InvalidRequest

_TYPES = {"float32": "float", "float64": "double"}
_REFUSED = onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument


def onnx_type(dtype: str) -> str:
    """What onnxruntime calls a tensor of the NumPy type `dtype`."""
    return f"tensor({_TYPES.get(dtype, dtype)})"


def open_session(
    model: bytes | Path, threads: int, what: str = "the model", *, arrays: Mapping[str, NDArray[Any]] | None = None
) -> onnxruntime.InferenceSession:
    """A session on the CPU, of a graph or of a file; what a file's constants lie in is beside it.

    `arrays` are a graph's external constants by name, for a session of a few runs: they are not laid out anew.

    Raises BundleInvalid when onnxruntime does not take the graph; `what` names it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    # Threads that spin long take the cores from gRPC and from neighbours: beside one busy process ResNet-50 took 86 ms
    # instead of 60. Threads that never spin cost an idle machine 20 %: 51 ms, not 42. A short spin has both: 44 and 58.
    options.add_session_config_entry("session.intra_op.spin_duration_us", "10")
    try:
        if arrays is not None:
            options.add_session_config_entry("session.disable_prepacking", "1")
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
            values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in arrays.values()]
            options.add_external_initializers(list(arrays), values)
        content = str(model) if isinstance(model, Path) else model
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BundleInvalid(f"onnxruntime cannot load {what}: {error}") from error


class ShapeRefused(InvalidRequest):
    """A graph that does not take values of such shapes."""


class Stage:
    """One graph of a model: named arrays in, named arrays out."""

    def __init__(self, model: bytes | Path, threads: int, what: str) -> None:
        """As `open_session`. Raises BundleInvalid."""
        self._session = open_session(model, threads, what)
        self._what = what
        self.inputs: Mapping[str, str] = {item.name: item.type for item in self._session.get_inputs()}
        self.outputs: tuple[str, ...] = tuple(item.name for item in self._session.get_outputs())

    def run(self, values: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Raises ShapeRefused when the values' shapes don't fit, InternalError when the graph fails on them."""
        try:
            results = self._session.run(list(outputs), dict(values))
        except _REFUSED as error:
            raise ShapeRefused(f"{self._what} does not take values of these shapes") from error
        except Exception as error:
            raise InternalError(f"{self._what} failed: {error}") from error
        return dict(zip(outputs, results, strict=True))
