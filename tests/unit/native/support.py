"""What the native engine's tests share."""

from __future__ import annotations

import pytest

from accelform_runtime.native import library, unavailable_reason
from accelform_runtime.native.records import Backend

_REASON = unavailable_reason()
needs_library = pytest.mark.skipif(_REASON is not None, reason=str(_REASON))


def backends() -> tuple[Backend, ...]:
    """The sets of instructions that this processor has."""
    if _REASON is not None:
        return (Backend.PORTABLE,)
    best = library.load().accelform_backend()
    return tuple(backend for backend in Backend if Backend.ANY < backend <= best)
