"""Reads the job, imports the model, writes the answer; guards this process against the caller's death."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from .front import begins_with_images, image_tensor, run_front
from .graphs import cut
from .job import MODEL_FILE, PROBLEM_FILE, Facts, Job, Refused, Tensor
from .loaders import load
from .translate import rename, translate, write_model

PROGRESS_FD = 3
SIGKILL_ON_PARENT_DEATH = 1  # PR_SET_PDEATHSIG
ADDRESS_SPACE_FACTOR = 4
"""Address space is reserved far beyond what is used; the caller watches what is used."""


def main(folder: Path) -> int:
    job = Job.read(folder)
    _guard(job.memory_bytes)
    progress = os.fdopen(PROGRESS_FD, "w", buffering=1, encoding="utf-8")
    started = time.monotonic()

    def say(text: str) -> None:
        progress.write(f"{text} ({time.monotonic() - started:.1f} s)\n")

    try:
        run(job, folder, say)
    except Refused as problem:
        _tell(folder, problem.kind, str(problem))
    except MemoryError:
        _tell(folder, "memory", "")
    except Exception as error:
        logging.getLogger(__name__).exception("import failed")
        _tell(folder, "unreadable", f"{type(error).__name__}: {' '.join(str(error).split())[:400]}")
    sys.stdout.flush()
    sys.stderr.flush()
    # TensorFlow's threads need no orderly end: everything is written.
    os._exit(0)


def run(job: Job, folder: Path, say: Callable[[str], None]) -> None:
    say("starting TensorFlow")
    # Keras is slow to start, and loads scikit-learn for wrappers that nobody needs here.
    for unneeded in ("sklearn",) if job.kind in ("keras", "h5") else ("sklearn", "keras"):
        sys.modules[unneeded] = None  # type: ignore[assignment]
    tf: Any = import_module("tensorflow")
    tf.get_logger().setLevel("ERROR")
    say(f"TensorFlow {tf.__version__} is there; reading {Path(job.path).name}")
    loaded = load(tf, job, folder, say)
    inputs, front, size = loaded.inputs, "", [0, 0]
    if begins_with_images(loaded):
        tensor = image_tensor(tf, loaded)
        say(f"running what stands before {tensor.name} on test images")
        size = run_front(tf, loaded, tensor, folder)
        front = tensor.name
        inputs = [Tensor(tensor.name, "", tensor.dtype, [-1, *size, 3])]
    outputs = [tensor.name for tensor in loaded.outputs]
    part = cut(tf, loaded, inputs, outputs)
    say(f"translating {len(part.graph_def.node)} operators to ONNX")
    model, arrays = translate(part, inputs, outputs)
    names = rename(model, loaded.names)
    say(f"writing {len(model.graph.node)} ONNX operators and their weights")
    written = write_model(model, arrays, folder / MODEL_FILE)
    ends = [[replace(it, name=names.get(it.name, it.name)) for it in side] for side in (loaded.inputs, loaded.outputs)]
    Facts(ends[0], ends[1], front, size, str(tf.__version__)).write(folder)
    say(f"wrote {len(model.graph.node)} ONNX operators, {written / 1e6:.1f} MB")


def _tell(folder: Path, kind: str, message: str) -> None:
    (folder / PROBLEM_FILE).write_text(json.dumps({"kind": kind, "message": message}), encoding="utf-8")


def _guard(memory_bytes: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SIGKILL_ON_PARENT_DEATH, signal.SIGKILL, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit = memory_bytes * ADDRESS_SPACE_FACTOR
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard in (resource.RLIM_INFINITY, -1) or hard > limit:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    threading.Thread(target=_end_with_caller, daemon=True).start()


def _end_with_caller() -> None:
    """The caller holds the other end of stdin open for as long as it lives."""
    while os.read(0, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)
