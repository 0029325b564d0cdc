"""What a claim writes on a node, and that taking it off leaves the node as it was."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.support.machines import OWNER, node, spec

from accelform.plans.cluster_names import FPGA_RESOURCE, LOCATION_LABEL, OWNER_ANNOTATION, POOL_LABEL
from accelform.targets.kubernetes import marks
from accelform.targets.kubernetes.nodes import Machine

NAMES = st.text(alphabet="abcdefgh-", min_size=1, max_size=6)
TAINTS = st.lists(
    st.fixed_dictionaries(
        {"key": NAMES, "effect": st.sampled_from(["NoSchedule", "NoExecute"])}, optional={"value": NAMES}
    ),
    max_size=3,
)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386 as the API server applies it; empty maps and lists vanish, as Kubernetes leaves them out."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return {key: value for key, value in result.items() if value not in ({}, [])}


def cleaned(value: Any) -> Any:
    return merged({}, value)


@given(labels=st.dictionaries(NAMES, NAMES), annotations=st.dictionaries(NAMES, NAMES), taints=TAINTS)
def test_release_undoes_a_claim(labels: dict[str, str], annotations: dict[str, str], taints: list[Any]) -> None:
    """Claim and release in a row leave labels, annotations and taints of others as they were."""
    before = node("node-1", labels=labels, annotations=annotations, taints=taints)
    pool = spec()

    claimed = merged(before, marks.claim(Machine.of(before, FPGA_RESOURCE), pool))
    seen = Machine.of(claimed, FPGA_RESOURCE)
    closed = merged(claimed, marks.close(seen))
    after = merged(closed, marks.release(Machine.of(closed, FPGA_RESOURCE), pool))

    assert marks.is_complete(seen, pool)
    assert not marks.is_complete(Machine.of(closed, FPGA_RESOURCE), pool)
    assert after == cleaned(copy.deepcopy(before))


def test_what_a_claim_writes() -> None:
    """Pool and region as labels, the owner as an annotation, and a taint that keeps other pods off."""
    patch = marks.claim(Machine.of(node("node-1", version="42"), FPGA_RESOURCE), spec(name="vision"))

    assert patch == {
        "metadata": {
            "resourceVersion": "42",
            "labels": {POOL_LABEL: "vision", LOCATION_LABEL: "eastus"},
            "annotations": {OWNER_ANNOTATION: OWNER},
        },
        "spec": {"taints": [{"key": FPGA_RESOURCE, "value": "vision", "effect": "NoSchedule"}]},
    }


def test_a_second_claim_changes_nothing() -> None:
    """A claim of a node that bears all marks already writes the same again, and no taint twice."""
    pool = spec()
    once = merged(node("node-1"), marks.claim(Machine.of(node("node-1"), FPGA_RESOURCE), pool))

    assert merged(once, marks.claim(Machine.of(once, FPGA_RESOURCE), pool)) == once


def test_closing_keeps_the_owner() -> None:
    """A node that was closed but not released is still found by its owner, so a killed release is finished later."""
    claimed = merged(node("node-1"), marks.claim(Machine.of(node("node-1"), FPGA_RESOURCE), spec()))
    closed = Machine.of(merged(claimed, marks.close(Machine.of(claimed, FPGA_RESOURCE))), FPGA_RESOURCE)

    assert (closed.owner, closed.pool) == (OWNER, "")
    assert closed.taints == (spec().taint,)
