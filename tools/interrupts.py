"""Interrupts for what is started in the background."""

from __future__ import annotations

import signal


def restore() -> None:
    """Take SIGINT again where it is ignored, as a shell without job control has it for what it starts with `&`.

    Programs hand that on to all that they start, and pulumi ends its plugins by SIGINT: it then waits five seconds at
    the end of each command before it kills them.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
