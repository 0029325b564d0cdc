"""Makes a narrow network wide without changing what it computes.

Every channel of a wide value is a copy of one of the narrow value's; a convolution's results are the narrow ones, all
of them k times over, and every consumer's weights are divided by k: each narrow sum appears k times, a k-th of it each
(Net2WiderNet, Chen et al. 2015). k is a power of two, so the division is exact. A concat keeps its parts' order, so
behind one, copies lie in groups. The L2 normalisation divides by a root of k times the sum, which its scale makes up
for: exactly where k is a power of four, else to the last bit of float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from accelform_runtime.network.network import Network
from accelform_runtime.network.steps import IMAGE, Affine, BatchNorm, Concat, Convolution, Normalise, Step

if TYPE_CHECKING:
    import numpy as np


Arrays = Mapping[str, "np.ndarray"]


def widen(
    variables: Arrays, narrow: Network, wide: Network, *, classifier: tuple[str, ...] = ()
) -> dict[str, np.ndarray]:
    """The variables of `wide` that compute the same as `variables` in `narrow`.

    `variables` holds the narrow network's arrays (HWIO and vectors, float32) and, where `classifier` names weights and
    biases, those on its features. Returned arrays are float32.

    Raises:
        ValueError: the networks differ in more than their width, or the ratio is no power of two.
    """
    import numpy as np

    factor, rest = divmod(narrow.width_divisor, wide.width_divisor)
    if rest or factor < 1 or factor & (factor - 1):
        ratio = f"{narrow.width_divisor}/{wide.width_divisor}"
        raise ValueError(f"can't widen by {ratio}: the ratio must be a power of two")
    if [(step.name, step.sources) for step in narrow.steps] != [(step.name, step.sources) for step in wide.steps]:
        raise ValueError(f"can't widen {narrow.name} into {wide.name}: the layers differ")
    if factor == 1:
        return dict(variables)
    copies: dict[str, np.ndarray] = {IMAGE: np.arange(narrow.image.channels)}
    result: dict[str, np.ndarray] = {}
    for source, target in zip(narrow.steps, wide.steps, strict=True):
        origins = copies[target.name] = _origins(source, target, copies, wide)
        if isinstance(source, Convolution):
            result |= _convolution(variables, source, copies[source.source], origins)
        elif isinstance(source, Affine):
            result |= _batch_norm(variables, source.batch_norm, origins)
        elif isinstance(source, Normalise):
            times = np.sqrt(np.float64(_times(origins)))
            result[source.scale] = (variables[source.scale][origins] * times).astype(np.float32)
    if classifier and classifier[0] in variables:
        weights, biases = classifier
        origins = copies[wide.outputs[0].value]
        result[weights] = variables[weights][:, :, origins] / np.float32(_times(origins))
        result[biases] = variables[biases]
    return {name: np.ascontiguousarray(array) for name, array in result.items()}


def _origins(source: Step, target: Step, copies: Mapping[str, np.ndarray], wide: Network) -> np.ndarray:
    """Wide channel -> the narrow channel that it is a copy of, of what a step gives."""
    import numpy as np

    if isinstance(source, Convolution):
        return np.arange(wide.maps[target.name].channels) % source.out_channels
    found = [copies[name] for name in source.sources]
    if isinstance(source, Concat):
        offsets = np.cumsum([0, *(origins.max() + 1 for origins in found[:-1])])
        return np.concatenate([origins + offset for origins, offset in zip(found, offsets, strict=True)])
    if any(not np.array_equal(origins, found[0]) for origins in found):
        raise ValueError(f"can't widen {source.name}: it adds maps whose copies lie in another order")
    return found[0]


def _convolution(
    variables: Arrays, conv: Convolution, inputs: np.ndarray, outputs: np.ndarray
) -> dict[str, np.ndarray]:
    import numpy as np

    # The image keeps its three channels, so the first layer has no copies to share the sum among.
    shared = variables[conv.weights] / np.float32(_times(inputs))
    # Outputs first: inputs are then copied as whole rows.
    result = {conv.weights: shared.take(outputs, axis=3).take(inputs, axis=2)}
    if conv.biases is not None:
        result[conv.biases] = variables[conv.biases][outputs]
    if conv.batch_norm is not None:
        result |= _batch_norm(variables, conv.batch_norm, outputs)
    return result


def _batch_norm(variables: Arrays, norm: BatchNorm, origins: np.ndarray) -> dict[str, np.ndarray]:
    return {name: variables[name][origins] for name in norm.variables(1)}


def _times(origins: np.ndarray) -> int:
    """How many copies there are of every narrow channel."""
    return int(len(origins) // (origins.max() + 1))
