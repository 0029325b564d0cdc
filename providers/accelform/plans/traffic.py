"""How calls are shared out between versions of a service (AksEndpoint's `traffic_percentile`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from accelform.plans import names
from accelform.plans.contract import Problem

_GATEWAY = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?/[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
MOST_VERSIONS = 15
"""A GRPCRoute has 16 rules: one for each version and one for the rest (Gateway API 1.4)."""


def problems(inputs: Mapping[str, Any]) -> list[Problem]:
    """Everything wrong with `gateway` and `traffic_percentiles`, which go together."""
    gateway, shares = inputs.get("gateway"), inputs.get("traffic_percentiles") or {}
    if not gateway and not shares:
        return []
    if not gateway:
        return [
            _problem("traffic_percentiles", "traffic_percentiles needs gateway; without one calls can't be shared out")
        ]
    if not shares:
        return [
            _problem("gateway", "gateway needs traffic_percentiles: the services behind it, and the percent of each")
        ]
    found = []
    if not _GATEWAY.fullmatch(gateway):
        found.append(_problem("gateway", f"gateway must be NAMESPACE/NAME, not {gateway!r}"))
    for version, percent in shares.items():
        if reason := names.SERVICE.problem(version):
            found.append(_problem("traffic_percentiles", f"traffic_percentiles: {reason}"))
        if not 0 <= percent <= 100:
            reason = f"traffic_percentiles: {version} must have 0 to 100 percent, not {percent}"
            found.append(_problem("traffic_percentiles", reason))
    if sum(shares.values()) != 100:
        reason = f"traffic_percentiles must make 100 percent together, not {sum(shares.values())}"
        found.append(_problem("traffic_percentiles", reason))
    if len(shares) > MOST_VERSIONS:
        reason = f"traffic_percentiles can have {MOST_VERSIONS} services at most, not {len(shares)}"
        found.append(_problem("traffic_percentiles", reason))
    if inputs.get("service_name") not in shares:
        own = inputs.get("service_name")
        reason = f"traffic_percentiles must have this stack's service {own!r}, with 0 where it gets no calls"
        found.append(_problem("traffic_percentiles", reason))
    if inputs.get("ssl_enabled"):
        found.append(_problem("ssl_enabled", "with a gateway TLS ends there; turn ssl_enabled off, or drop gateway"))
    return found


def _problem(name: str, reason: str) -> Problem:
    return Problem(property=name, reason=reason)
