"""Registries: an OCI distribution client (distribution-spec 1.1) that sends a blob only where it is not there yet.

On requests; docs/decisions/0001-registry-client.md has the libraries that were tried and why none took its place.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelform.registry.blobs import Blob
    from accelform.registry.connection import Connection
    from accelform.registry.reference import Reference, parse
    from accelform.registry.repository import Manifest, Repository

__all__ = ["Blob", "Connection", "Manifest", "Reference", "Repository", "parse"]

_HOMES = {
    "Blob": "blobs",
    "Connection": "connection",
    "Manifest": "repository",
    "Reference": "reference",
    "Repository": "repository",
    "parse": "reference",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for: requests takes a while, and an image in a store is made of blobs only."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
