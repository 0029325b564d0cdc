"""What is started in the background can be interrupted again, and so can all that it starts."""

from __future__ import annotations

import signal
import subprocess
import sys

IGNORING = "import os, signal, sys;signal.signal(signal.SIGINT, signal.SIG_IGN);os.execv(sys.executable, sys.argv[1:])"
RESTORING = "from tools import interrupts; interrupts.restore(); "
STARTING = "import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', sys.argv[1]]).returncode)"
INTERRUPTED = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"


def ends(before: str) -> int:
    """How a program ends that interrupts itself, started by one that SIGINT was ignored for and that ran `before`."""
    python = [sys.executable, "-c"]
    return subprocess.run(
        [*python, IGNORING, *python, before + STARTING, INTERRUPTED], stderr=subprocess.DEVNULL, timeout=30
    ).returncode


def test_programs_that_are_started_take_interrupts() -> None:
    """Without it they ignore them, as pulumi's plugins would."""
    assert ends("") == 0
    assert ends(RESTORING) != 0


def test_a_handler_stays() -> None:
    """Where interrupts are taken, nothing changes."""
    from tools import interrupts

    before = signal.getsignal(signal.SIGINT)
    interrupts.restore()

    assert signal.getsignal(signal.SIGINT) is before
