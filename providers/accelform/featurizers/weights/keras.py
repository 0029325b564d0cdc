"""Weights from Keras files, read as data only: no layer is built, no configuration is executed, nothing is unpickled.

Files: `.h5` (a model or its weights, legacy or Keras 3's `.weights.h5`) and `.keras`. Arrays, in either of two ways:

- saved under tf-slim's names themselves, e.g. a data set `resnet_v1_50/conv1/weights`;
- for a ResNet, in layers named as Keras applications name ResNet50's: `conv1_conv`, `conv1_bn`, then for stage
  s = 2..5, unit u and part p = 0..3 (0 is the shortcut) `conv{s}_block{u}_{p}_conv` and `..._bn`, and `predictions`.
  Becomes `resnet_v1_50/block{s-1}/unit_{u}/bottleneck_v1/{shortcut,conv1,conv2,conv3}/...` and
  `resnet_v1_50/logits/...` (or those of `resnet_v1_152`).
  A convolution's bias is taken into its batch norm's moving mean, and Keras's larger epsilon (1.001e-5) into the
  variance; both leave the function as it was.

Keras applications' own ResNet50 puts the stride on the FIRST unit of a stage, on its 1x1 convolution; tf-slim's, which
the FPGA runs, on the LAST unit's 3x3. A file whose configuration says so is refused. A file with weights only doesn't
tell, so train with tf-slim's strides before saving it.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

from accelform.errors import InvalidWeights, WeightsUnreadable
from accelform.featurizers.networks.resnet_v1 import BATCH_NORM_EPSILON
from accelform.featurizers.weights.arrays import MAX_TOTAL_BYTES, Budget

KERAS_EPSILON = 1.001e-5
"""The batch-norm epsilon of Keras applications' ResNets."""

MAX_CONFIG_BYTES = 16 << 20
MAX_DEPTH = 16
_PLAIN_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_PARTS = {"0": "shortcut", "1": "conv1", "2": "conv2", "3": "conv3"}
_VARIABLES = {
    "conv": ("kernel", "bias"),
    "bn": ("gamma", "beta", "moving_mean", "moving_variance"),
    "predictions": ("kernel", "bias"),
}
_LAYER = re.compile(r"^(?:conv1|conv(?P<stage>[2-5])_block(?P<unit>\d+)_(?P<part>[0-3]))_(?P<kind>conv|bn)$")


def read_keras(path: Path, *, scope: str = "resnet_v1_50") -> dict[str, np.ndarray]:
    """Read the arrays under tf-slim's names; layers of other names keep theirs, for the check to report.

    Raises:
        WeightsUnreadable: no Keras file, damaged, too large, or with links or compression that reach outside it.
        InvalidWeights: its configuration puts the strides where the FPGA's network doesn't.
    """
    try:
        if zipfile.is_zipfile(path):
            config, layers = _read_archive(path)
        else:
            config, layers = _read_h5(path, path.name)
        _check_strides(config, path.name, scope)
        return _renamed(layers, scope)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise WeightsUnreadable(
            f"{path.name} can't be read as a Keras file: {' '.join(str(error).split())}. "
            "Save it again with Keras's save or save_weights."
        ) from error


def _read_archive(path: Path) -> tuple[Any, dict[str, np.ndarray]]:
    with zipfile.ZipFile(path) as archive:
        weights = archive.getinfo("model.weights.h5")
        if weights.file_size > MAX_TOTAL_BYTES:
            raise ValueError(f"its weights take more than {MAX_TOTAL_BYTES >> 20} MiB")
        config = None
        if "config.json" in archive.namelist():
            config = json.loads(_limited(archive, archive.getinfo("config.json"), MAX_CONFIG_BYTES))
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
        arrays: dict[str, np.ndarray] = {}
        _collect(file, "", arrays, Budget(origin), depth=0)
        parsed = json.loads(config) if isinstance(config, (str, bytes)) and len(config) <= MAX_CONFIG_BYTES else None
    return parsed, arrays


def _collect(group: h5py.Group, prefix: str, arrays: dict[str, np.ndarray], budget: Budget, *, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"groups are nested more than {MAX_DEPTH} deep")
    for name in group:
        path = f"{prefix}{name}"
        if prefix == "" and name in ("optimizer", "optimizer_weights"):
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


