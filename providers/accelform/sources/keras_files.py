"""Looks through Keras files before Keras sees them: only layers of Keras's own, described as data.

A Keras configuration names Python classes and may carry code (Lambda layers as marshalled functions, custom objects
with module paths). Keras's safe mode refuses some of it; here everything is refused that is not on Keras's own shelf.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from accelform.errors import UnsafeModel, UnsupportedModel, UserError, WeightsUnreadable
from accelform.sources.archives import checked_members

MEMBERS = ("config.json", "metadata.json", "model.weights.h5")
MAX_CONFIG_BYTES = 16 << 20
MAX_GROUPS = 20_000
MAX_DEPTH = 32
MAX_CONFIG_DEPTH = 60
MAX_TOTAL_BYTES = 3 << 30
MODULES = ("keras", "keras.", "tf_keras", "tf_keras.", "tensorflow.keras.", "tensorflow.python.keras.")
CODE = frozenset(
    {
        "Lambda", "TFOpLambda", "SlicingOpLambda", "TorchModuleWrapper", "FlaxLayer", "JaxLayer", "TFSMLayer",
        "StringLookup", "IntegerLookup", "TextVectorization", "FeatureSpace",
    }
)  # fmt: skip
"""Layer classes whose configuration is code, or loads other files."""

ADVICE = "Build the network from Keras's own layers and save it again."
_PICKLE_ENDINGS = (".pkl", ".pickle", ".joblib", ".npy", ".npz", ".py", ".pyc", ".so")


def check_keras_archive(path: Path) -> None:
    """A `.keras` file: configuration, metadata, weights, and nothing else.

    Raises:
        UnsafeModel: code, custom classes, pickles, links, or a bomb.
        WeightsUnreadable: damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in checked_members(archive, path.name)}
            for name in members:
                if name not in MEMBERS and not name.startswith("assets/"):
                    raise UnsafeModel(f"{path.name} holds {name!r}, which no Keras model has. {ADVICE}")
                if name.startswith("assets/") or name.endswith(_PICKLE_ENDINGS):
                    raise UnsafeModel(f"{path.name} brings a file for a layer, {name!r}; networks here have none.")
            for name in MEMBERS[:2]:
                if members[name].file_size > MAX_CONFIG_BYTES:
                    raise UnsafeModel(f"{name} in {path.name} is larger than {MAX_CONFIG_BYTES >> 20} MiB. {ADVICE}")
            _check_version(_json(archive.read("metadata.json"), path.name), path.name)
            _check_config(_json(archive.read("config.json"), path.name), path.name)
            with archive.open("model.weights.h5") as weights:
                # What is stored as it is can be looked through where it is.
                stored = members["model.weights.h5"].compress_type == zipfile.ZIP_STORED
                _check_hdf5(weights if stored else io.BytesIO(weights.read()), path.name)
    except UserError:
        raise
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, KeyError, RuntimeError, RecursionError) as error:
        raise _unreadable(path, error) from error


def check_keras_h5(path: Path) -> None:
    """A whole model in one HDF5 file.

    Raises:
        UnsafeModel: code, custom classes, pickles, links, or data stored elsewhere.
        WeightsUnreadable: damaged, or weights without a network.
    """
    try:
        config = _check_hdf5(path, path.name)
        if config is None:
            raise WeightsUnreadable(
                f"{path.name} holds weights without a network. Save the whole model (model.save), or name the file as "
                "the weights of a featurizer specification."
            )
        _check_config(_json(config, path.name), path.name)
    except UserError:
        raise
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, TypeError, RecursionError) as error:
        raise _unreadable(path, error) from error


def _check_version(metadata: Any, name: str) -> None:
    """Keras 2 had archives with the same ending, which Keras 3 can't read."""
    version = str(metadata.get("keras_version", "")) if isinstance(metadata, dict) else ""
    if version.partition(".")[0] in ("1", "2"):
        raise UnsupportedModel(
            f"{name} was written by Keras {version}, whose .keras archives Keras 3 can't read. Load it there, and save "
            "it as one HDF5 file (model.save('model.h5')) or as a SavedModel (tf.saved_model.save)."
        )


def _unreadable(path: Path, error: Exception) -> WeightsUnreadable:
    said = " ".join(str(error).split())[:300] or type(error).__name__
    return WeightsUnreadable(f"{path.name} can't be read as a Keras file: {said}. Save it again, or copy it again.")


def _json(content: bytes | str, name: str) -> Any:
    if len(content) > MAX_CONFIG_BYTES:
        raise UnsafeModel(f"the configuration in {name} is larger than {MAX_CONFIG_BYTES >> 20} MiB. {ADVICE}")
    return json.loads(content)


