"""What a file is, by its content; its name must not say otherwise."""

from __future__ import annotations

import zipfile
from pathlib import Path

from accelform.errors import ModelSourceMissing, NotAModel, WeightsUnreadable
from accelform.foreign_files import foreign_kind
from accelform.sources.wire import BYTES, VARINT, Malformed, fields, mapped

YAML, ONNX, GRAPH_DEF, SAVED_MODEL, KERAS, HDF5, ZIP = "yaml", "onnx", "graph_def", "saved_model", "keras", "h5", "zip"
TITLES = {
    YAML: "a YAML file",
    ONNX: "an ONNX file",
    GRAPH_DEF: "a frozen TensorFlow graph",
    SAVED_MODEL: "a TensorFlow SavedModel",
    KERAS: "a Keras archive",
    HDF5: "an HDF5 file",
    ZIP: "a zip archive",
}
ENDINGS = {
    ".yaml": YAML,
    ".yml": YAML,
    ".onnx": ONNX,
    ".pb": GRAPH_DEF,
    ".keras": KERAS,
    ".h5": HDF5,
    ".hdf5": HDF5,
    ".zip": ZIP,
}
SAVED_MODEL_FILE = "saved_model.pb"
MAX_BYTES = 2 << 30
"""Of one model file: protobuf's own limit, and far above VGG-16's 553 MB."""

_MAGIC = {
    b"\x89HDF\r\n\x1a\n": HDF5,
    b"PK\x03\x04": ZIP,
    b"PK\x05\x06": ZIP,
}
_OTHERS = {
    b"\x80\x02": "a Python pickle, which can run anything when it is loaded",
    b"\x80\x03": "a Python pickle, which can run anything when it is loaded",
    b"\x80\x04": "a Python pickle, which can run anything when it is loaded",
    b"\x80\x05": "a Python pickle, which can run anything when it is loaded",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"\x93NUMPY": "a NumPy array",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"version https://git-lfs": "a Git LFS pointer; fetch the file itself with `git lfs pull`",
}
_KERAS_MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}


def kind_of(path: Path) -> str:
    """One of the kinds above.

    Raises:
        ModelSourceMissing: it is missing, unreadable, or no regular file.
        NotAModel: it is something else, or its name promises another kind.
        WeightsUnreadable: it is cut off, or too large.
    """
    promised = SAVED_MODEL if path.name == SAVED_MODEL_FILE else ENDINGS.get(path.suffix.lower())
    try:
        if not path.exists():
            raise ModelSourceMissing(f"{path} is missing. Check model_path; it is relative to Pulumi.yaml.")
        if not path.is_file():
            raise ModelSourceMissing(f"{path} is a pipe or a device, neither a file nor a folder. Name a model file.")
        size = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(64)
    except OSError as error:
        raise ModelSourceMissing(f"{path} can't be read: {error.strerror}. Check its permissions.") from error
    if promised is None and (foreign := foreign_kind(path)):
        raise NotAModel(f"{path} is {foreign}.")
    if promised is None:
        raise NotAModel(
            f"{path} is not a model: its name must end in {', '.join(ENDINGS)}, or it is a SavedModel's folder"
        )
    if promised == YAML:
        return YAML
    if size == 0:
        raise NotAModel(f"{path} is empty. Write {TITLES[promised]} there again.")
    if size > MAX_BYTES:
        raise WeightsUnreadable(
            f"{path} has {size / 2**30:.1f} GiB; a model file may have 2. Save it without the optimizer's state."
        )
    found = _found(path, start, promised)
    if found != promised:
        raise NotAModel(
            f"{path.name} is {TITLES[found]}, not {TITLES[promised]}. Give it the ending of what it is "
            f"({', '.join(ending for ending, kind in ENDINGS.items() if kind == found) or SAVED_MODEL_FILE}), "
            "or write the right file."
        )
    return found


def _found(path: Path, start: bytes, promised: str) -> str:
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            return _which_archive(path) if kind == ZIP else kind
    for magic, what in _OTHERS.items():
        if start.startswith(magic):
            raise NotAModel(f"{path.name} is not {TITLES[promised]} but {what}.")
    try:
        found = _message(path)
    except Malformed as error:
        if promised not in (ONNX, GRAPH_DEF, SAVED_MODEL):
            found = None
        else:
            raise WeightsUnreadable(
                f"{path.name} can't be read as {TITLES[promised]}: {error}. It is damaged or cut off; copy it again."
            ) from error
    if found is None:
        raise NotAModel(f"{path.name} is not {TITLES[promised]}: its content is of no kind that Accelform knows.")
    return found


def _which_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            return KERAS if set(archive.namelist()) >= _KERAS_MEMBERS else ZIP
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise WeightsUnreadable(f"{path.name} can't be read as an archive: {error}. Copy it again.") from error


def _message(path: Path) -> str | None:
    """Which protobuf message: they differ in the wire types of their first fields.

    ModelProto: ir_version 1 varint, graph 7 message, opset_import 8. SavedModel: schema version 1 varint, meta graphs
    2. GraphDef: nodes 1, library 2, version 3 varint, versions 4.
    """
    with mapped(path) as content:
        shapes = {(number, kind) for number, kind, _ in fields(content)}
    if (7, BYTES) in shapes and (1, VARINT) in shapes:
        return ONNX
    if (1, BYTES) in shapes and shapes <= {(1, BYTES), (2, BYTES), (3, VARINT), (4, BYTES), (5, BYTES)}:
        return GRAPH_DEF
    if (2, BYTES) in shapes and shapes <= {(1, VARINT), (2, BYTES)}:
        return SAVED_MODEL
    return None
