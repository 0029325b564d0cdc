"""Conditions of Kubernetes objects, by which nodes, pods and Deployments tell how they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def condition(row: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The object's condition of that type, empty where it has none."""
    rows = (row.get("status") or {}).get("conditions") or ()
    return next((found for found in rows if found.get("type") == kind), {})


def holds(row: Mapping[str, Any], kind: str) -> bool:
    """Whether the condition is there and true."""
    return condition(row, kind).get("status") == "True"
