"""Weights from Keras files, read as data only: no layer is built, no configuration is executed, nothing is unpickled.

Files: `.h5` (a model or its weights, legacy or Keras 3's `.weights.h5`) and `.keras`. Arrays, in any of three ways:

- saved under tf-slim's names themselves, e.g. a data set `resnet_v1_50/conv1/weights`;
- of a model on `accelform.training`'s layers, as Keras saves it whole or its weights: a layer of each step, and the
  layer `classifier`;
- for a ResNet, in layers named as Keras applications name ResNet50's: `conv1_conv`, `conv1_bn`, then for stage
  s = 2..5, unit u and part p = 0..3 (0 is the shortcut) `conv{s}_block{u}_{p}_conv` and `..._bn`, and `predictions`.
  Becomes `resnet_v1_50/block{s-1}/unit_{u}/bottleneck_v1/{shortcut,conv1,conv2,conv3}/...` and
  `resnet_v1_50/logits/...` (or those of `resnet_v1_152`).

Keras applications' own ResNet50 puts the stride on the FIRST unit of a stage, on its 1x1 convolution; tf-slim's, which
the FPGA runs, on the LAST unit's 3x3. A configuration tells it, and the epsilon of each batch norm; weights alone
don't: then the specification must say `strides: slim`.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

from accelform.errors import InvalidWeights, WeightsUnreadable
from accelform.featurizers.weights.arrays import MAX_TOTAL_BYTES, Budget
from accelform.featurizers.weights.keras_config import Layer, differences, epsilon_of, layers_of
from accelform.featurizers.weights.keras_names import kind_of, renamed, slim_of, sorted_out
from accelform_runtime.network.network import Network

KERAS_EPSILON = 1.001e-5
"""The batch-norm epsilon of Keras applications' ResNets."""

MAX_CONFIG_BYTES = 16 << 20
MAX_MEMBER_BYTES = 3 << 30
"""Of an archive's weights with an optimizer's state, which is not read."""

MAX_DEPTH = 16
MAX_SHOWN = 20
FLIPPING_BACKENDS = ("theano", "cntk")
_LEFT_BEHIND = {True: ("optimizer", "optimizer_weights", "seed_generator"), False: ("seed_generator",)}
"""Groups of what training leaves behind, by whether they are at the top."""

