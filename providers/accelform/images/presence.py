"""Whether an image that a deployment needs is there: asked in passing, by a preview too, before anything is changed."""

from __future__ import annotations

import threading
from typing import Final

from accelform.errors import AccelformError
from accelform.registry import Repository
from accelform.registry.connection import connected
from accelform.registry.reference import parse_pinned

_SILENT: Final[set[str]] = set()
"""Registries that did not answer this process: with several images in one of them it is waited for once."""
_ASKING = threading.Lock()


def missing(image: str, *, what: str, ca_file: str = "", advice: str = "") -> str | None:
    """Why `image`, by digest, cannot be used as `what`: its registry says that it has none of that name.

    None where the image is there, and where the registry cannot tell: it is not reached from here or wants a password
    that this machine has not, and whoever deploys will find out.
    """
    reference = parse_pinned(image, what=what)
    with _ASKING:
        if reference.registry in _SILENT:
            return None
        try:
            with connected(reference.registry, ca_file=ca_file, brief=True) as connection:
                repository = Repository(connection=connection, name=reference.repository)
                is_there = repository.has_manifest(reference.digest)
        except AccelformError:
            _SILENT.add(reference.registry)
            return None
    if is_there:
        return None
    return (
        f"{what} {image} is not there: {repository.address} has no {reference.digest}; "
        f"{advice or f'push it, or correct {what}'}"
    )
