"""From a path to the one model that is there: in a file, a folder, an archive, or behind a YAML file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from accelform.errors import ModelSourceMissing, NotAModel, UserError, WeightsUnreadable
from accelform.folders import is_left_behind
from accelform.kept import imports_folder, private_folder
from accelform.sources.archives import unpacked
from accelform.sources.files import describe, described, inside, read_text
from accelform.sources.keras_files import check_keras_archive, check_keras_h5
from accelform.sources.kinds import (
    ENDINGS,
    GRAPH_DEF,
    HDF5,
    KERAS,
    ONNX,
    SAVED_MODEL,
    SAVED_MODEL_FILE,
    YAML,
    ZIP,
    kind_of,
)
from accelform.sources.model import SourceFile
from accelform.sources.onnx_files import external_files
from accelform.sources.tensorflow_files import check_graph_def, check_saved_model
from accelform.sources.wrapper import Wrapper, load_yaml, parse_wrapper

FEATURIZER = "featurizer"
MAX_NESTED = 3
"""Archives and folders around a model; deeper ones are no packing but a maze."""

MAX_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Found:
    """Where a model is.

    Attributes:
        kind: of `entry`, or "featurizer" with its YAML's text
        entry: the file or folder that holds the network
        parts: what the network is made of, named independently of where it lies: decides identity
        files: what to keep so that the model can be read again; names relative to what was given
    """

    kind: str
    entry: Path
    parts: tuple[SourceFile, ...] = ()
    files: tuple[SourceFile, ...] = ()
    wrapper: Wrapper | None = None
    yaml: Path | None = None
    text: str = ""


@contextmanager
def located(path: Path) -> Iterator[Found]:
    """The model at `path`, all its files checked to be harmless; an archive is unpacked for as long as this lasts.

    Raises:
        ModelSourceMissing, NotAModel, UnsafeModel, WeightsUnreadable, InvalidFeaturizerSpec.
    """
    with _located(path, MAX_NESTED) as found:
        yield found


@contextmanager
def _located(path: Path, nested: int) -> Iterator[Found]:
    if nested < 0:
        raise NotAModel(f"{path.name} is packed more than {MAX_NESTED} times. Bring the model itself.")
    if path.is_dir():
        with _in_folder(path, nested) as found:
            yield found
        return
    kind = kind_of(path)
    if kind == YAML:
        with _in_yaml(path, nested) as found:
            yield found
    elif kind == ZIP:
        with (
            unpacked(path, below=private_folder(imports_folder())) as folder,
            _told_of(path, folder),
            _located(folder, nested - 1) as found,
        ):
            if found.kind == FEATURIZER or found.wrapper is not None:
                # Paths in a YAML file are taken from its place, which an archive does not keep.
                raise NotAModel(f"{path.name} holds a YAML file; unpack it and name that file instead.")
            yield replace(found, files=(describe(path, path.name),))
    else:
        yield _single(path, kind)


@contextmanager
def _told_of(archive: Path, folder: Path) -> Iterator[None]:
    """Messages name the archive and its member, and not the folder that it was unpacked to."""
    try:
        yield
    except UserError as error:
        said = str(error).replace(f"{folder}/", f"{archive}, in it ").replace(str(folder), str(archive))
        if archive.name not in said:
            said = f"{archive.name}: {said}"
        if said == str(error):
            raise
        raise type(error)(said) from error


@contextmanager
def _in_yaml(path: Path, nested: int) -> Iterator[Found]:
    text = read_text(path, what="a featurizer specification")
    raw = load_yaml(text, origin=path.name)
    if "featurizer" in raw:
        yield Found(kind=FEATURIZER, entry=path, yaml=path, text=text)
        return
    wrapper = parse_wrapper(raw, origin=path.name)
    target = inside(path.parent, wrapper.model)
    labels_missing = ""
    try:
        labels = described(path.parent, [wrapper.labels] if wrapper.labels else [])
    except (ModelSourceMissing, WeightsUnreadable) as error:
        labels, labels_missing = (), str(error)
    if not target.exists():
        said = f"{target} is missing. Put the model there, or correct model in {path.name}. {labels_missing}"
        raise ModelSourceMissing(said.strip())
    if labels_missing:
        raise ModelSourceMissing(labels_missing)
    if target.is_file() and ENDINGS.get(target.suffix.lower()) == YAML:
        raise NotAModel(f"{path.name} names {wrapper.model}, another YAML file. Name the network's own file.")
    with _located(target, nested - 1) as found:
        if found.kind == FEATURIZER or found.wrapper is not None:
            raise NotAModel(
                f"{path.name} names {wrapper.model}, which holds another YAML file. Name the network itself."
            )
        prefix = wrapper.model if target.is_dir() else Path(wrapper.model).parent.as_posix()
        kept = tuple(replace(file, name=_joined(prefix, file.name)) for file in found.files)
        yield replace(
            found, wrapper=wrapper, yaml=path, files=tuple(dict.fromkeys((describe(path, path.name), *kept, *labels)))
        )


def _joined(prefix: str, name: str) -> str:
    return name if prefix in ("", ".") else f"{prefix.rstrip('/')}/{name}"


@contextmanager
def _in_folder(folder: Path, nested: int) -> Iterator[Found]:
    try:
        entries = sorted(entry for entry in folder.iterdir() if not is_left_behind(entry.name))
    except OSError as error:
        raise ModelSourceMissing(f"{folder} can't be read: {error.strerror}. Check its permissions.") from error
    if (folder / SAVED_MODEL_FILE).exists():
        parts = check_saved_model(folder)
        yield Found(kind=SAVED_MODEL, entry=folder, parts=parts, files=parts)
        return
    entry = _only_one(folder, entries)
    if entry.is_symlink():
        raise NotAModel(f"{entry} is a link. Put the file itself there.")
    with _located(entry, nested - 1) as found:
        if entry.is_dir():
            found = replace(found, files=tuple(replace(file, name=f"{entry.name}/{file.name}") for file in found.files))
        yield found


def _only_one(folder: Path, entries: list[Path]) -> Path:
    """The entry that is the model: a YAML file, else the only model file, else the only folder."""
    files = [entry for entry in entries if entry.suffix.lower() in ENDINGS and not entry.is_dir()]
    specifications = [entry for entry in files if ENDINGS[entry.suffix.lower()] == YAML]
    for candidates in (specifications, files, [entry for entry in entries if entry.is_dir()]):
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            listed = ", ".join(entry.name for entry in candidates[:MAX_SHOWN])
            raise NotAModel(f"{folder} holds several models, {listed}. Name one of them; in an archive, pack one.")
    listed = ", ".join(entry.name for entry in entries[:MAX_SHOWN]) or "nothing"
    raise NotAModel(
        f"{folder} holds no model: it has {listed}, but no {SAVED_MODEL_FILE} and no file that ends in "
        f"{', '.join(ENDINGS)}."
    )


def _single(path: Path, kind: str) -> Found:
    if kind == SAVED_MODEL:
        raise NotAModel(f"{path} is one file of a SavedModel. Name its folder, {path.parent}.")
    names: tuple[str, ...] = ()
    if kind == ONNX:
        names = external_files(path)
    elif kind == GRAPH_DEF:
        check_graph_def(path)
    elif kind == KERAS:
        check_keras_archive(path)
    elif kind == HDF5:
        check_keras_h5(path)
    own = describe(path, path.name)
    others = tuple(describe(path.parent / name, name) for name in names)
    # Identity is content: what the file is called does not count, what it calls others does.
    return Found(kind=kind, entry=path, parts=(replace(own, name="model"), *others), files=(own, *others))
