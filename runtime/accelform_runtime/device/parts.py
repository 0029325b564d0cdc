"""A model in its parts, for engines that compute the FPGA's part themselves: front, network with its arrays, head."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accelform_runtime.device.bundle import (
    FRONT_FILE,
    HEAD_FILE,
    NETWORK_FILE,
    PARAMETERS_FILE,
    Bundle,
    read_file,
)
from accelform_runtime.device.session import Stage
from accelform_runtime.errors import BundleInvalid
from accelform_runtime.network.network import Network, NetworkInvalid
from accelform_runtime.numerics.format import load_profile
from accelform_runtime.numerics.quantiser import Floats

if TYPE_CHECKING:
    from accelform_runtime.network.packed import Packed

Compute = Callable[[Floats], Mapping[str, Floats]]
"""The FPGA's part: preprocessed image [height, width, channels] -> its tensors by name."""


def parts_problem(bundle: Bundle) -> str | None:
    """Why the model cannot be computed in parts; None where it can."""
    missing = [name for name in (NETWORK_FILE, PARAMETERS_FILE) if name not in bundle.files]
    return f"the bundle has no {' and no '.join(missing)}" if missing else None


class Parts:
    """The FPGA's part as data, between two sessions.

    Attributes:
        network, fmt: what the FPGA computes, and in which numbers
    """

    def __init__(self, folder: Path, bundle: Bundle, threads: int) -> None:
        """Raises BundleInvalid when a file is missing, altered, or does not fit the others."""
        description = _description(folder, bundle)
        self._folder = folder
        self._bundle = bundle
        self._input = bundle.inputs[0].name
        self._image = str(description["image_tensor"])
        self.fmt = load_profile(str(description["number_format"]))
        try:
            self.network = Network.from_dict(description["network"])
        except NetworkInvalid as error:
            raise BundleInvalid(f"{folder / NETWORK_FILE}: {error}") from error
        self._front = self._stage(FRONT_FILE, threads)
        self._head = self._stage(HEAD_FILE, threads)
        self._check()

    def packed(self) -> Packed:
        """The network's quantised arrays, from a file that `verify` has seen. Raises BundleInvalid."""
        from accelform_runtime.network.packed import read_packed

        return read_packed(self._folder / PARAMETERS_FILE, self.network, self.fmt)

    def run(self, value: NDArray[Any], outputs: Sequence[str], compute: Compute) -> dict[str, NDArray[Any]]:
        """The outputs of those names for one value of the model's input, the FPGA's part by `compute`.

        Raises ShapeRefused when the value does not fit, InternalError when a session fails.
        """
        image = value
        if self._front is not None:
            image = self._front.run({self._input: value}, [self._image])[self._image]
        computed = compute(np.ascontiguousarray(image[0], dtype=np.float32))
        tensors = {
            output.tensor: np.reshape(computed[output.tensor], (1, *output.shape)) for output in self.network.outputs
        }
        if self._head is not None:
            behind = [name for name in outputs if name in self._head.outputs]
            if behind:
                tensors |= self._head.run({name: tensors[name] for name in self._head.inputs}, behind)
        return {name: tensors[name] for name in outputs}

    def _stage(self, file: str, threads: int) -> Stage | None:
        if file not in self._bundle.files:
            return None
        return Stage(read_file(self._folder, self._bundle, file), threads, f"the model's part {file}")

    def _check(self) -> None:
        given = {output.tensor for output in self.network.outputs}
        found = []
        if self._front is not None and (
            self._input not in self._front.inputs or self._image not in self._front.outputs
        ):
            found.append(f"{FRONT_FILE} does not lead from {self._input!r} to {self._image!r}")
        if self._front is None and self._bundle.takes_images:
            found.append(f"there is no {FRONT_FILE} to turn an image into {self._image!r}")
        if self._head is not None and (missing := set(self._head.inputs) - given):
            found.append(f"{HEAD_FILE} reads {', '.join(sorted(missing))}, which the network does not give")
        known = given | set(self._head.outputs if self._head is not None else ())
        if missing := {tensor.name for tensor in self._bundle.outputs} - known:
            found.append(f"no part gives the output {', '.join(sorted(missing))}")
        if found:
            raise BundleInvalid(f"the parts of model {self._bundle.name!r} do not fit: {'; '.join(found)}")


def _description(folder: Path, bundle: Bundle) -> dict[str, Any]:
    try:
        content = json.loads(read_file(folder, bundle, NETWORK_FILE))
    except ValueError as error:
        raise BundleInvalid(f"{folder / NETWORK_FILE} is not JSON") from error
    if missing := {"network", "image_tensor", "number_format"} - set(content):
        raise BundleInvalid(f"{folder / NETWORK_FILE} has no {', '.join(sorted(missing))}")
    return dict(content)
