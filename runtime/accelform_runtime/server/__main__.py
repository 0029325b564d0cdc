"""python -m accelform_runtime.server --model-dir DIR --config service.json

Exit codes: 0 stopped when asked to, 2 the configuration, the model, the FPGA or the port has to change, 1 the
runtime failed.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from accelform_runtime.errors import UserError
from accelform_runtime.server.config import ServiceConfig
from accelform_runtime.server.queue import WORKER
from accelform_runtime.worker.logs import Log


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the service to its end and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m accelform_runtime.server", description="serve one model on an FPGA"
    )
    parser.add_argument("--model-dir", type=Path, required=True, help="folder with bundle.json and model.onnx")
    parser.add_argument("--config", type=Path, required=True, help="service.json")
    given = parser.parse_args(arguments)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core writes lines of its own; failures reach us as errors
    # NumPy only computes certificates; threads of its own would fight with those of the model.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    log = Log()
    log.take_over_logging()
    try:
        config = ServiceConfig.read(given.config)
        from accelform_runtime.server.service import serve  # after the configuration: its imports take a second

        serve(config, given.model_dir, log)
    except UserError as error:
        log.write("error", kind=type(error).__name__, message=str(error), exit_code=2)
        return 2
    except Exception as error:
        log.write("error", kind=type(error).__name__, message=str(error), exit_code=1)
        return 1
    return 0


def leave(code: int) -> NoReturn:
    """Ends the process, also where a call that was given up still computes: native code cannot be interrupted.

    Leaving in the ordinary way would take down what its thread stands on, and the process would abort.
    """
    if any(thread.name == WORKER for thread in threading.enumerate()):
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    leave(main())