_PLAIN_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What a specification says of a file that doesn't say it itself.

    Attributes:
        strides: "slim": its network strides as tf-slim's, or None
        batch_norm_epsilon: of all its batch norms; None: Keras applications'
    """

    strides: str | None = None
    batch_norm_epsilon: float | None = None


def read_keras(
    path: Path,
    *,
    network: Network,
    classifier: Sequence[str] = (),
    declared: Declared | None = None,
    say: Say = lambda _: None,
) -> dict[str, np.ndarray]:
    """Read the arrays under tf-slim's names; layers of other names keep theirs, for the check to report.

    Args:
        network: what the arrays are for
        classifier: variables of the family's default classifier
        declared: None where only the classifier counts, so that it does not matter what stands before it
        say: gets a line about each thing that the file left open and that was assumed

    Raises:
        WeightsUnreadable: no Keras file, damaged, too large, or with links or compression that reach outside it.
        InvalidWeights: its network computes otherwise than the FPGA's, or it doesn't say and neither does `declared`.
    """
    try:
        if zipfile.is_zipfile(path):
            config, arrays = _read_archive(path)
        else:
            config, arrays = _read_h5(path, path.name)
        result, layers = sorted_out(arrays, network, classifier)
        if layers:
            result |= _from_applications(layers, config, path.name, network, declared, say)
        return result
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise WeightsUnreadable(
            f"{path.name} can't be read as a Keras file: {' '.join(str(error).split())}. "
            "Save it again with Keras's save or save_weights."
        ) from error


def _from_applications(
    layers: Mapping[str, Mapping[str, np.ndarray]],
    config: Any,
    origin: str,
    network: Network,
    declared: Declared | None,
    say: Say,
) -> dict[str, np.ndarray]:
    described = layers_of(config)
    epsilon = KERAS_EPSILON
    featurizer = [name for name in layers if kind_of(name) in ("conv", "bn")]
    if declared is not None and featurizer:
        epsilon = declared.batch_norm_epsilon or KERAS_EPSILON
        if undescribed := [name for name in featurizer if name not in described]:
            _need_strides(declared, undescribed, origin, network.name)
            if declared.batch_norm_epsilon is None and any(kind_of(name) == "bn" for name in undescribed):
                say(
                    f"{origin} does not say the epsilon of its batch norms; {KERAS_EPSILON:g} was taken, Keras "
                    "applications'. If it is another, say so with batch_norm_epsilon in weights, or bring the whole "
                    "model (model.save)"
                )
        _compare(described, declared, origin, network)
        if (head := described.get("predictions")) is not None and head.config.get("activation") in (None, "linear"):
            say(f"predictions in {origin} gives scores; the service's prediction is their softmax")

    def of(name: str) -> float:
        return epsilon_of(described[name]) if name in described else epsilon

    def omitted(name: str) -> list[str]:
        settings: Mapping[str, Any] = described[name].config if name in described and kind_of(name) == "bn" else {}
        return [part for key, part in (("scale", "gamma"), ("center", "beta")) if settings.get(key) is False]

    return renamed(layers, network.name, of, omitted)


def _need_strides(declared: Declared, layers: Sequence[str], origin: str, scope: str) -> None:
    if declared.strides is None:
        raise InvalidWeights(
            f"{origin} holds weights without their network's configuration ({layers[0]} and {len(layers) - 1} more "
            "layers), so it does not say where that strides, and other strides are other answers: Keras applications' "
            f"own ResNets stride in the first unit of a stage, on its 1x1 convolution; the FPGA's {scope} is tf-slim's "
            "and strides in the last unit, on its 3x3. If yours was trained with tf-slim's strides, add strides: slim "
            "to weights; or bring the whole model (model.save), which says it. With the other strides it can't run on "
            "the FPGA: train it with tf-slim's, or use weights: {source: imagenet}."
        )


def _compare(described: Mapping[str, Layer], declared: Declared, origin: str, network: Network) -> None:
    scope = network.name
    found = differences(described, network, lambda name: slim_of(scope, name))
    if declared.batch_norm_epsilon is not None:
        found += [
            f"{layer.name} has the epsilon {epsilon_of(layer):g}, the specification says "
            f"{declared.batch_norm_epsilon:g}; leave batch_norm_epsilon out, the file's own counts"
            for layer in described.values()
            if kind_of(layer.name) == "bn" and epsilon_of(layer) != declared.batch_norm_epsilon
        ]
    if found:
        listed = "".join(f"\n  - {problem}" for problem in found[:MAX_SHOWN])
        if len(found) > MAX_SHOWN:
            listed += f"\n  - and {len(found) - MAX_SHOWN} more"
        why = ""
        if any(" has strides " in problem for problem in found):
            why = (
                ". That is tf-slim's and strides in the last unit of a stage, on its 3x3 convolution; Keras "
                "applications' ResNets stride in the first unit, on its 1x1"
            )
        raise InvalidWeights(
            f"The network in {origin} computes otherwise than the FPGA's {scope}{why}. Train it as the FPGA computes, "
            f"or use weights: {{source: imagenet}}. {len(found)} difference(s):{listed}"
        )


def _read_archive(path: Path) -> tuple[Any, dict[str, np.ndarray]]:
    with zipfile.ZipFile(path) as archive:
        config = None
        if "config.json" in archive.namelist():
            config = json.loads(_limited(archive, archive.getinfo("config.json"), MAX_CONFIG_BYTES))
        if "metadata.json" in archive.namelist():
            metadata = json.loads(_limited(archive, archive.getinfo("metadata.json"), MAX_CONFIG_BYTES))
            version = str(metadata.get("keras_version", "")) if isinstance(metadata, dict) else ""
            if version.startswith("2."):
                raise ValueError(f"it was written by Keras {version}, whose archives don't name their layers")
        weights = archive.getinfo("model.weights.h5")
        if weights.compress_type == zipfile.ZIP_STORED and weights.file_size <= MAX_MEMBER_BYTES:
            # Read where it lies: beside the weights there may be an optimizer's state of twice their size.
            with archive.open(weights) as stream:
                return config, _read_h5(stream, path.name)[1]
        content = io.BytesIO(_limited(archive, weights, MAX_TOTAL_BYTES))
    _, layers = _read_h5(content, path.name)
    return config, layers


def _limited(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes:
    if member.file_size > limit:
        raise ValueError(f"{member.filename} takes more than {limit >> 20} MiB")
    return archive.read(member)


def _read_h5(source: Path | IO[bytes], origin: str) -> tuple[Any, dict[str, np.ndarray]]:
    """Return the model's configuration, if the file has one, and all arrays by their path in the file."""
    with h5py.File(source, "r") as file:
        config = file.attrs.get("model_config")
        _check_backend(file, origin)
        arrays: dict[str, np.ndarray] = {}
        _collect(file, "", arrays, Budget(origin), depth=0)
        parsed = json.loads(config) if isinstance(config, (str, bytes)) and len(config) <= MAX_CONFIG_BYTES else None
    return parsed, arrays


