"""What a stack claims in a real cluster: nobody else's objects are taken, and what a killed run left is given back."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.live_cluster import LiveCluster

from accelform.errors import NotOwner
from accelform.plans.cluster_names import OWNER_ANNOTATION
from accelform.resources.cluster_claim import ClusterClaimProvider
from accelform.targets.kubernetes.client import Cluster
from accelform.targets.kubernetes.kinds import CONFIG_MAPS, NAMESPACES

STACK = "accelform/holdings"
NUMBERS = itertools.count()
"""A namespace that goes takes a while, and nothing of its name can be made meanwhile."""


@pytest.fixture
def space() -> str:
    """The name of a namespace that is not there."""
    return f"accelform-holdings-{os.getpid()}-{next(NUMBERS)}"


@pytest.fixture
def api(cluster: LiveCluster, space: str) -> Iterator[Cluster]:
    with Cluster.connect(str(cluster.kubeconfig), cluster.context) as api:
        yield api
        api.delete(NAMESPACES, space)


@pytest.fixture
def claim(cluster: LiveCluster, space: str) -> dict[str, Any]:
    given = {
        "kubeconfig": str(cluster.kubeconfig),
        "kube_context": cluster.context,
        "pool": "holdings",
        "pool_owner": f"{STACK}/target",
        "owner": f"{STACK}/cluster-claim",
        "objects": [f"v1 Namespace {space}", f"v1 ConfigMap {space}/digits-config"],
    }
    answer = ClusterClaimProvider().check({}, given)
    assert answer.failures == []
    return answer.inputs


@pytest.mark.parametrize("owner", ["accelform/other/webservice", ""], ids=["another stack's", "nobody's"])
def test_a_name_that_is_taken(api: Cluster, claim: dict[str, Any], space: str, owner: str) -> None:
    """A namespace of that name is told before anything is made, with whose it is, and stays as it was."""
    namespace = {"metadata": {"name": space, "annotations": {OWNER_ANNOTATION: owner} if owner else {}}}
    made = api.create(NAMESPACES, namespace)

    with pytest.raises(NotOwner, match=rf"Namespace '{space}' \(of {owner or 'nobody known'}\)"):
        ClusterClaimProvider().create(claim)

    found = api.get(NAMESPACES, space)
    assert found is not None
    assert found["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    api.delete(NAMESPACES, space)


def test_what_a_killed_run_left(
    api: Cluster, claim: dict[str, Any], space: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Own objects are taken over by the next run; those that no state knows of go with the claim, and are named."""
    own = {OWNER_ANNOTATION: f"{STACK}/webservice"}
    provider = ClusterClaimProvider()
    made = provider.create(claim)
    api.create(NAMESPACES, {"metadata": {"name": f"{space}-kept"}})
    api.create(NAMESPACES, {"metadata": {"name": space, "annotations": own}})
    api.create(CONFIG_MAPS, {"metadata": {"name": "digits-config", "annotations": own}}, namespace=space)

    again = provider.update(made.id, made.outs, claim)
    provider.delete(made.id, {**claim, **again.outs})

    said = capsys.readouterr().out
    assert f"removed ConfigMap 'digits-config' in namespace '{space}'" in said
    assert f"removed Namespace '{space}'" in said
    left = api.get(NAMESPACES, space)
    assert left is None or left["metadata"].get("deletionTimestamp")
    assert api.get(NAMESPACES, f"{space}-kept")
    api.delete(NAMESPACES, f"{space}-kept")
