"""Signals that ask a program to end, in its first moments: before the front, which knows what to do with them, runs.

This module imports next to nothing, so that whoever becomes the front can call it first of all.
"""

from __future__ import annotations

import os
import select
import signal
import time
from types import FrameType
from typing import Final

STOPS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_STANDARD_ERROR: Final = 2


def listen(*, quiet_end: bool = True) -> None:
    """From now on the program ends when it is asked to, with exit code 0 and a line that says so: nothing is begun yet.

    Without `quiet_end` the signal ends it as it ends programs of other languages: at once and without a traceback.

    The kernel keeps signals without a handler from a container's first process, which this may be. SIGHUP and
    SIGINT stay ignored where whoever started the program has them ignored, as nohup does.
    """
    for number in STOPS:
        if number == signal.SIGTERM or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop if quiet_end else signal.SIG_DFL)


def _stop(number: int, frame: FrameType | None) -> None:
    # It may have come in the middle of an import: nothing else of the program can be relied on.
    told = time.strftime("%Y-%m-%dT%H:%M:%S.000+00:00", time.gmtime())
    writable = select.poll()
    writable.register(_STANDARD_ERROR, select.POLLOUT)
    if writable.poll(0):
        os.write(_STANDARD_ERROR, f'{{"time": "{told}", "event": "stopped"}}\n'.encode())
    os._exit(0)
