"""Code that a server's own processes run as they start: Python imports `sitecustomize` from PYTHONPATH first of all."""

from __future__ import annotations

import os
from pathlib import Path

IN_WORKER = """
import sys
if "accelform_runtime.worker" in sys.orig_argv:
    import ctypes, pathlib, threading
    from accelform_runtime.device.fpga import Fpga
    run = Fpga.run
    here = pathlib.Path(__file__).parent

    def hooked(self, value, outputs=None):
{body}
        return run(self, value, outputs)

    Fpga.run = hooked
"""


def in_worker(folder: Path, body: str) -> dict[str, str]:
    """An environment in which `body` (lines of Python) runs before each image, with its pixels as `value`.

    `here` is `folder`; ctypes, pathlib and threading are imported.
    """
    folder.mkdir(exist_ok=True)
    lines = "\n".join(f"        {line}" for line in body.splitlines())
    (folder / "sitecustomize.py").write_text(IN_WORKER.format(body=lines))
    return environment(folder)


def environment(folder: Path) -> dict[str, str]:
    """This process's environment, in which modules in `folder` come before those of Python."""
    return {**os.environ, "PYTHONPATH": str(folder)}
