"""How Ctrl-C ends what a provider does: at once, with nothing half-made visible.

The engine tells its providers of the first Ctrl-C with the RPC Cancel, and then waits until what runs has ended; the
SDK's process for dynamic resources answers that RPC and does nothing. Here it ends the threads that work, and their
child processes. A create may end at any point: what it leaves is invisible, and the next one takes it over or removes
it, as after a kill.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from accelform.errors import UserError

Answer = TypeVar("Answer")

GRACE_SECONDS = 1.0
"""How long work may take to notice; then its caller is answered, and it ends with the process."""
_SERVICER = "DynamicResourceProviderServicer"


class Cancelled(UserError):
    """Whoever runs `pulumi` cancelled."""


class _End(BaseException):
    """Raised in a thread that works; no `except Exception` takes it for a failure to be mended."""


_cancelled = threading.Event()
_threads: set[int] = set()
_folders: set[Path] = set()
_guard = threading.Lock()


def listen() -> bool:
    """Makes this process heed the engine's Cancel; whether it is one that can.

    The server has bound the method already, so it is the function's code that is replaced. In another process, or with
    an SDK that is built otherwise, everything else works as without.
    """
    servicer = getattr(sys.modules.get("__main__"), _SERVICER, None)
    method = getattr(servicer, "Cancel", None)
    code = getattr(method, "__code__", None)
    if method is None or code is None or code.co_freevars:
        return False
    method.__code__ = _on_cancel.__code__
    return True


def _on_cancel(self: Any, request: Any, context: Any) -> Any:
    from google.protobuf import empty_pb2

    from accelform.resources import cancelling

    cancelling.cancel()
    return empty_pb2.Empty()


def cancel() -> None:
    """Ends what runs, and what is asked for from now on."""
    _cancelled.set()
    with _guard:
        for thread in _threads:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(_End))
    _end_children()


def run(work: Callable[[], Answer], *, what: str) -> Answer:
    """`work()` in a thread of its own, left when the engine cancels. Raises Cancelled, or what `work` raises."""
    outcome: list[Answer] = []
    failure: list[BaseException] = []
    done = threading.Event()
    context = contextvars.copy_context()

    def target() -> None:
        me = threading.get_ident()
        try:
            with _guard:
                _threads.add(me)
            if not _cancelled.is_set():
                outcome.append(context.run(work))
        except BaseException as error:
            failure.append(error)
        finally:
            with _guard:
                _threads.discard(me)
            done.set()

    threading.Thread(target=target, name=what, daemon=True).start()
    while not done.wait(0.1):
        if _cancelled.is_set():
            done.wait(GRACE_SECONDS)
            break
    if outcome:
        return outcome[0]
    if _cancelled.is_set():
        _end_children()  # one may have been started meanwhile
    if failure and not isinstance(failure[0], _End) and not _cancelled.is_set():
        raise failure[0]
    _remove_folders()
    raise Cancelled(f"{what} was cancelled; nothing of it is visible, and the next `pulumi up` does it again")


@contextlib.contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A folder for work in progress, gone afterwards, also where the work is left behind by `cancel`."""
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with _guard:
            _folders.add(folder)
        try:
            yield folder
        finally:
            with _guard:
                _folders.discard(folder)


def _remove_folders() -> None:
    with _guard:
        left = list(_folders)
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)


def _end_children() -> None:
    for child in _children():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(child, signal.SIGKILL)


def _children() -> list[int]:
    """Ids of this process's children and theirs; only where there is /proc."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name, in brackets, may hold anything; the parent is the second word after it.
            words = entry.read_text(errors="replace").rpartition(")")[2].split()
            parents.setdefault(int(words[1]), []).append(int(entry.parent.name))
    found, next_ones = [], [os.getpid()]
    while next_ones:
        next_ones = [child for parent in next_ones for child in parents.get(parent, [])]
        found += next_ones
    return found
