"""What can compute a model: interchangeable engines behind one call, and which of them is taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from numpy.typing import NDArray

from accelform_runtime.device.bundle import MODEL_FILE, PARAMETERS_FILE, Bundle, verified
from accelform_runtime.device.parts import Parts, parts_problem
from accelform_runtime.device.session import Stage
from accelform_runtime.errors import BundleInvalid, ConfigInvalid, UnknownProfile
from accelform_runtime.numerics.format import load_profile

AUTO: Final = "auto"
ONNXRUNTIME: Final = "onnxruntime"
NATIVE: Final = "native"
ENGINES: Final = (AUTO, ONNXRUNTIME, NATIVE)
"""What the setting `engine` may be."""


class Engine(Protocol):
    """Computes the model's outputs for one input value, batch dimension 1 included on both sides."""

    name: str
    exact: bool
    """Whether every sum is added in the number format's own order, whatever the values."""

    def run(self, value: NDArray[Any], outputs: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The outputs of those names.

        Raises ShapeRefused when the value does not fit the model, InternalError when the engine fails.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """The engine that serves, and why."""

    engine: Engine
    reason: str


class OnnxEngine:
    """The whole served graph in onnxruntime: standard operators, so it runs wherever onnxruntime does."""

    name = ONNXRUNTIME
    exact = False

    def __init__(self, folder: Path, bundle: Bundle, threads: int) -> None:
        """Raises BundleInvalid."""
        if PARAMETERS_FILE in bundle.files:
            verified(folder, bundle, PARAMETERS_FILE)
        # By its path, so that onnxruntime maps the arrays beside it: read into memory they would be there twice.
        self._stage = Stage(verified(folder, bundle, MODEL_FILE), threads, "the model")
        self._input = bundle.inputs[0].name
        self.graph_inputs = self._stage.inputs
        self.graph_outputs = self._stage.outputs

    def run(self, value: NDArray[Any], outputs: Sequence[str]) -> dict[str, NDArray[Any]]:
        return self._stage.run({self._input: value}, outputs)


class NativeEngine:
    """Front and head in onnxruntime, and the FPGA part between them in exact integer arithmetic."""

    name = NATIVE
    exact = True

    def __init__(self, folder: Path, bundle: Bundle, threads: int) -> None:
        """Raises BundleInvalid."""
        from accelform_runtime.native import Engine as IntegerEngine

        self._parts = Parts(folder, bundle, threads)
        self._engine = IntegerEngine(self._parts.network, self._parts.packed(), self._parts.fmt, threads=threads)

    def run(self, value: NDArray[Any], outputs: Sequence[str]) -> dict[str, NDArray[Any]]:
        return self._parts.run(value, outputs, self._engine.run)


def choose(folder: Path, bundle: Bundle, *, setting: str, threads: int) -> Choice:
    """The engine that `setting` asks for; `auto` takes the native one wherever it can run this model.

    Raises ConfigInvalid when the setting names an engine that cannot, and BundleInvalid.
    """
    if setting == ONNXRUNTIME:
        return Choice(engine=OnnxEngine(folder, bundle, threads), reason="configured")
    problem = native_problem(bundle)
    if problem is None:
        try:
            engine = NativeEngine(folder, bundle, threads)
        except (BundleInvalid, MemoryError):
            raise
        except Exception as error:  # a graph or a processor that the library turns down only when it sees it
            problem = f"the native engine did not take the model: {error}"
        else:
            return Choice(engine=engine, reason="configured" if setting == NATIVE else "available")
    if setting == NATIVE:
        raise ConfigInvalid(
            f"engine is {NATIVE!r}, which cannot run model {bundle.name!r} here: {problem}; "
            f"configure engine {AUTO!r} or {ONNXRUNTIME!r}"
        )
    return Choice(engine=OnnxEngine(folder, bundle, threads), reason=problem)


def native_problem(bundle: Bundle) -> str | None:
    """Why the native engine cannot run this model here; None where it can, as far as is known before loading."""
    try:
        from accelform_runtime.native import unavailable_reason
    except ImportError:
        return "the native engine is not part of this runtime"
    try:
        fmt = load_profile(bundle.number_format)
    except UnknownProfile as error:
        return str(error)
    if not fmt.quantised:
        return f"number format {fmt.name} has no blocks"
    return parts_problem(bundle) or unavailable_reason(fmt)
