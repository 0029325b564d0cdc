"""Processes that end with the one that started them, and for no other reason."""

from __future__ import annotations

import ctypes
import signal
import sys
from typing import Final

_DIE_WITH_PARENT: Final = 1  # PR_SET_PDEATHSIG


def obey_only_the_parent() -> None:
    """Makes this process end when its parent's thread does, and not for signals that are meant for a whole group."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
