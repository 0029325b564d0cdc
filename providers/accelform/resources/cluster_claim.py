"""ClusterClaim: what a stack is about to take in a cluster, written down before anything of it is made.

It makes nothing. Before a stack's objects are made, and changed by force where somebody edited them, it sees to it that
none of their names is somebody else's. After all of them are gone it gives back what a killed run took and no state
knows of: nodes that were claimed in that moment, and objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from accelform.plans.cluster_names import FPGA_RESOURCE
from accelform.plans.cluster_objects import Named
from accelform.plans.contract import Planned, Property, ResourceContract
from accelform.plans.pools import PROVISIONING_TIMEOUT_SECONDS
from accelform.resources import common
from accelform.resources.base import AccelProvider, AccelResource, Values, owner_of

if TYPE_CHECKING:
    from pulumi import Input, Output, ResourceOptions

    from accelform.targets.kubernetes import Cluster

CONTRACT = ResourceContract(
    name="ClusterClaim",
    summary="What a stack takes in a cluster by name: nobody else's before it is made, and given back at the end.",
    delete_before_replace=False,
    properties=(
        Property(name="kubeconfig", kind="string", role="update", default="", description="as of the compute target"),
        Property(
            name="kube_context", kind="string", role="update", required=True, description="as of the compute target"
        ),
        Property(
            name="pool", kind="string", role="update", required=True, description="name of the stack's compute target"
        ),
        Property(
            name="pool_owner",
            kind="string",
            role="update",
            required=True,
            description="owner that its nodes are marked with",
        ),
        Property(
            name="resource_name",
            kind="string",
            role="update",
            default=FPGA_RESOURCE,
            description="key of the pool's taint",
        ),
        Property(
            name="objects",
            kind="list",
            role="update",
            required=True,
            description="the stack's objects, each as `<apiVersion> <kind> [<namespace>/]<name>`",
        ),
        Property(
            name="provisioning_timeout_seconds",
            kind="integer",
            role="update",
            default=PROVISIONING_TIMEOUT_SECONDS,
            unit="s",
            description="longest wait for pods to leave nodes that are given back",
        ),
        common.OWNER,
        Property(name="cluster_id", kind="string", role="output", description="uid of the cluster"),
    ),
)


class ClusterClaimProvider(AccelProvider):
    """Looks before others make, and tidies up after all are gone."""

    contract = CONTRACT

    def modules(self, values: Mapping[str, Any], *, offline: bool) -> tuple[str, ...]:
        return () if offline else common.CLUSTER_MODULES

    def plan(self, inputs: Values, *, stored: Mapping[str, Any]) -> Planned:
        return Planned(computed={})

    def make(self, inputs: Values) -> tuple[str, Values]:
        return inputs["pool"], self.change(inputs["pool"], {}, inputs)

    def look(self, id_: str, values: Values) -> Values | None:
        return values

    def change(self, id_: str, stored: Values, inputs: Values) -> Values:
        from accelform.resources import compute_target_kubernetes
        from accelform.targets.kubernetes import require_own

        with compute_target_kubernetes.connect(inputs) as cluster:
            cluster_id = cluster.uid()
            known = stored.get("objects") or () if stored.get("cluster_id") == cluster_id else ()
            fresh = [Named.parse(text) for text in inputs["objects"] if text not in known]
            require_own(cluster, fresh, stack=_stack(inputs))
        return {"cluster_id": cluster_id}

    def remove(self, id_: str, stored: Values) -> None:
        from accelform.resources import compute_target_kubernetes
        from accelform.targets.kubernetes import NodePool, PoolSpec, remove_left

        spec = PoolSpec(
            owner=stored["pool_owner"],
            name=stored["pool"],
            resource_name=stored["resource_name"],
            timeout_seconds=stored["provisioning_timeout_seconds"],
            # What a release does not look at.
            vm_size="",
            location="",
            agent_count=0,
            node_vcpus=0,
            quota_vcpus=0,
        )
        objects = [Named.parse(text) for text in stored["objects"]]

        def give_back(cluster: Cluster) -> None:
            remove_left(cluster, objects, stack=_stack(stored), progress=common.note)
            NodePool(cluster, spec, common.note).release()

        compute_target_kubernetes.leave(stored, give_back, what=f"what {_stack(stored)} may have left")


def _stack(values: Mapping[str, Any]) -> str:
    """`<project>/<stack>` of the owner."""
    return str(values["owner"]).rpartition("/")[0]


class ClusterClaim(AccelResource, module="accel", name="ClusterClaim"):
    """What a stack takes in a cluster; everything that it makes there has to depend on it."""

    contract = CONTRACT

    cluster_id: Output[str]

    def __init__(
        self,
        resource_name_: str,
        /,
        *,
        kube_context: Input[str],
        pool: Input[str],
        pool_resource: str,
        objects: Input[Sequence[str]],
        kubeconfig: Input[str] | None = None,
        resource_name: Input[str] | None = None,
        provisioning_timeout_seconds: Input[int] | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        """`pool_resource` is the logical name of the ComputeTarget that claims the nodes."""
        inputs = {key: value for key, value in locals().items() if key in CONTRACT.names(computed=False)}
        inputs["pool_owner"] = owner_of(pool_resource)
        super().__init__(ClusterClaimProvider(), resource_name_, inputs, opts)
