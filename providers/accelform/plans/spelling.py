"""Names that people write: the known one that a wrong one was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Collection

_CLOSE = 0.6


def nearest(name: str, known: Collection[str]) -> str:
    """The known name that is written most like `name`; empty where none is like it.

    >>> nearest("enigne", ("engine", "port"))
    'engine'
    """
    found = difflib.get_close_matches(name.lower().replace(".", "_").replace("-", "_"), known, n=1, cutoff=_CLOSE)
    return found[0] if found else ""


def unknown(name: str, known: Collection[str], *, what: str) -> str:
    """One sentence that there is no `what` of this name, with the one that was probably meant."""
    meant = nearest(name, known)
    return f"there is no {what} {name!r}" + (f"; did you mean {meant!r}?" if meant else ".")
