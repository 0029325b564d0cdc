"""TensorFlow's and Keras's files as ONNX, imported once and kept under the project's `.accelform/imports`.

One folder per content and tensors: the ONNX file, what was found, and TensorFlow's log. The oldest are removed when
there are more than a few, so that trying out models doesn't fill the disk.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from accelform._base.progress import Progress
from accelform.errors import ImportFailed, UnknownTensor, UnsupportedModel, WeightsUnreadable
from accelform.kept import imports_folder, private_folder
from accelform.sources.fitting import fit_preprocess, write_test_images
from accelform.sources.importer.job import FACTS_FILE, FRONT_FILE, IMAGES_FOLDER, MODEL_FILE, PROBLEM_FILE, Facts, Job
from accelform.sources.process import LOG_FILE, Limits, run_importer, tensorflow_python

IMPORT_VERSION = 2
"""Changes whenever the same files would be imported differently."""

MAX_KEPT = 8
MAX_KEPT_BYTES = 4 << 30
PREPROCESS_FILE = "preprocess.json"
KEPT_FILES = (MODEL_FILE, FACTS_FILE, PREPROCESS_FILE, LOG_FILE)
STALE_SECONDS = 3600


class Which(NamedTuple):
    """What of a file is meant; None: what it says itself."""

    input_tensors: Sequence[str] | None = None
    output_tensors: Sequence[str] | None = None
    signature: str | None = None
    tags: Sequence[str] | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            key: list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
            for key, value in self._asdict().items()
        }


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A finished import; `folder` holds `model.onnx` and `import.log`."""

    folder: Path
    facts: Facts

    @property
    def model(self) -> Path:
        return self.folder / MODEL_FILE

    @property
    def log(self) -> Path:
        return self.folder / LOG_FILE

    @property
    def preprocess(self) -> dict[str, object] | None:
        """`Preprocess` settings of the encoded-image front, if there was one."""
        path = self.folder / PREPROCESS_FILE
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def import_model(
    path: Path,
    *,
    kind: str,
    digest: str,
    input_tensors: Sequence[str] | None,
    output_tensors: Sequence[str] | None,
    progress: Progress,
    signature: str | None = None,
    tags: Sequence[str] | None = None,
) -> Imported:
    """The import of these contents, from the kept ones or made now.

    Raises:
        TensorFlowMissing: there is no TensorFlow to make it with.
        UnknownTensor, UnsupportedModel, WeightsUnreadable: what TensorFlow says of the model.
        ImportFailed: it took too much, or crashed.
    """
    kept = private_folder(imports_folder())
    which = Which(input_tensors, output_tensors, signature, tags)
    key = {"version": IMPORT_VERSION, "digest": digest, **which._asdict()}
    target = kept / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    with _locked(kept, target.name):
        if (target / MODEL_FILE).is_file():
            os.utime(target)
            return Imported(folder=target, facts=Facts.read(target))
        work = Path(tempfile.mkdtemp(prefix="import-", dir=kept))
        try:
            _make(work, path, kind, which, progress)
            shutil.rmtree(target, ignore_errors=True)
            work.rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        _prune(kept, keep=target)
    return Imported(folder=target, facts=Facts.read(target))


def _make(
    work: Path,
    path: Path,
    kind: str,
    which: Which,
    progress: Progress,
) -> None:
    python, limits = tensorflow_python(), Limits.from_environment()
    write_test_images(work / IMAGES_FOLDER)
    Job(
        kind=kind,
        path=str(path.resolve()),
        memory_bytes=limits.memory_bytes,
        **which.plain(),
    ).write(work)
    run_importer(work, python=python, limits=limits, progress=lambda text: progress(f"importing {path.name}: {text}"))
    _raise_problem(work, path, limits)
    if not (work / MODEL_FILE).is_file():
        raise ImportFailed(f"TensorFlow ended without an answer on {path}. Try again.")
    if (work / FRONT_FILE).is_file():
        settings = fit_preprocess(work / FRONT_FILE, work / IMAGES_FOLDER, Facts.read(work), name=path.name)
        (work / PREPROCESS_FILE).write_text(json.dumps(settings), encoding="utf-8")
    for leftover in work.iterdir():
        if leftover.is_dir():
            shutil.rmtree(leftover)
        elif leftover.name not in KEPT_FILES:
            leftover.unlink()


def _raise_problem(work: Path, path: Path, limits: Limits) -> None:
    file = work / PROBLEM_FILE
    if not file.is_file():
        return
    problem = json.loads(file.read_text(encoding="utf-8"))
    message = f"{path}: {problem['message']}"
    if problem["kind"] == "tensor":
        raise UnknownTensor(message)
    if problem["kind"] == "unsupported":
        raise UnsupportedModel(message)
    if problem["kind"] == "memory":
        raise ImportFailed(f"{path} needs more than the {limits.memory_bytes / 2**30:.1f} GiB that an import may take.")
    raise WeightsUnreadable(f"{message}. TensorFlow can't read the file; save or copy it again.")


@contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    """Previews of one stack may run beside each other; the second finds what the first made."""
    with (folder / f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _prune(folder: Path, *, keep: Path) -> None:
    """Removes the longest unused imports over the limits, and what killed ones left half-made."""
    kept: list[tuple[float, int, Path]] = []
    now = time.time()
    for path in folder.iterdir():
        age = now - path.stat().st_mtime
        if path.is_dir() and path.name.startswith(("import-", "unpacked-")):
            if age > STALE_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
        elif path.is_dir():
            size = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
            kept.append((path.stat().st_mtime, size, path))
        elif path.suffix == ".lock" and age > STALE_SECONDS and not path.with_suffix("").exists():
            path.unlink(missing_ok=True)
    total = 0
    for count, (_, size, path) in enumerate(sorted(kept, reverse=True)):
        total += size
        if path != keep and (count >= MAX_KEPT or total > MAX_KEPT_BYTES):
            shutil.rmtree(path, ignore_errors=True)
