"""Arrays of a Keras file under tf-slim's variable names: as they are, from Keras applications' layers, or from ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from accelform.featurizers.networks.resnet_v1 import BATCH_NORM_EPSILON
from accelform_runtime.network.network import Network
from accelform_runtime.network.steps import Affine, Convolution, Normalise

OWN_CLASSIFIER = "classifier"
"""The default name of `accelform.training.Classifier`."""

_PARTS = {"0": "shortcut", "1": "conv1", "2": "conv2", "3": "conv3"}
_VARIABLES = {
    "conv": ("kernel", "bias"),
    "bn": ("gamma", "beta", "moving_mean", "moving_variance"),
    "predictions": ("kernel", "bias"),
}
_LAYER = re.compile(r"^(?:conv1|conv(?P<stage>[2-5])_block(?P<unit>\d+)_(?P<part>[0-3]))_(?P<kind>conv|bn)$")

Arrays = dict[str, np.ndarray]


def own_layer(step: str) -> str:
    """What `accelform.training` calls the layer of a step, and how it stands in a file."""
    return step.replace("/", ".")


def sorted_out(
    arrays: Mapping[str, np.ndarray], network: Network, classifier: Sequence[str]
) -> tuple[Arrays, dict[str, Arrays]]:
    """Arrays under their final names (of other names: as they are), and those of Keras applications' layers by layer.

    `classifier` are the variables of the family's default classifier.
    """
    scope = network.name
    is_resnet = scope.startswith("resnet_v1_")
    ours = {
        own_layer(step.name): list(step.variables())
        for step in network.steps
        if isinstance(step, (Convolution, Affine, Normalise))
    }
    if any(_of(path, ours) for path in arrays):
        # The name alone is too common to be taken for ours.
        ours[OWN_CLASSIFIER] = list(classifier)
    result: Arrays = {}
    layers: dict[str, Arrays] = {}
    for path, array in arrays.items():
        start = path.find(f"{scope}/")
        if start == 0 or (start > 0 and path[start - 1] == "/"):
            result[path[start:].removesuffix(":0")] = array
            continue
        names = path.removesuffix(":0").split("/")
        if (own := _of(path, ours)) is not None:
            result[_variable_of(ours[own], names[-1], path)] = array
            continue
        layer = next((name for name in reversed(names[:-1]) if kind_of(name) is not None), None) if is_resnet else None
        if layer is None:
            result[path] = array
        else:
            layers.setdefault(layer, {})[names[-1]] = array
    return result, layers


def _of(path: str, layers: Mapping[str, object]) -> str | None:
    return next((name for name in reversed(path.split("/")[:-1]) if name in layers), None)


def _variable_of(variables: Sequence[str], name: str, path: str) -> str:
    """Keras 3 numbers a layer's variables in the order in which it made them, and those that train come first."""
    if name.isascii() and name.isdigit():
        return variables[int(name)] if int(name) < len(variables) else path
    return next((variable for variable in variables if variable.rpartition("/")[2] == name), path)


def renamed(
    layers: Mapping[str, Mapping[str, np.ndarray]], scope: str, epsilon: Callable[[str], float],
    omitted: Callable[[str], Sequence[str]],
) -> Arrays:  # fmt: skip
    """Keras applications' layers as tf-slim's variables, computing the same.

    A convolution's bias goes into its batch norm's moving mean, the difference of the epsilons into the variance.

    Args:
        epsilon: of a batch norm, by its layer's name
        omitted: which of gamma and beta a batch norm was made without, by its layer's name

    Raises:
        ValueError: a batch norm lacks a variable; a variance would become negative.
    """
    named = {layer: _named(layer, variables, omitted(layer)) for layer, variables in layers.items()}
    result: Arrays = {}
    for layer, variables in named.items():
        if kind_of(layer) == "bn":
            convolution = named.get(f"{layer.removesuffix('_bn')}_conv", {})
            result |= dict(_batch_norm(layer, scope, variables, convolution.get("bias"), epsilon(layer)))
        else:
            result |= _convolution_or_head(scope, layer, variables)
    return result


def kind_of(layer: str) -> str | None:
    """conv, bn or predictions; None: no name that Keras applications give."""
    if layer == "predictions":
        return layer
    match = _LAYER.match(layer)
    return match["kind"] if match else None


def slim_of(scope: str, layer: str) -> str | None:
    """tf-slim's scope of the layer: the name of its step in the network."""
    if layer == "predictions":
        return f"{scope}/logits"
    match = _LAYER.match(layer)
    if match is None:
        return None
    if match["stage"] is None:
        return f"{scope}/conv1"
    return f"{scope}/block{int(match['stage']) - 1}/unit_{match['unit']}/bottleneck_v1/{_PARTS[match['part']]}"


def _named(layer: str, variables: Mapping[str, np.ndarray], omitted: Sequence[str]) -> Arrays:
    kind = kind_of(layer) or ""
    known = [name for name in _VARIABLES[kind] if name not in omitted]
    if kind == "bn" and len(variables) != len(known):
        # Keras 3 numbers what there is, so with one missing the numbers would point at the wrong variables.
        raise ValueError(f"{layer} has {len(variables)} variables instead of {', '.join(known)}")
    found = {
        known[int(name)] if name.isascii() and name.isdigit() and int(name) < len(known) else name: array
        for name, array in variables.items()
    }
    if omitted and "moving_mean" in found:
        length = found["moving_mean"].shape
        neutral = {"gamma": np.ones(length, np.float32), "beta": np.zeros(length, np.float32)}
        found |= {name: neutral[name] for name in omitted}
    return found


def _convolution_or_head(scope: str, layer: str, variables: Mapping[str, np.ndarray]) -> Arrays:
    slim = slim_of(scope, layer)
    result = {f"{slim}/{name}": array for name, array in variables.items() if name not in ("kernel", "bias")}
    if "kernel" in variables:
        result[f"{slim}/weights"] = variables["kernel"]
    if layer == "predictions" and "bias" in variables:
        result[f"{slim}/biases"] = variables["bias"]
    return result


def _batch_norm(
    layer: str, scope: str, variables: Mapping[str, np.ndarray], bias: np.ndarray | None, epsilon: float
) -> Iterator[tuple[str, np.ndarray]]:
    slim = f"{slim_of(scope, layer)}/BatchNorm"
    for name, array in variables.items():
        if name == "moving_mean" and bias is not None and bias.shape == array.shape:
            yield f"{slim}/{name}", array.astype(np.float32) - bias.astype(np.float32)
        elif name == "moving_variance" and array.dtype.kind == "f":
            moved = (array.astype(np.float64) + (epsilon - BATCH_NORM_EPSILON)).astype(np.float32)
            if (array >= 0).all() and (moved < 0).any():
                raise ValueError(
                    f"{layer} has the epsilon {epsilon:g}, smaller than the FPGA's {BATCH_NORM_EPSILON:g}, and a "
                    "variance that is smaller than their difference"
                )
            yield f"{slim}/{name}", moved
        else:
            yield f"{slim}/{name}", array
