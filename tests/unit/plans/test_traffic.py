"""Shares of calls between versions of a service."""

from __future__ import annotations

from typing import Any

import pytest

from accelform.plans import traffic

GOOD = {"gateway": "edge/grpc", "service_name": "digits-v1", "traffic_percentiles": {"digits-v1": 90, "digits-v2": 10}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"gateway": "", "traffic_percentiles": {}}, None),
        ({"gateway": ""}, "needs gateway"),
        ({"traffic_percentiles": {}}, "needs traffic_percentiles"),
        ({"gateway": "grpc"}, "must be NAMESPACE/NAME"),
        ({"traffic_percentiles": {"digits-v1": 90}}, "must make 100 percent together, not 90"),
        ({"traffic_percentiles": {"digits-v1": 110, "digits-v2": -10}}, "must have 0 to 100 percent, not 110"),
        ({"traffic_percentiles": {"digits-v3": 100}}, "this stack's service 'digits-v1'"),
        ({"traffic_percentiles": {"digits-v1": 50, "V2": 50}}, "not a valid name"),
        ({"ssl_enabled": True}, "TLS ends there"),
        ({"traffic_percentiles": {f"digits-v{index}": 6 for index in range(1, 18)}}, "15 services at most"),
    ],
)
def test_each_rule_by_its_sentence(changes: dict[str, Any], words: str | None) -> None:
    """Shares are whole, together a hundred, and behind a gateway."""
    reasons = " ".join(problem.reason for problem in traffic.problems({**GOOD, **changes}))

    assert (words in reasons) if words else not reasons
