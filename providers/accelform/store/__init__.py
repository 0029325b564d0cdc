"""The workspace store: objects, versions that are never given twice, and the workspace that stacks share."""

from __future__ import annotations

from accelform.store.objects import Store, StoredObject

__all__ = ["Store", "StoredObject", "catalog", "versions", "workspace"]
