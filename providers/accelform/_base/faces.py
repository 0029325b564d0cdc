"""A room's face: the names that others enter it by, without what lies behind them until one is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def late(room: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of the package `room`: `homes` are names -> the module of the room that has each.

    The Pulumi plugin loads every resource at its start, and shall not wait for NumPy, Kubernetes' client and the like.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(import_module(f"{room}.{homes[name]}"), name)

    return find