def _renamed(arrays: Mapping[str, np.ndarray], scope: str) -> dict[str, np.ndarray]:
    result: dict[str, np.ndarray] = {}
    layers: dict[str, dict[str, np.ndarray]] = {}
    is_resnet = scope.startswith("resnet_v1_")
    for path, array in arrays.items():
        start = path.find(f"{scope}/")
        if start == 0 or (start > 0 and path[start - 1] == "/"):
            result[path[start:].removesuffix(":0")] = array
            continue
        names = path.removesuffix(":0").split("/")
        layer = next((name for name in reversed(names[:-1]) if _kind(name) is not None), None) if is_resnet else None
        if layer is None:
            result[path] = array
        else:
            layers.setdefault(layer, {})[_variable(layer, names[-1])] = array
    for layer, variables in layers.items():
        if _kind(layer) == "bn" and len(variables) != len(_VARIABLES["bn"]):
            # Keras 3 numbers what there is, so with one missing the numbers would point at the wrong variables.
            raise ValueError(f"{layer} has {len(variables)} variables instead of {', '.join(_VARIABLES['bn'])}")
        if _kind(layer) != "bn":
            result |= _convolution_or_head(scope, layer, variables)
    for layer, variables in layers.items():
        if _kind(layer) == "bn":
            convolution = layers.get(f"{layer.removesuffix('_bn')}_conv", {})
            result |= _batch_norm(f"{_slim(scope, layer)}/BatchNorm", variables, convolution.get("bias"))
    return result


def _kind(layer: str) -> str | None:
    if layer == "predictions":
        return layer
    match = _LAYER.match(layer)
    return match["kind"] if match else None


def _variable(layer: str, name: str) -> str:
    """Keras 3 numbers a layer's variables; older files name them."""
    known = _VARIABLES[_kind(layer) or ""]
    return known[int(name)] if name.isascii() and name.isdigit() and int(name) < len(known) else name


def _slim(scope: str, layer: str) -> str:
    if layer == "predictions":
        return f"{scope}/logits"
    match = _LAYER.match(layer)
    if match is None or match["stage"] is None:
        return f"{scope}/conv1"
    return f"{scope}/block{int(match['stage']) - 1}/unit_{match['unit']}/bottleneck_v1/{_PARTS[match['part']]}"


def _convolution_or_head(scope: str, layer: str, variables: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    slim = _slim(scope, layer)
    result = {f"{slim}/{name}": array for name, array in variables.items() if name not in ("kernel", "bias")}
    if "kernel" in variables:
        result[f"{slim}/weights"] = variables["kernel"]
    if layer == "predictions" and "bias" in variables:
        result[f"{slim}/biases"] = variables["bias"]
    return result


def _batch_norm(slim: str, variables: Mapping[str, np.ndarray], bias: np.ndarray | None) -> dict[str, np.ndarray]:
    result = {f"{slim}/{name}": array for name, array in variables.items()}
    mean, variance = variables.get("moving_mean"), variables.get("moving_variance")
    if bias is not None and mean is not None and bias.shape == mean.shape:
        result[f"{slim}/moving_mean"] = mean.astype(np.float32) - bias.astype(np.float32)
    if variance is not None and variance.dtype.kind == "f":
        result[f"{slim}/moving_variance"] = variance + np.float32(KERAS_EPSILON - BATCH_NORM_EPSILON)
    return result


def _check_strides(config: Any, origin: str, scope: str) -> None:
    strided = [
        f"{layer['config']['name']} {layer['config']['strides']}"
        for layer in _layer_configs(config)
        if re.fullmatch(r"conv[345]_block1_[01]_conv", str(layer["config"].get("name")))
        and layer["config"].get("strides") in ([2, 2], 2)
    ]
    if strided:
        raise InvalidWeights(
            f"The network in {origin} can't run on the FPGA: it strides in the first unit of a stage "
            f"({', '.join(strided[:3])}), as Keras applications' ResNet50 does; the FPGA's {scope} is tf-slim's, "
            "which strides in the last unit, on its 3x3. Train with those strides, or use weights: {source: imagenet}."
        )


def _layer_configs(config: Any) -> Iterable[Mapping[str, Any]]:
    model = config.get("config") if isinstance(config, dict) else None
    layers = model.get("layers") if isinstance(model, dict) else None
    if isinstance(layers, list):
        for layer in layers:
            if isinstance(layer, dict) and isinstance(layer.get("config"), dict):
                yield layer
                yield from _layer_configs(layer)
