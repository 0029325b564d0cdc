"""From a checked configuration to the running front: the same process, with the FPGA's lock in its hands."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import NoReturn

from accelform_runtime import __version__
from accelform_runtime.device.bundle import DIGEST_VARIABLE, Bundle
from accelform_runtime.device.lock import DeviceLock, Resident
from accelform_runtime.errors import ConfigInvalid
from accelform_runtime.front.build import PROGRAM
from accelform_runtime.server import files
from accelform_runtime.server.config import ServiceConfig
from accelform_runtime.worker.logs import Log


def become_front(config: ServiceConfig, config_path: Path, model_folder: Path, log: Log) -> NoReturn:
    """Takes the FPGA and continues as the front's program; returns only by an error.

    Raises a UserError when a key or certificate file, the bundle or the FPGA does not allow it.
    """
    if problem := files.problem(config):
        raise problem
    bundle_sha256 = os.environ.get(DIGEST_VARIABLE, "")
    bundle = Bundle.read(model_folder, sha256=bundle_sha256)
    resident = Resident(service=config.name, image=config.image, pid=os.getpid())
    lock = DeviceLock(Path(config.device_lock_file), resident)
    try:
        log.write("starting", service=config.name, model=bundle.name, version=bundle.version, pid=os.getpid())
        settings = {
            **dataclasses.asdict(config),
            "model_dir": str(model_folder),
            "model_name": bundle.name,
            "model_version": bundle.version,
            "bundle_sha256": bundle_sha256,
            "worker_command": worker_command(),
            "runtime_version": __version__,
            "log_lines_lost": log.lines_lost,
        }
        arguments = [
            *("--model-dir", str(model_folder), "--config", str(config_path)),
            *("--settings-fd", str(_pipe(json.dumps(settings).encode()))),
            *("--lock-fd", str(lock.inheritable())),
        ]
        os.execv(PROGRAM, [PROGRAM.name, *arguments])
    finally:
        lock.release()


def worker_command() -> list[str]:
    """This interpreter with its own options, running the worker instead."""
    options = sys.orig_argv[1 : sys.orig_argv.index("-m")] if "-m" in sys.orig_argv else []
    return [sys.executable, *options, "-m", "accelform_runtime.worker"]


def _pipe(content: bytes) -> int:
    """A descriptor, kept over exec, from which `content` can be read; it fits a pipe's buffer."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    if os.write(writing, content) != len(content):
        raise ConfigInvalid("the service configuration is longer than a pipe holds; shorten its values")
    os.close(writing)
    os.set_inheritable(reading, True)
    return reading
