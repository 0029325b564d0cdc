"""The checkout that the tools work on, and the package in it before it is installed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

PROJECT = Path(__file__).resolve().parents[1]


def compiling(project: Path) -> ModuleType:
    """Return the package's module about its compiled parts."""
    runtime = str(project / "runtime")
    if runtime not in sys.path:
        sys.path.insert(0, runtime)
    from accelform_runtime import compiling

    return compiling
