"""What `python -m accelform_runtime.server` does: it becomes the front, or checks what that would need."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from accelform_runtime.errors import UserError
from accelform_runtime.server.config import ServiceConfig
from accelform_runtime.worker.logs import Log


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the service to its end, or checks it, and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m accelform_runtime.server", description="serve one model on an FPGA"
    )
    parser.add_argument("--model-dir", type=Path, required=True, help="folder with bundle.json and its files")
    parser.add_argument("--config", type=Path, required=True, help="service.json")
    parser.add_argument("--check", action="store_true", help="load the model and say what is wrong, without serving")
    given = parser.parse_args(arguments)
    log = Log()
    try:
        if given.check:
            from accelform_runtime.server.check import check

            return check(given.config, given.model_dir)
        from accelform_runtime.server.start import become_front

        become_front(ServiceConfig.read(given.config), given.config, given.model_dir, log)
    except UserError as error:
        log.write("error", kind=type(error).__name__, message=str(error), exit_code=2)
        return 2
    except Exception as error:
        log.write("error", kind=type(error).__name__, message=str(error), exit_code=1)
        return 1
