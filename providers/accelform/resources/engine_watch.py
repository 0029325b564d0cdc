"""A provider ends with its engine: a killed engine tells nobody, and its plugins would wait for it for ever.

The engine reads what a plugin prints, over a pipe, as long as it lives. The pipe's other end is therefore gone when the
engine is, whatever shells stand between the two.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import sys
import threading
from typing import Final

PROVIDER_MODULE: Final = "pulumi.dynamic"
_OUTPUT: Final = 1
_started = threading.Lock()


def end_with_engine() -> None:
    """Watches the engine from now on, in a process that the engine started as a plugin; elsewhere does nothing."""
    if is_plugin() and stat.S_ISFIFO(os.fstat(_OUTPUT).st_mode) and _started.acquire(blocking=False):
        threading.Thread(target=_watch, name="engine-watch", daemon=True).start()


def is_plugin() -> bool:
    """Whether this process is Pulumi's host of dynamic providers."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return getattr(spec, "name", "") in (PROVIDER_MODULE, f"{PROVIDER_MODULE}.__main__")


def _watch() -> None:
    waiting = select.poll()
    # Without a wish, what is told is that nobody reads any more.
    waiting.register(_OUTPUT, 0)
    while not any(happened & (select.POLLERR | select.POLLHUP) for _, happened in waiting.poll()):
        pass
    # What is half-made stays where the next create finds it; SIGTERM's own action also ends threads that compute.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.kill(os.getpid(), signal.SIGTERM)
