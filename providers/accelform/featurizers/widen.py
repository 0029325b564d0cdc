"""Makes a narrow network wide without changing what it computes.

Channel c of the wide layer is channel c mod (C/k) of the narrow one, and every consumer's weights are divided by k:
each narrow sum appears k times, a k-th of it each (Net2WiderNet, Chen et al. 2015). k is a power of two, so the
division is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from accelform.featurizers.resnet_v1 import ResNetPlan


def widen(variables: Mapping[str, np.ndarray], narrow: ResNetPlan, wide: ResNetPlan) -> dict[str, np.ndarray]:
    """The variables of `wide` that compute the same features as `variables` in `narrow`.

    `variables` holds the narrow plan's arrays (HWIO and vectors, float32) and, if present, the narrow classifier's.
    Returned arrays are float32; the features come out as narrow feature c mod (2048/k).

    Raises:
        ValueError: the plans differ in more than their width, or the ratio is no power of two.
    """
    factor, rest = divmod(narrow.width_divisor, wide.width_divisor)
    if rest or factor < 1 or factor & (factor - 1):
        ratio = f"{narrow.width_divisor}/{wide.width_divisor}"
        raise ValueError(f"can't widen by {ratio}: the ratio must be a power of two")
    if [c.name for c in narrow.convolutions] != [c.name for c in wide.convolutions]:
        raise ValueError(f"can't widen {narrow.scope} into {wide.scope}: the layers differ")
    if factor == 1:
        return dict(variables)
    result: dict[str, np.ndarray] = {}
    for source, target in zip(narrow.convolutions, wide.convolutions, strict=True):
        result |= {name: _tiled(variables[name], shape) for name, shape in target.variables().items()}
        # The image keeps its three channels, so the stem has no copies to share the sum among.
        if target.in_channels != source.in_channels:
            result[f"{target.name}/weights"] /= factor
    weights_name, biases_name = narrow.classifier_variables(1)
    if weights_name in variables:
        classes = variables[biases_name].shape[0]
        result[weights_name] = _tiled(variables[weights_name], wide.classifier_variables(classes)[weights_name])
        result[weights_name] /= factor
        result[biases_name] = variables[biases_name]
    return result


def _tiled(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    import numpy as np

    return np.tile(array, [new // old for new, old in zip(shape, array.shape, strict=True)])
