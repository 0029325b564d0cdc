"""Sources that were read before: by their place while nothing there changed, and by their content wherever it lies.

A place is unchanged while every file and folder that was looked at has the same real path, device, inode, size and
times.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from accelform.conversion.split import TensorInfo
from accelform.featurizers.preprocessing import Preprocess
from accelform.featurizers.spec import (
    FeaturizerSpec,
    FileClassifier,
    FileWeights,
    ImagenetWeights,
    SeededClassifier,
    SeededWeights,
)
from accelform.kept import recall, remember, seen, settled
from accelform.sources.model import ModelSource, SourceFile
from accelform_runtime.network.network import Network

MAX_FOLDERS = 256
_CLASSES = {
    kind.__name__: kind
    for kind in (
        ModelSource,
        SourceFile,
        TensorInfo,
        Preprocess,
        FeaturizerSpec,
        FileWeights,
        ImagenetWeights,
        SeededWeights,
        FileClassifier,
        SeededClassifier,
    )
}

Names = Sequence[str] | None


def source_at(path: Path, *, inputs: Names, outputs: Names) -> ModelSource | None:
    """What was read at `path`, unless something there changed since, or was not kept."""
    kept = recall("place", *_place(path), inputs, outputs)
    try:
        if kept is None or any(seen(Path(name)) != row for name, row in kept["seen"]):
            return None
    except (OSError, KeyError, TypeError, ValueError):
        return None
    return _source(kept.get("source"))


def keep_source_at(path: Path, source: ModelSource, *, inputs: Names, outputs: Names, since: float) -> None:
    """Keeps what was read at `path`; reading it began at `since` (seconds since 1970)."""
    try:
        rows = [(str(place), seen(place)) for place in _looked_at(path, source)]
    except OSError:
        return
    if len(rows) <= MAX_FOLDERS + len(source.files) and settled((row for _, row in rows), since=since):
        remember("place", *_place(path), inputs, outputs, found={"seen": rows, "source": _plain(source)})


def source_of(digest: str, *, inputs: Names, outputs: Names, asked: Names = None) -> ModelSource | None:
    """What was read of this content, without place, files and labels; `asked` as the YAML file that wraps it has it."""
    return _source(recall("content", digest, inputs, outputs, asked))


def keep_source_of(source: ModelSource, *, inputs: Names, outputs: Names, asked: Names = None) -> None:
    """Keeps what was read of a content, for wherever else it lies."""
    bare = replace(source, path=Path(), files=(), labels=())
    remember("content", source.digest, inputs, outputs, asked, found=_plain(bare))


def _place(path: Path) -> tuple[str, str]:
    """Messages show a path as it was given."""
    return str(path), os.path.abspath(path)


def _looked_at(path: Path, source: ModelSource) -> Iterator[Path]:
    """The path, the files, and the folders below it, where one more entry could change what the source is."""
    yield path
    yield from (file.path for file in source.files)
    base = path if path.is_dir() else path.parent
    below = {file.path.relative_to(base).parts[0] for file in source.files if file.path.is_relative_to(base)}
    count = 0
    for name in sorted(below):
        for folder, _, _ in os.walk(base / name):
            yield Path(folder)
            count += 1
            if count > MAX_FOLDERS:
                return


def _source(plain: Any) -> ModelSource | None:
    try:
        source = _value(plain)
        if not isinstance(source, ModelSource):
            return None
        if source.import_log is not None:
            os.utime(source.import_log.parent)  # in use; gone where it was removed meanwhile
    except (OSError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return source


def _plain(value: Any) -> Any:
    if isinstance(value, Network):
        return {"Network": value.as_dict()}
    if isinstance(value, Path):
        return {"Path": str(value)}
    if is_dataclass(value) and not isinstance(value, type):
        return {type(value).__name__: {row.name: _plain(getattr(value, row.name)) for row in fields(value)}}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _value(plain: Any) -> Any:
    if isinstance(plain, list):
        return tuple(_value(item) for item in plain)
    if not isinstance(plain, dict):
        return plain
    ((name, content),) = plain.items()
    if name == "Network":
        return Network.from_dict(content)
    if name == "Path":
        return Path(content)
    return _CLASSES[name](**{key: _value(item) for key, item in content.items()})
