"""The files of a source: read in pieces, hashed, and never outside the source's folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from accelform.errors import InvalidWeights, ModelSourceMissing, NotAModel, WeightsUnreadable
from accelform.sources.model import SourceFile
from accelform.texts import NotText, decoded, lines_of

READ_AT_ONCE = 1 << 20
MAX_TEXT_BYTES = 1 << 20
MAX_FILE_BYTES = 2 << 30
LATER = (("means", True),)
"""Settings, and what was meant before they existed."""

BACKGROUND = ("background", "dummy", "unlabeled", "__background__", "none")


def read_text(path: Path, *, what: str) -> str:
    """A small text; `what` says in messages what it should have been.

    Raises:
        ModelSourceMissing: it is not there or can't be read.
        NotAModel: larger than 1 MiB, or no text.
    """
    try:
        return decoded(_content(path, what=what))
    except NotText as error:
        raise NotAModel(f"{path} is no {what.removeprefix('a ')}: {error}") from error


def _content(path: Path, *, what: str) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise NotAModel(f"{path} is no file that could be read to its end; {what} is a file of a few lines")
        with path.open("rb") as stream:
            content = stream.read(MAX_TEXT_BYTES + 1)
    except FileNotFoundError as error:
        raise ModelSourceMissing(f"{path} is missing. Check model_path; it is relative to Pulumi.yaml.") from error
    except OSError as error:
        raise ModelSourceMissing(f"{path} can't be read: {error.strerror}. Check its permissions.") from error
    if len(content) > MAX_TEXT_BYTES:
        raise NotAModel(f"{path} is larger than 1 MiB; {what} has a few lines")
    return content


def read_labels(path: Path, *, classes: int | None) -> tuple[str, ...]:
    """One label per line.

    Raises:
        InvalidWeights: no text, empty lines, or another number of lines than classes.
    """
    try:
        labels = lines_of(_content(path, what="a label file"))
    except (NotAModel, NotText) as error:
        where = "" if path.name in str(error) else f"{path}: "
        raise InvalidWeights(f"{where}{error}. It must hold one label per line") from error
    if len(labels) != classes:
        raise InvalidWeights(
            f"{path} holds {len(labels)} line(s); the classifier has {classes or 'no'} classes. It must hold one label "
            f"per line, in the order of the classifier's outputs.{_shifted(labels, classes or 0)}"
        )
    return labels


def _shifted(labels: tuple[str, ...], classes: int) -> str:
    """What to do about a class for the background that only one of the two has."""
    if len(labels) == classes + 1 and labels[0].casefold() in BACKGROUND:
        return f" Its first line, {labels[0]}, is a class that this classifier does not have: take it out."
    if len(labels) == classes - 1 and labels:
        return " The classifier has one class more, often for the background, and first: add a line for it there."
    return ""


def inside(folder: Path, name: str) -> Path:
    """`name` below `folder`, links followed.

    Raises:
        ModelSourceMissing: it leads outside.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ModelSourceMissing(f"{name} leads outside {folder}. Put the file itself beside the specification.")
    return path


def describe(path: Path, name: str) -> SourceFile:
    """Hashes a file.

    Raises:
        ModelSourceMissing: it is missing or unreadable.
        WeightsUnreadable: it is larger than any network.
    """
    try:
        if path.exists() and not path.is_file():
            raise ModelSourceMissing(f"{path} is a folder, a pipe or a device. It must be a file.")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise WeightsUnreadable(f"{path} has more than {MAX_FILE_BYTES >> 30} GiB; no network here is that large.")
        with path.open("rb") as stream:
            digest, size = hash_stream(stream)
    except FileNotFoundError as error:
        raise ModelSourceMissing(f"{path} is missing. Put it there, or correct the specification.") from error
    except OSError as error:
        raise ModelSourceMissing(f"{path} can't be read: {error.strerror}. It must be a readable file.") from error
    return SourceFile(name=name, path=path, sha256=digest, size_bytes=size)


def described(folder: Path, names: Iterable[str]) -> tuple[SourceFile, ...]:
    """Files below `folder`, links followed.

    Raises:
        ModelSourceMissing, WeightsUnreadable: every file that is missing, unreadable, too large, or leads outside.
    """
    found, problems = [], []
    for name in names:
        try:
            found.append(describe(inside(folder, name), name))
        except (ModelSourceMissing, WeightsUnreadable) as error:
            problems.append(error)
    if problems:
        raise type(problems[0])(" ".join(str(problem) for problem in problems))
    return tuple(found)


def hash_stream(stream: BinaryIO) -> tuple[str, int]:
    """sha256 in hex, and the number of bytes."""
    digest, size = hashlib.sha256(), 0
    while part := stream.read(READ_AT_ONCE):
        digest.update(part)
        size += len(part)
    return digest.hexdigest(), size


def is_plain_name(name: str) -> bool:
    """Whether a relative name stays where it is put: no `..`, no root, no drive, nothing unprintable."""
    path = PurePosixPath(name.replace("\\", "/"))
    return (
        bool(path.parts)
        and name.isprintable()
        and not path.is_absolute()
        and ".." not in path.parts
        and ":" not in path.parts[0]
    )


def content_digest(kind: str, settings: Mapping[str, Any], files: Iterable[SourceFile]) -> str:
    """`sha256:...` over what a source is: settings in canonical form and the contents by name."""
    content = {"kind": kind, **settings, "files": {file.name: file.sha256 for file in files}}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def as_before(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that came later are left out where they say what always was, so that old digests stay."""
    found = {key: as_before(value) if isinstance(value, Mapping) else value for key, value in settings.items()}
    return {key: value for key, value in found.items() if (key, value) not in LATER}