def _check_config(config: Any, name: str) -> None:
    for place, node in _objects(config):
        class_name = node.get("class_name")
        if isinstance(class_name, str):
            shown = f"{class_name!r} (at {place or 'the top'})"
            if class_name in CODE or class_name.startswith("__lambda__"):
                raise UnsafeModel(f"{name} has a layer {shown}, which carries code or reads other files. {ADVICE}")
            if class_name in ("__numpy__", "__typespec__", "function", "__method__", "class"):
                raise UnsafeModel(f"{name} carries a Python object, {shown}. {ADVICE}")
            if node.get("registered_name") not in (None, class_name) and ">" in str(node.get("registered_name")):
                raise UnsafeModel(f"{name} has a layer {shown} that is registered by {node['registered_name']!r}: "
                                  f"custom code would have to run to read it. {ADVICE}")  # fmt: skip
            if ">" in class_name:
                raise UnsafeModel(f"{name} has a custom layer {shown}. {ADVICE}")
        module = node.get("module")
        if isinstance(module, str) and "class_name" in node and not _known(module):
            raise UnsafeModel(
                f"{name} would import the Python module {module!r} for {class_name!r} "
                f"(at {place or 'the top'}). {ADVICE}"
            )


def _known(module: str) -> bool:
    return module in MODULES or module.startswith(tuple(prefix for prefix in MODULES if prefix.endswith(".")))


def _objects(config: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    pending: list[tuple[str, int, Any]] = [("", 0, config)]
    while pending:
        place, depth, node = pending.pop()
        if depth > MAX_CONFIG_DEPTH:
            raise ValueError(f"its configuration is nested more than {MAX_CONFIG_DEPTH} deep")
        if isinstance(node, dict):
            inner = node.get("config")
            named = inner.get("name") if isinstance(inner, dict) else node.get("name")
            label = named if isinstance(named, str) else place
            yield label, node
            pending += [(label, depth + 1, value) for value in node.values()]
        elif isinstance(node, list):
            pending += [(place, depth + 1, value) for value in node]


def _check_hdf5(source: Path | IO[bytes], name: str) -> bytes | str | None:
    """Returns the model's configuration, if it holds one."""
    import h5py

    with h5py.File(source, "r") as file:
        pending: list[tuple[str, int, Any]] = [("", 0, file)]
        groups = total = 0
        while pending:
            place, depth, group = pending.pop()
            groups += 1
            if groups > MAX_GROUPS or depth > MAX_DEPTH:
                raise UnsafeModel(f"{name} has more than {MAX_GROUPS} groups, or {MAX_DEPTH} levels of them. {ADVICE}")
            _check_attributes(group, place, name)
            for member in group:
                path = f"{place}/{member}"
                if not isinstance(group.get(member, getlink=True), h5py.HardLink):
                    raise UnsafeModel(f"{path} in {name} is a link; arrays must be in the file itself. {ADVICE}")
                found = group[member]
                if isinstance(found, h5py.Group):
                    pending.append((path, depth + 1, found))
                elif isinstance(found, h5py.Dataset):
                    _check_attributes(found, path, name)
                    _check_dataset(found, path, name)
                    total += found.size * found.dtype.itemsize
                else:
                    raise UnsafeModel(f"{path} in {name} is neither a group nor an array. {ADVICE}")
            if total > MAX_TOTAL_BYTES:
                raise UnsafeModel(f"{name} holds arrays of more than {MAX_TOTAL_BYTES >> 30} GiB. {ADVICE}")
        config = file.attrs.get("model_config")
    return config if isinstance(config, (bytes, str)) else None


def _check_attributes(node: Any, place: str, name: str) -> None:
    for key in node.attrs:
        kind = node.attrs.get_id(key).dtype
        value = node.attrs[key] if kind.kind in "SO" and kind.itemsize <= MAX_CONFIG_BYTES else None
        if kind.kind == "V" or (isinstance(value, bytes) and value[:1] == b"\x80" and value.endswith(b".")):
            raise UnsafeModel(f"attribute {key!r} of {place or '/'} in {name} is a pickled object. {ADVICE}")


def _check_dataset(dataset: Any, path: str, name: str) -> None:
    import h5py

    plain = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
    if dataset.is_virtual or dataset.external:
        raise UnsafeModel(f"{path} in {name} is stored outside the file. {ADVICE}")
    settings = dataset.id.get_create_plist()
    filters = {settings.get_filter(index)[0] for index in range(settings.get_nfilters())}
    # Any other filter may make the HDF5 library load a plug-in from the machine.
    if not filters <= plain:
        raise UnsafeModel(f"{path} in {name} is compressed by HDF5 filter(s) {sorted(filters - plain)}; use gzip.")
    if dataset.dtype.kind not in "fiubSO":
        raise UnsafeModel(f"{path} in {name} has type {dataset.dtype}; arrays must be of numbers. {ADVICE}")
