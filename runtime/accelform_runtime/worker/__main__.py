"""python -m accelform_runtime.worker: one model behind the socket that is open as file 3.

Exit codes: 0 the front has left, 2 the model or its settings have to change, 1 the worker failed.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import os
import socket
import sys
from typing import Final, NoReturn

from accelform_runtime.worker.parent import obey_only_the_parent

SOCKET: Final = 3
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt
_KEPT_FREE_BYTES: Final = 32 * 1024 * 1024
_FROM_THE_HEAP_BYTES: Final = 8 * 1024 * 1024


def main() -> int:
    """Loads what the first frame names, answers calls until the front leaves, and returns the exit code."""
    # NumPy only computes certificates; threads of its own would fight with those of the model.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from accelform_runtime.worker.frames import Connection, FrameInvalid
    from accelform_runtime.worker.logs import Log
    from accelform_runtime.worker.priority import gently

    log = Log()
    log.take_over_logging()
    connection = Connection(socket.socket(fileno=SOCKET))
    try:
        frame = connection.receive()
        if frame is None:
            return 0
        with gently(bool(frame.meta.get("beside"))):
            from accelform_runtime.worker.loading import load  # after the first frame: its imports take a while

            calls, code = load(frame, connection, log)
        if calls is None:
            return code
        calls.prepare()
        # What is loaded stays; to look through it again and again would make calls wait.
        gc.collect()
        gc.freeze()
        while (frame := connection.receive()) is not None:
            if answer := calls.answer(frame):
                connection.send(answer)
            if not calls.sound():
                return 1
    except FrameInvalid as error:
        log.write("error", kind=type(error).__name__, message=str(error), exit_code=1)
        return 1
    except OSError:  # the front left while it was being told something
        return 0
    return 0


def keep_freed_memory() -> None:
    """Has the C library keep what a call gave back for the next call, up to a limit.

    Otherwise the kernel clears fresh pages for each call: a tensor of 600 KB took 1.6 ms to read, and now takes 0.1.
    """
    with contextlib.suppress(AttributeError):  # not every C library has it
        library = ctypes.CDLL(None)
        library.mallopt(_TRIM_THRESHOLD, _KEPT_FREE_BYTES)
        library.mallopt(_MMAP_THRESHOLD, _FROM_THE_HEAP_BYTES)


def leave(code: int) -> NoReturn:
    """Ends the process at once: the ordinary way would take down what native threads may still stand on."""
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    faulthandler.enable()
    obey_only_the_parent()
    keep_freed_memory()
    try:
        leave(main())
    except BaseException:
        sys.excepthook(*sys.exc_info())
        leave(1)
