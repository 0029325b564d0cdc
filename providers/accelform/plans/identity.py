"""Identity of things that do not exist yet: a digest over everything that decides their content."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def fingerprint(**parts: Any) -> str:
    """`sha256:<hex>` over `parts` in canonical JSON: equal parts, equal identity, on every machine.

    >>> fingerprint(model="a", number_format="b") == fingerprint(number_format="b", model="a")
    True
    """
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
