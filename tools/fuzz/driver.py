"""Runs a target under Atheris, and holds each input to its share of memory."""

from __future__ import annotations

import contextlib
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

SEEDS = Path(__file__).parents[2] / "tests" / "unit" / "worker" / "seeds"
MOST_MEBIBYTES = 64
"""How much one input may make the process grow."""

Check = Callable[[bytes], None]


def instrumented(name: str) -> contextlib.AbstractContextManager[Any]:
    """Within it the runtime's modules are imported so that Atheris sees their branches, if `name` is being run."""
    if name != "__main__":
        return contextlib.nullcontext()
    import atheris

    instrumenting: contextlib.AbstractContextManager[Any] = atheris.instrument_imports(include=["accelform_runtime"])
    return instrumenting


def held_to_memory(check: Check) -> Check:
    """`check`, failing where an input makes the process larger than it ever was by more than MOST_MEBIBYTES."""

    def held(data: bytes) -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        check(data)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        assert grown < MOST_MEBIBYTES, f"{len(data)} bytes of input made the process grow by {grown:.0f} MiB"

    return held


def fuzz(check: Check, name: str) -> None:
    """Lets libFuzzer search from the seeds of `name`; its options and folders of inputs are the arguments."""
    import atheris

    with tempfile.TemporaryDirectory(prefix="accelform-fuzz-") as folder:
        arguments = list(sys.argv)
        if all(argument.startswith("-") for argument in arguments[1:]):
            # What libFuzzer finds worth keeping goes to the first folder: not among the seeds.
            arguments += [folder, str(SEEDS / name)]
        atheris.Setup(arguments, held_to_memory(check))
        atheris.Fuzz()
