"""Keys of objects in the store: relative, plain, and the same text in every kind of store."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from accelform.errors import StoreLocationError

MAX_KEY_CHARACTERS = 900
_ENDING = re.compile(r"\.[A-Za-z0-9]{1,8}")
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+=,~-]*")


def check_key(key: str) -> str:
    """Return the key when every ``/``-separated segment is plain.

    Letters, digits and ``._@+=,~-``, starting with a letter, digit or underscore: so no ``..``, no absolute path and
    nothing that one kind of store would encode. Raises StoreLocationError.
    """
    if not _plain(key):
        raise StoreLocationError(
            f"cannot use {key[:200]!r} as a key in the store: each part between slashes must start with a letter, "
            f"digit or underscore and hold only letters, digits and ._@+=,~- (at most {MAX_KEY_CHARACTERS} characters "
            "in all). Rename the object."
        )
    return key


def check_name(name: str, *, what: str) -> str:
    """Return the name when it can be one segment of a key. Raises StoreLocationError naming ``what``."""
    if "/" in name or len(name) > 255 or not _SEGMENT.fullmatch(name):
        raise StoreLocationError(
            f"cannot use {name[:200]!r} as the name of {what}: it must start with a letter, digit or underscore and "
            "hold only letters, digits and ._@+=,~- (at most 255 characters). Choose another name."
        )
    return name


def keys_for(names: Iterable[str]) -> dict[str, str]:
    """File names that people gave -> keys: the name itself where it is plain, else one of ours with the same ending.

    Names may have blanks, brackets, letters of any script, or bytes that are no text; no two share a key.
    """
    found: dict[str, str] = {}
    names = list(names)
    taken = set(names)
    for name in names:
        key, count = name, 0
        while not _plain(key) or (key != name and key in taken):
            count += 1
            ending = PurePosixPath(name).suffix
            key = f"file-{len(found) + count}{ending if _ENDING.fullmatch(ending) else ''}"
        taken.add(key)
        found[name] = key
    return found


def _plain(key: str) -> bool:
    return len(key) <= MAX_KEY_CHARACTERS and all(_SEGMENT.fullmatch(segment) for segment in key.split("/"))
