"""The emulated FPGA with its one resident model."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accelform_runtime.device import engines
from accelform_runtime.device.bundle import Bundle, verify
from accelform_runtime.device.exactness import Certifier, Exactness
from accelform_runtime.device.session import ShapeRefused, onnx_type
from accelform_runtime.device.threads import available_threads
from accelform_runtime.errors import (
    BundleInvalid,
    InternalError,
    InvalidImage,
    InvalidRequest,
    InvalidTensor,
    NotFinite,
)
from accelform_runtime.protocol import tensors

WARM_UP_RUNS: Final = 2
WARM_UP_SIDE: Final = 256
"""Of an image, and of a tensor's dimensions that take any size."""


class Fpga:
    """One model in one engine, run one image at a time."""

    def __init__(self, folder: Path, *, threads: int = 0, engine: str = engines.AUTO, bundle_sha256: str = "") -> None:
        """Loads the bundle in `folder`; `threads` 0 takes what affinity and quota give, `engine` is one of ENGINES.

        `bundle_sha256` is what its description must have, hex; "": any.

        Raises BundleInvalid when the bundle is damaged or does not describe its graph, ConfigInvalid when the engine
        cannot run it.
        """
        self.bundle = Bundle.read(folder, sha256=bundle_sha256)
        self.threads = threads or available_threads()
        started = time.perf_counter()
        verify(folder, self.bundle)
        choice = engines.choose(folder, self.bundle, setting=engine, threads=self.threads)
        self.load_seconds = time.perf_counter() - started
        self._engine = choice.engine
        self.engine = choice.engine.name
        self.engine_reason = choice.reason
        self._outputs = [tensor.name for tensor in self.bundle.outputs]
        self._certifier = Certifier(folder, self.bundle, self._engine, self.threads)
        if isinstance(self._engine, engines.OnnxEngine):
            self._check_names(self._engine)

    def run(self, value: NDArray[Any], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Scores one value of the model's input: an image as uint8 [1, height, width, 3], or its tensor with batch 1.

        Returns the outputs asked for (tensor names; None means all), each with a leading dimension of 1.
        Raises InvalidImage or InvalidTensor when the value does not fit the model.
        """
        with self._refusing(value):
            return self._engine.run(value, self._outputs if outputs is None else outputs)

    def run_certified(
        self, value: NDArray[Any], outputs: Sequence[str] | None = None, wanted: Callable[[], bool] = lambda: True
    ) -> tuple[dict[str, NDArray[Any]], Exactness]:
        """As `run`; the answer equals the number format's definition bit for bit, and `Exactness` tells why.

        It may take as long as the NumPy definition does; `wanted` is asked between steps whether it is still of use.
        Raises DeadlinePassed when it is not, and InvalidRequest where the model has no definition to equal.
        """
        with self._refusing(value):
            return self._certifier.run(value, self._outputs if outputs is None else outputs, wanted)

    def warm_up(self, *, runs: int = WARM_UP_RUNS) -> None:
        """Runs the model a few times, so that the first call finds memory and threads in place.

        Raises BundleInvalid when the model cannot score a plain grey image, or a tensor of halves.
        """
        value = self._plain_value()
        try:
            for _ in range(runs):
                self.run(value)
        except (InternalError, InvalidRequest, NotFinite) as error:
            cause = error.__cause__ or error
            raise BundleInvalid(f"model {self.bundle.name!r} fails on a plain grey image: {cause}") from error

    @contextlib.contextmanager
    def _refusing(self, value: NDArray[Any]) -> Iterator[None]:
        try:
            yield
        except ShapeRefused as error:
            if self.bundle.takes_images:
                height, width = value.shape[1:3]
                raise InvalidImage(
                    f"the model does not take an image of {width} x {height} pixels; send a larger or less narrow one"
                ) from error
            raise InvalidTensor(f"the model does not take a tensor of shape {list(value.shape)}") from error

    def _plain_value(self) -> NDArray[Any]:
        if self.bundle.takes_images:
            return np.full((1, WARM_UP_SIDE, WARM_UP_SIDE, 3), 127, dtype=np.uint8)
        expected = self.bundle.inputs[0]
        shape = (1, *(WARM_UP_SIDE if size == -1 else size for size in expected.shape[1:]))
        dtype = tensors.numpy_dtype(expected.dtype)
        return np.full(shape, 0.5 if dtype.kind == "f" else 1).astype(dtype)

    def _check_names(self, engine: engines.OnnxEngine) -> None:
        expected = self.bundle.inputs[0]
        dtype = "uint8" if self.bundle.takes_images else str(tensors.numpy_dtype(expected.dtype))
        if engine.graph_inputs != {expected.name: onnx_type(dtype)}:
            found = ", ".join(f"{name!r} {kind}" for name, kind in engine.graph_inputs.items())
            raise BundleInvalid(f"the bundle's input is {expected.name!r} in {dtype}, the graph's inputs are {found}")
        missing = [name for name in self._outputs if name not in engine.graph_outputs]
        if missing:
            raise BundleInvalid(
                f"the graph has no output {', '.join(missing)}; it has {', '.join(sorted(engine.graph_outputs))}"
            )