def _check_backend(file: h5py.File, origin: str) -> None:
    """Theano's convolutions turned the kernel around; arrays of its files mean other kernels."""
    for group in (file, file.get("model_weights", file)):
        backend = group.attrs.get("backend", b"")
        text = backend.decode("ascii", "replace") if isinstance(backend, bytes) else str(backend)
        if text in FLIPPING_BACKENDS:
            raise InvalidWeights(
                f"{origin} was written by Keras on {text}, whose convolution kernels are not TensorFlow's. Load it "
                "there, and save it from Keras on TensorFlow."
            )


def _collect(group: h5py.Group, prefix: str, arrays: dict[str, np.ndarray], budget: Budget, *, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"groups are nested more than {MAX_DEPTH} deep")
    for name in group:
        path = f"{prefix}{name}"
        if name in _LEFT_BEHIND[prefix == ""]:
            continue
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{path} is a link; arrays must be in the file itself")
        member = group[name]
        if isinstance(member, h5py.Dataset):
            _check_stored_plainly(member, path)
            budget.take(member.size * member.dtype.itemsize)
            arrays[f"{_layer_prefix(group, prefix)}{name}"] = member[()]
        elif isinstance(member, h5py.Group):
            budget.take(0)
            _collect(member, f"{path}/", arrays, budget, depth=depth + 1)


def _check_stored_plainly(dataset: h5py.Dataset, path: str) -> None:
    if dataset.dtype.kind not in "fiu":
        raise ValueError(f"{path} has type {dataset.dtype}; arrays must be of numbers")
    if dataset.attrs.get("dtype") == "bfloat16":
        raise ValueError(f"{path} is bfloat16, which HDF5 keeps as raw bytes; save the model in float32")
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{path} is stored outside the file")
    settings = dataset.id.get_create_plist()
    filters = {settings.get_filter(index)[0] for index in range(settings.get_nfilters())}
    # Any other filter may make the HDF5 library load a plug-in from the machine.
    if not filters <= _PLAIN_FILTERS:
        raise ValueError(f"{path} is compressed by HDF5 filter(s) {sorted(filters - _PLAIN_FILTERS)}; use gzip or none")


def _layer_prefix(group: h5py.Group, prefix: str) -> str:
    """Keras 3 files layers under their class (`layers/conv2d_3/vars/0`) and notes the name as an attribute."""
    name = group.attrs.get("name")
    return f"{name}/" if prefix.endswith("/vars/") and isinstance(name, str) else prefix
