"""What a compute target accepts and gives, as data; named as Azure ML's AksCompute names it, where it has it."""

from __future__ import annotations

from accelform.plans.cluster_names import FPGA_RESOURCE
from accelform.plans.contract import Property, ResourceContract
from accelform.plans.pools import PROVISIONING_TIMEOUT_SECONDS
from accelform.resources import common

_MACHINES = (
    Property(
        name="kind",
        kind="string",
        role="replace",
        required=True,
        description="`edge`: a box on this machine; `kubernetes`: a pool of machines in a cluster",
    ),
    Property(name="name", kind="string", role="replace", required=True, description="name of the target"),
    Property(
        name="vm_size",
        kind="string",
        role="replace",
        default="Standard_PB6s",
        description="machine size; one FPGA each",
    ),
    Property(name="agent_count", kind="integer", role="update", default=1, description="machines, and so FPGAs"),
    Property(name="location", kind="string", role="replace", required=True, description="region with FPGA machines"),
)

_EDGE = (
    Property(
        name="edge_root", kind="string", role="replace", description="folder of the edge boxes, relative to Pulumi.yaml"
    ),
)

_CLUSTER = (
    Property(
        name="kubeconfig",
        kind="string",
        role="update",
        description="kubernetes: kubeconfig file, relative to Pulumi.yaml; else $KUBECONFIG or `~/.kube/config`",
    ),
    Property(
        name="kube_context",
        kind="string",
        role="replace",
        description="kubernetes, required: the kubeconfig's context, and so the cluster",
    ),
    Property(
        name="resource_name",
        kind="string",
        role="replace",
        description=f"kubernetes: extended resource of the FPGAs and key of the pool's taint; else `{FPGA_RESOURCE}`",
    ),
    Property(
        name="device_plugin",
        kind="string",
        role="update",
        description="kubernetes: who offers the FPGAs, `emulated` (this library's device plugin, the default) or "
        "`external` (one that is there)",
    ),
    Property(
        name="device_plugin_digest",
        kind="string",
        role="update",
        description="kubernetes: identity of the stack's own device plugin: another one is waited for",
    ),
    Property(
        name="node_selector",
        kind="map",
        role="replace",
        description="kubernetes: labels that a node needs to be claimed, or that the nodes of an attached pool have",
    ),
    Property(
        name="is_attached",
        kind="boolean",
        role="replace",
        description="kubernetes: the pool exists and is only used; nothing on its nodes is changed",
    ),
    Property(
        name="node_vcpus",
        kind="integer",
        role="update",
        description="kubernetes: processors that a node must have to be claimed; else those of `vm_size`",
    ),
    Property(
        name="quota_vcpus",
        kind="integer",
        role="update",
        description='kubernetes: limit of "Standard PBS Family vCPUs" in the region; else that of a new subscription',
    ),
    Property(
        name="provisioning_timeout_seconds",
        kind="integer",
        role="update",
        unit="s",
        description=f"kubernetes: longest wait for FPGAs, or for pods to leave; else {PROVISIONING_TIMEOUT_SECONDS} s",
    ),
    Property(
        name="cluster_purpose",
        kind="string",
        role="update",
        description="kubernetes: `DevTest`, or `FastProd` or `DenseProd`, which need 12 vCPUs",
    ),
)

_SERVICES = (
    Property(
        name="load_balancer_type",
        kind="string",
        role="update",
        description="kubernetes: how clients reach its services: `PublicIp` (the default), `InternalLoadBalancer`, "
        "`NodePort` or `ClusterIP`",
    ),
    Property(
        name="ssl_cname",
        kind="string",
        role="update",
        description="kubernetes: kept for people; it encrypts nothing, a web service has `ssl_cname` of its own",
    ),
    Property(
        name="ssl_cert_pem_file",
        kind="string",
        role="update",
        description="kubernetes: as `ssl_cname`; a web service has `ssl_cert_pem_file` of its own",
    ),
    Property(
        name="ssl_key_pem_file",
        kind="string",
        role="update",
        description="kubernetes: as `ssl_cname`; a web service has `ssl_key_pem_file` of its own",
    ),
)

_FORETOLD = (
    Property(
        name="vcpus", kind="integer", role="update", computed=True, description='vCPUs of "Standard PBS Family vCPUs"'
    ),
    Property(
        name="fpga_capacity", kind="integer", role="update", computed=True, description="FPGAs that services can use"
    ),
    Property(
        name="provisioning_state",
        kind="string",
        role="update",
        computed=True,
        description="Succeeded, or what a refresh found instead",
    ),
    Property(
        name="pool_selector",
        kind="map",
        role="update",
        computed=True,
        description="kubernetes: node labels by which pods find the pool",
    ),
    Property(name="client_hint", kind="string", role="update", computed=True, description="where clients should run"),
)

_OUTPUTS = (
    Property(name="provisioning_errors", kind="list", role="output", description="what is wrong with it, if anything"),
    Property(name="nodes", kind="list", role="output", description="names of its machines"),
    Property(name="cluster_fqdn", kind="string", role="output", description="kubernetes: host of the API server"),
    Property(
        name="cluster_id",
        kind="string",
        role="output",
        description="kubernetes: uid of the cluster, so that no other one is changed by mistake",
    ),
)

CONTRACT = ResourceContract(
    name="ComputeTarget",
    summary="Machines with FPGAs; kind `edge` is one box on this machine, kind `kubernetes` a pool in a cluster.",
    delete_before_replace=True,
    properties=(
        *_MACHINES,
        *_EDGE,
        *_CLUSTER,
        *_SERVICES,
        common.TAGS_OF_STATE,
        common.OWNER,
        *_FORETOLD,
        *_OUTPUTS,
    ),
)
