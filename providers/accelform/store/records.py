"""Small JSON objects in the store whose fields are known: read whole, or told to be damaged."""

from __future__ import annotations

from typing import Any

from accelform.store.manifest import corrupt, decode_object, field_problems
from accelform.store.objects import Store


def read_record(store: Store, key: str, fields: dict[str, type], *, what: str) -> dict[str, Any]:
    """The object under `key`, which has just these fields. Raises ObjectMissing, StoreCorrupt, the store's errors."""
    where = store.url_of(key)
    document = decode_object(store.get(key), where=where, what=what)
    if problems := field_problems(document, fields):
        raise corrupt(where, what, "; ".join(problems))
    return document
