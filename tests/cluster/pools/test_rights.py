"""What the kubeconfig's user may do: missing rights come in one message, and few rights are enough."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.pool_target import Target
from tests.support.simulated_machines import SimulatedMachines

from accelform.errors import ClusterDenied
from accelform.targets.kubernetes.kinds import Kind

# Alone: quotas and free machines span the cluster.
pytestmark = pytest.mark.timeout(1800)

ACCOUNTS = Kind(plural="serviceaccounts")
ROLES = Kind(plural="clusterroles", group="rbac.authorization.k8s.io", namespaced=False)
BINDINGS = Kind(plural="clusterrolebindings", group="rbac.authorization.k8s.io", namespaced=False)
ENOUGH: dict[str, list[str]] = {"nodes": ["get", "list", "patch"], "pods": ["list"], "namespaces": ["get"]}


class Account:
    """A service account whose rights are those of one cluster role."""

    def __init__(self, machines: SimulatedMachines, folder: Path) -> None:
        self._machines = machines
        self.name = machines.id
        place = {"namespace": machines.id}
        machines.cluster.create(ACCOUNTS, {"metadata": {"name": self.name}}, **place)
        review = {"spec": {"expirationSeconds": 3600}}
        answer = machines.cluster.create(ACCOUNTS, review, name=self.name, subresource="token", **place)
        config = yaml.safe_load(Path(machines.kubeconfig).read_text(encoding="utf-8"))
        config["users"] = [
            {"name": user["name"], "user": {"token": answer["status"]["token"]}} for user in config["users"]
        ]
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(config), encoding="utf-8")
        subject = {"kind": "ServiceAccount", "name": self.name, **place}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": self.name}
        machines.cluster.create(ROLES, {"metadata": {"name": self.name}, "rules": []})
        machines.cluster.create(BINDINGS, {"metadata": {"name": self.name}, "roleRef": role, "subjects": [subject]})

    def grant(self, rights: dict[str, list[str]]) -> None:
        """Gives these rights, and no others."""
        rules = [{"apiGroups": [""], "resources": [name], "verbs": verbs} for name, verbs in rights.items()]
        self._machines.cluster.patch(ROLES, self.name, {"rules": rules})

    def remove(self) -> None:
        self._machines.cluster.delete(BINDINGS, self.name)
        self._machines.cluster.delete(ROLES, self.name)


@pytest.fixture
def account(machines: SimulatedMachines, tmp_path: Path) -> Iterator[Account]:
    account = Account(machines, tmp_path)
    yield account
    account.remove()


@pytest.fixture
def target(machines: SimulatedMachines, account: Account) -> Target:
    return Target(machines, f"p{machines.id[-8:]}", kubeconfig=str(account.kubeconfig))


def test_every_missing_right_is_listed(machines: SimulatedMachines, account: Account, target: Target) -> None:
    """A user without rights is told all of them at once, by verb and resource, before anything is changed."""
    machines.add(1)
    before = machines.dump()

    with pytest.raises(ClusterDenied) as refused:
        target.up()

    message = str(refused.value)
    for right in ("list nodes", "get nodes", "patch nodes", "list pods", "get namespaces"):
        assert f"- {right} " in message
    assert "list pods in all namespaces" in message
    assert machines.dump() == before


def test_one_missing_right(machines: SimulatedMachines, account: Account, target: Target) -> None:
    """Only what is missing is listed."""
    machines.add(1)
    account.grant({**ENOUGH, "nodes": ["get", "list"]})

    with pytest.raises(ClusterDenied, match=r"\n  - patch nodes at cluster scope\nGrant these"):
        target.up()


def test_these_rights_are_enough(machines: SimulatedMachines, account: Account, target: Target) -> None:
    """A user with exactly the documented rights can claim, refresh, change and release a pool."""
    machines.add(2)
    before = machines.dump()
    account.grant(ENOUGH)

    target.up()
    assert target.refresh() is not None
    target.up(agent_count=2)
    target.destroy()

    assert machines.dump() == before


def test_attaching_needs_to_look_only(machines: SimulatedMachines, account: Account, target: Target) -> None:
    """An attached pool is used with the right to list nodes, and a release without rights says what it lacks."""
    machines.add(1)
    account.grant({"nodes": ["list"], "namespaces": ["get"]})
    changes: dict[str, Any] = {"is_attached": True, "device_plugin": "external"}

    target.up(**changes)
    assert target.refresh() is not None
    target.destroy()
