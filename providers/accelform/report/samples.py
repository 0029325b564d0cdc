"""Calibration samples: image files, or arrays of what the network reads, that the user names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from accelform._base.progress import Progress, silent
from accelform.errors import CalibrationUnusable
from accelform.folders import files_below

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".bmp")
ARRAY_ENDINGS = (".npy", ".npz")
MAX_SAMPLES = 10_000
MAX_SAMPLE_BYTES = 1 << 28
MAX_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One file.

    Attributes:
        name: as the user would find it: relative to the folder that was named
        label: index of the class that its folder is called after, where labels were given and one fits
    """

    path: Path
    name: str
    label: int | None = None

    @property
    def array(self) -> bool:
        """Whether it holds tensors rather than a picture."""
        return self.path.suffix.lower() in ARRAY_ENDINGS


def find_samples(
    paths: Sequence[Path],
    *,
    labels: Sequence[str] = (),
    limit: int | None = None,
    progress: Progress = silent,
) -> tuple[Sample, ...]:
    """Files as named, and of folders every picture and array below them, sorted by name.

    What a folder holds besides (thumbnails, hidden files, other kinds) is left out, and told to `progress`. With
    `limit`, that many of them at even distances, so that a folder sorted by class gives some of each.

    Raises:
        CalibrationUnusable: nothing is there, or nothing that can be used.
    """
    found: list[Sample] = []
    for path in paths:
        if path.is_dir():
            found += _below(path, labels, progress)
        elif path.is_file():
            found.append(Sample(path=path, name=path.name, label=_label(path.parent.name, labels)))
        elif path.exists():
            raise CalibrationUnusable(f"{path} is a pipe or a device. Name a folder of images, or image files.")
        else:
            raise CalibrationUnusable(f"{path} is not there. Name a folder of images, or image files.")
    if not found:
        where = ", ".join(str(path) for path in paths) or "the images named"
        endings = ", ".join((*IMAGE_ENDINGS, *ARRAY_ENDINGS))
        raise CalibrationUnusable(f"{where}: no images. Name a folder that holds some ({endings}), or the files.")
    if limit is not None and limit < len(found):
        return tuple(found[index * len(found) // limit] for index in range(limit))
    return tuple(found)


def _below(folder: Path, labels: Sequence[str], progress: Callable[[str], None]) -> Iterator[Sample]:
    try:
        entries = [(path, left) for path, left in files_below(folder) if left or path.is_file()]
    except OSError as error:
        where = error.filename or folder
        raise CalibrationUnusable(f"{where} can't be read: {error.strerror}. Check its permissions.") from error
    files = [path for path, left in entries if not left and path.suffix.lower() in (*IMAGE_ENDINGS, *ARRAY_ENDINGS)]
    if len(files) > MAX_SAMPLES:
        raise CalibrationUnusable(
            f"{folder} holds {len(files)} images; at most {MAX_SAMPLES} are taken. Name a folder with fewer: a few "
            "hundred say as much."
        )
    taken = set(files)
    if out := [path.relative_to(folder).as_posix() for path, _ in entries if path not in taken]:
        shown = ", ".join(out[:MAX_SHOWN]) + (f" and {len(out) - MAX_SHOWN} more" if len(out) > MAX_SHOWN else "")
        progress(f"{folder.name}: {len(files)} images; left out, as no images or a system's own: {shown}")
    for path in files:
        yield Sample(path=path, name=path.relative_to(folder).as_posix(), label=_label(path.parent.name, labels))


def _label(folder: str, labels: Sequence[str]) -> int | None:
    return labels.index(folder) if folder in labels else None
