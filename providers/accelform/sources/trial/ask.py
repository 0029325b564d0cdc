"""Has a network tried out by a child process, once per content: a graph that brings a library down ends the child."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from accelform import errors
from accelform._base.progress import Progress
from accelform.errors import UnsupportedModel, UserError
from accelform.kept import imports_folder, private_folder
from accelform.sources.process import TIME_VARIABLE, Limits
from accelform_runtime.atomic import replace_text

TRIAL_VERSION = 2
"""Changes whenever the same file could be judged differently."""

TRIED_FILE = "tried.json"
WORK = "multiply_accumulates"
MAX_TRIED = 1000
CHILD = "accelform.sources.trial.run"
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")


_REFUSED: dict[str, UserError] = {}
"""What did not go well, by key: one preview reads the same source several times."""


def try_out(
    path: Path,
    *,
    name: str,
    digest: str,
    input_tensors: Sequence[str] | None,
    output_tensors: Sequence[str] | None,
    checked: bool,
    progress: Progress,
) -> int | None:
    """Checks the ONNX file at `path`, loads what a server would load, and compares its answers with the file's own.

    What went well is kept by `digest` in the folder of imports. Returns the multiply-accumulates of one image in the
    whole network, None where they can't be counted. `checked` False leaves out onnx's checker, for files
    that TensorFlow's converter wrote.

    Raises:
        UserError, as its subclass says: what onnx, onnxruntime or the comparison has against it.
    """
    key = _key(digest, input_tensors, output_tensors, checked)
    if key in _REFUSED:
        raise _REFUSED[key]
    tried = _tried()
    if key in tried:
        return tried[key]
    progress(f"trying out {name}: loads it as a server does, and compares its answers with onnxruntime's of the file")
    # A name may have bytes that are no text; what is written with it is text.
    name = os.fsencode(name).decode("utf-8", "backslashreplace")
    job = {"name": name, "path": str(path), "inputs": input_tensors, "outputs": output_tensors, "checked": checked}
    try:
        found = _run(job, name)
    except UserError as error:
        _REFUSED[key] = error
        raise
    for note in found["notes"]:
        progress(f"{name}: {note}")
    _remember(key, found[WORK])
    work: int | None = found[WORK]
    return work


def _run(job: Mapping[str, object], name: str) -> dict[str, Any]:
    """What the child has to say.

    Raises:
        UserError: what it refused, or that it did not end well.
    """
    limits = Limits.from_environment()
    environment = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
    with tempfile.TemporaryDirectory(prefix="accelform-trial-") as folder:
        verdict = Path(folder) / "verdict.json"
        asked = json.dumps({**job, "memory_bytes": limits.memory_bytes, "verdict": str(verdict)})
        try:
            child = subprocess.run(
                [sys.executable, "-I", "-m", CHILD],
                input=asked.encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd=folder,
                env=environment | {"TMPDIR": folder},
                timeout=limits.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise UnsupportedModel(
                f"loading {name} and computing a few answers did not end within {limits.seconds:g} s; set "
                f"{TIME_VARIABLE} higher, or export a smaller network"
            ) from error
        if not verdict.is_file():
            how = f"signal {-child.returncode}" if child.returncode < 0 else f"exit code {child.returncode}"
            words = child.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:300]
            raise UnsupportedModel(
                f"loading {name} ended the process that tried it, with {how}{f' ({words})' if words else ''}: a "
                "server would end as well; export the model again, or without what is unusual in it"
            )
        found = json.loads(verdict.read_text(encoding="utf-8"))
    if "error" in found:
        raise getattr(errors, found["error"])(found["message"])
    return dict(found)


def _key(digest: str, inputs: Sequence[str] | None, outputs: Sequence[str] | None, checked: bool) -> str:
    what = [TRIAL_VERSION, version("onnxruntime"), version("onnx"), digest, list(inputs or ()), list(outputs or ())]
    return hashlib.sha256(json.dumps([*what, checked]).encode()).hexdigest()


def _tried() -> dict[str, int | None]:
    """Key -> multiply-accumulates, the newest last."""
    try:
        found = json.loads((imports_folder() / TRIED_FILE).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _remember(key: str, work: int | None) -> None:
    """Two previews at once may forget one of the two: it is tried again then."""
    with contextlib.suppress(OSError):
        folder = private_folder(imports_folder())
        tried = dict([*_tried().items(), (key, work)][-MAX_TRIED:])
        replace_text(folder / TRIED_FILE, json.dumps(tried), mode=0o600)
