"""python -m accelform_runtime.server --model-dir DIR --config service.json [--check]

Checks what it was given, takes the FPGA, and becomes the front (accelform_runtime.front), which serves in this
process's place and starts the worker that holds the model.

Exit codes: 0 stopped when asked to, or nothing is wrong with --check; 2 the configuration, the model, the FPGA or the
port has to change; 1 the runtime failed.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

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
        # The kernel keeps signals without a handler from a container's first process, which this may be: the front,
        # which has one, would then never learn that it should stop.
        signal.signal(signal.SIGTERM, _stop)
        from accelform_runtime.server.start import become_front

        become_front(ServiceConfig.read(given.config), given.config, given.model_dir, log)
    except UserError as error:
        log.write("error", kind=type(error).__name__, message=str(error), exit_code=2)
        return 2
    except Exception as error:
        log.write("error", kind=type(error).__name__, message=str(error), exit_code=1)
        return 1


def _stop(*_: object) -> NoReturn:
    Log().write("stopped")
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
