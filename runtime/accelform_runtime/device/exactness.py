"""Answers that are known to equal the number format's definition, and how that is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from accelform_runtime.device.bundle import Bundle
from accelform_runtime.device.engines import Engine
from accelform_runtime.device.parts import Parts, parts_problem
from accelform_runtime.errors import DeadlinePassed, InvalidRequest
from accelform_runtime.network.parameters import Parameters, StepArrays
from accelform_runtime.network.reference import Reference
from accelform_runtime.numerics.format import load_profile

How = Literal["construction", "proven", "definition"]
_WEAKEST_LAST: Final[tuple[How, ...]] = ("construction", "proven", "definition")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exactness:
    """Why an answer equals the definition.

    `construction`: the engine adds every sum in the definition's order. `proven`: each sum of each convolution was
    proven to come out the same in any order, and the fast engine's answer was compared with the definition's.
    `definition`: some sums were not proven, and the answer is that of the definition itself, computed slowly.
    """

    how: How
    sums: int = 0
    """Sums that were looked at; none where the engine is exact by construction."""
    proven: int = 0
    """Those of them that are independent of the order of addition."""

    @classmethod
    def of(cls, images: Iterable[Exactness]) -> Exactness:
        """What holds for all of a call's images; of none nothing had to be computed."""
        found = list(images)
        return cls(
            how=max((one.how for one in found), key=_WEAKEST_LAST.index, default="construction"),
            sums=sum(one.sums for one in found),
            proven=sum(one.proven for one in found),
        )


class Certifier:
    """Makes answers with an `Exactness`, from the NumPy definition wherever the engine alone is not enough.

    The definition takes the place of the FPGA's part and is 50 to 100 times slower than an engine; its arrays are read
    when the first certificate is asked for, and kept.
    """

    def __init__(self, folder: Path, bundle: Bundle, engine: Engine, threads: int) -> None:
        self._folder = folder
        self._bundle = bundle
        self._engine = engine
        self._threads = threads
        self._definition: tuple[Parts, Parameters] | None = None

    def run(
        self, value: NDArray[Any], outputs: Sequence[str], wanted: Callable[[], bool]
    ) -> tuple[dict[str, NDArray[Any]], Exactness]:
        """The outputs of those names, equal to the definition bit for bit, and why.

        Raises InvalidRequest where the model's number format has no blocks or its bundle no parts, and what
        `Engine.run` raises.
        """
        if self._engine.exact:
            return self._engine.run(value, outputs), Exactness(how="construction")
        parts, parameters = self._loaded()
        reference = Reference(parts.network, _Watched(parameters, wanted), parts.fmt, certify=True)
        exact = parts.run(value, outputs, reference.run)
        sums = sum(certificate.outputs for certificate in reference.certificates.values())
        proven = sum(certificate.proven for certificate in reference.certificates.values())
        fast = self._engine.run(value, outputs)
        same = all(np.array_equal(exact[name], fast[name]) for name in outputs)
        return exact, Exactness(how="proven" if same and proven == sums else "definition", sums=sums, proven=proven)

    def _loaded(self) -> tuple[Parts, Parameters]:
        if self._definition is None:
            fmt = load_profile(self._bundle.number_format)
            if not fmt.quantised:
                raise InvalidRequest(
                    f"number format {fmt.name} fixes no order of addition, so there is nothing to certify; "
                    "ask without, or convert the model to a block floating point format"
                )
            if problem := parts_problem(self._bundle):
                raise InvalidRequest(f"model {self._bundle.name!r} cannot be computed by its definition: {problem}")
            parts = Parts(self._folder, self._bundle, self._threads)
            self._definition = parts, parts.packed().parameters()
        return self._definition


class _Watched(Mapping[str, StepArrays]):
    """Parameters that stop whoever reads them once the caller has gone: the definition reads them step by step."""

    def __init__(self, parameters: Parameters, wanted: Callable[[], bool]) -> None:
        self._parameters = parameters
        self._wanted = wanted

    def __getitem__(self, step: str) -> StepArrays:
        if not self._wanted():
            raise DeadlinePassed("the call's time was over before its answer was certified; allow more time")
        return self._parameters[step]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)
