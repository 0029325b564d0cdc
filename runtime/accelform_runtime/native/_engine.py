"""The engine: a network in the library, ready to run on one image after another."""

from __future__ import annotations

import ctypes
import threading
from types import TracebackType

import numpy as np

from accelform_runtime.errors import EngineUnavailable, InternalError, InvalidTensor, NotFinite
from accelform_runtime.native.library import format_problem, load
from accelform_runtime.native.plan import Plan, plan
from accelform_runtime.native.program import Program
from accelform_runtime.native.records import Backend
from accelform_runtime.network.network import Network
from accelform_runtime.network.packed import Packed, pack_parameters
from accelform_runtime.network.parameters import Parameters
from accelform_runtime.numerics.format import NumberFormat
from accelform_runtime.numerics.quantiser import Floats

_NOT_FINITE = 1
_FORKED = 2


class Engine:
    """Runs a network on one image at a time, equal to `network.reference.Reference` bit for bit.

    Calls from several threads wait for each other. The memory is settled when the engine is made.
    """

    def __init__(
        self,
        network: Network,
        arrays: Packed | Parameters,
        fmt: NumberFormat,
        *,
        threads: int = 1,
        inspect: bool = False,
        backend: Backend = Backend.ANY,
    ) -> None:
        """`threads` counts the caller's own; `inspect` keeps the arrays for `layers`; `backend` is for tests.

        Raises:
            EngineUnavailable: the library is not there, or turns the network or the number format down.
            NotFinite: a weight is NaN or infinite.
        """
        if problem := format_problem(fmt):
            raise EngineUnavailable(problem)
        packed = arrays if isinstance(arrays, Packed) else pack_parameters(network, arrays, fmt)
        self._network, self._format = network, fmt
        self._packed = packed if inspect else None
        self._threads, self._backend = max(1, threads), backend
        self._runner = _Runner(plan(network, fmt), packed, fmt, self._threads, backend)

    def run(self, image: Floats) -> dict[str, Floats]:
        """`image`: preprocessed float32 [height, width, channels]; returns tensor name -> values of the tensor's shape.

        Raises:
            NotFinite: the image, or what a convolution reads, is NaN or infinite.
            InvalidTensor: the image has another shape.
        """
        values = self._runner.run(image)
        return {output.tensor: values[output.value].reshape(output.shape) for output in self._network.outputs}

    def layers(self, image: Floats) -> dict[str, Floats]:
        """Every step's result, step name -> float32 [height, width, channels]; for comparisons, it takes its time.

        Raises:
            NotFinite, InvalidTensor: as `run`.
            ValueError: the engine was not made to be inspected.
        """
        if self._packed is None:
            raise ValueError("this engine did not keep its arrays; make it with inspect=True to see its layers")
        whole = plan(self._network, self._format, keep=True)
        runner = _Runner(whole, self._packed, self._format, self._threads, self._backend)
        try:
            return runner.run(image)
        finally:
            runner.close()

    def step_seconds(self) -> list[tuple[str, float]]:
        """How long each part of the last run took, in order; a step's name, and what else was done for it."""
        return self._runner.step_seconds()

    def close(self) -> None:
        """Ends the threads and gives the memory back; nothing can be run afterwards."""
        self._runner.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Runner:
    """One plan in the library."""

    def __init__(self, plan: Plan, packed: Packed, fmt: NumberFormat, threads: int, backend: Backend) -> None:
        self._handle: int | None = None
        self._plan = plan
        self._lock = threading.Lock()
        try:
            self._library = load()
        except (OSError, AttributeError, ValueError) as error:
            raise EngineUnavailable(f"the native engine's library can't be loaded: {error}") from error
        program = Program(plan, packed, fmt, threads=threads, backend=backend)
        problem, step = ctypes.create_string_buffer(200), ctypes.c_int64()
        self._handle = self._library.accelform_create(
            ctypes.byref(program.record), ctypes.byref(step), problem, len(problem)
        )
        if self._handle is None:
            where = f" at {plan.steps[step.value]}" if 0 <= step.value < len(plan.steps) else ""
            raise EngineUnavailable(f"the native engine does not take the network{where}: {problem.value.decode()}")

    def run(self, image: Floats) -> dict[str, Floats]:
        image = np.ascontiguousarray(image, dtype=np.float32)
        maps = self._plan.image
        if image.shape != (maps.height, maps.width, maps.channels):
            raise InvalidTensor(
                f"the image is {list(image.shape)}, the network takes {[maps.height, maps.width, maps.channels]}"
            )
        results = {
            value: np.empty((maps.height, maps.width, maps.channels), np.float32)
            for value, maps in self._plan.outputs.items()
        }
        addresses = (ctypes.c_void_p * len(results))(*(array.ctypes.data for array in results.values()))
        step = ctypes.c_int64()
        with self._lock:
            if self._handle is None:
                raise InternalError("the native engine was closed")
            code = self._library.accelform_run(self._handle, image.ctypes.data, addresses, ctypes.byref(step))
        if code == _FORKED:
            raise InternalError("the native engine does not run in a forked process; make one there")
        if code == _NOT_FINITE:
            raise NotFinite(
                f"what {self._plan.steps[step.value]} gives is NaN or infinite; block floating point holds finite "
                "values only"
            )
        return results

    def step_seconds(self) -> list[tuple[str, float]]:
        if self._handle is None:
            return []
        nanoseconds = self._library.accelform_nanoseconds(self._handle)
        return [(op.label, nanoseconds[number] / 1e9) for number, op in enumerate(self._plan.ops)]

    def close(self) -> None:
        with self._lock:
            if self._handle is not None:
                self._library.accelform_destroy(self._handle)
            self._handle = None

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()
