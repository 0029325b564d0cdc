"""Names that people write: the known one that a wrong one was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

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


def refuse_unknown(where: str, given: Iterable[str], known: Collection[str]) -> None:
    """Raises TypeError, as Python does for an argument that nobody takes, with what was probably meant."""
    strange = sorted(set(given) - set(known))
    if strange:
        raise TypeError(f"{where}: {'; '.join(unknown(name, known, what='setting').rstrip('.') for name in strange)}")


def unknown_settings(keys: Iterable[str], *, project: str, known: Collection[str]) -> list[str]:
    """One sentence for each key (`project:name`) that a stack sets and nobody reads, also below a misspelt project."""
    found = []
    for key in sorted(set(keys)):
        scope, _, name = key.partition(":")
        if scope == project:
            if name not in known:
                found.append(f"{unknown(name, known, what='setting')} Remove it: `pulumi config rm {key}`")
        elif nearest(scope, [project]):
            found.append(f"{key} is read by nobody; the settings of this project begin with {project}:")
    return found
