"""An error as the engine shows it: its own sentence.

gRPC puts "Exception calling application: " before the text of whatever a servicer raises, unless the call already has
details of its own. The SDK's servicer hands the call's context to no provider, so it is looked for in the frames below;
where it is not found, or is another one some day, the error is shown as gRPC shows it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

import grpc

from accelform.errors import AccelformError
from accelform_runtime.errors import AccelRuntimeError

Verb = TypeVar("Verb", bound=Callable[..., Any])

_CONTEXT = "context"
"""What the SDK's servicer calls it in each of its methods (pulumi.dynamic.__main__)."""


def told_plainly(verb: Verb) -> Verb:
    """Lets `verb`, a method that the engine's call leads to, fail with its own words."""

    @functools.wraps(verb)
    def told(*arguments: Any) -> Any:
        try:
            return verb(*arguments)
        except Exception as error:
            context = _context(sys._getframe())
            if context is not None:
                context.set_details(words(error))
            raise

    return told  # type: ignore[return-value]


def words(error: Exception) -> str:
    """What people read: an error of ours is a sentence, and any other also needs its kind."""
    return str(error) if isinstance(error, AccelformError | AccelRuntimeError) else f"{type(error).__name__}: {error}"


def _context(frame: FrameType | None) -> grpc.ServicerContext | None:
    while frame is not None:
        found = frame.f_locals.get(_CONTEXT) if frame.f_code.co_name[:1].isupper() else None
        if isinstance(found, grpc.ServicerContext):
            return found
        frame = frame.f_back
    return None
