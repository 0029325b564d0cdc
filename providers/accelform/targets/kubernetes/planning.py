"""Which nodes a pool keeps, claims and gives back: state in, steps out, nothing touched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from accelform.errors import NoNodeFree, NotOwner, PoolInUse, QuotaExceeded
from accelform.plans import regions
from accelform.plans.cluster_names import LOCATION_LABEL
from accelform.plans.quota import Quota
from accelform.targets.kubernetes import marks
from accelform.targets.kubernetes.nodes import FpgaUse, Machine
from accelform.targets.kubernetes.spec import PoolSpec

Uses = Mapping[str, Sequence[FpgaUse]]

REGION_LABEL: Final = "topology.kubernetes.io/region"
SHOWN: Final = 8
"""Names in a message before it says how many more there are."""

_OWN_PREFIX = "accelform.dev/"
ARRIVING_SECONDS: Final = 600
"""How long a node that is new, or was Ready a moment ago, is worth waiting for."""

_PASSING_TAINTS: Final = (
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/network-unavailable",
    "node.cloudprovider.kubernetes.io/uninitialized",
)
"""Put on and taken off by Kubernetes and clouds (Kubernetes reference, "Well-Known Labels, Annotations and Taints")."""
_KEEPS_PODS_OFF = ("NoSchedule", "NoExecute")


@dataclass(frozen=True, kw_only=True)
class PoolPlan:
    """Nodes by name: `keep` stay (`repair`: those of them that lack a mark), `claim` come, `release` go.

    `leaving` are pods that are about to free machines which have to go, `arriving` nodes that are about to be free to
    claim: where there are any of them, the plan is to wait, and to plan again.
    """

    keep: tuple[str, ...] = ()
    repair: tuple[str, ...] = ()
    claim: tuple[str, ...] = ()
    release: tuple[str, ...] = ()
    leaving: tuple[FpgaUse, ...] = ()
    arriving: tuple[str, ...] = ()

    @property
    def members(self) -> tuple[str, ...]:
        """The pool's nodes once the plan is carried out."""
        return (*self.keep, *self.claim)


def plan(machines: Sequence[Machine], uses: Uses, spec: PoolSpec, *, cluster: str, now: float) -> PoolPlan:
    """How the pool gets `spec.agent_count` machines; `now` is in seconds since 1970.

    Machines whose FPGA is in use always stay; then come sound ones of the pool, free ones of the cluster, and then the
    pool's broken ones, in the hope that they recover. Free ones whose FPGAs are all unwell come last.

    Raises NotOwner (another stack has a pool of that name), QuotaExceeded, PoolInUse (fewer machines are wanted than
    serve), NoNodeFree.
    """
    require_own_name(machines, spec, cluster=cluster)
    mine = [row for row in machines if row.owner == spec.owner]
    serving = [row for row in mine if uses.get(row.name)]
    idle = [row for row in mine if not uses.get(row.name)]
    if len(serving) > spec.agent_count:
        staying = [row for row in serving if not all(use.is_leaving for use in uses[row.name])]
        if len(staying) > spec.agent_count:
            raise PoolInUse(in_use(staying, uses, spec, cluster))
        return PoolPlan(leaving=tuple(use for row in serving for use in uses[row.name] if use.is_leaving))
    sound = sorted((row for row in idle if _is_sound(row)), key=lambda row: not row.usable_fpgas)
    broken = [row for row in idle if not _is_sound(row)]
    keep = [*serving, *sound][: spec.agent_count]
    refusals = {row.name: refusal(row, uses, spec) for row in machines if row not in mine}
    free = [row for row in machines if not refusals.get(row.name, "mine")]
    free.sort(key=lambda row: (row.has_broken_fpga, not row.usable_fpgas))
    healthy = [row for row in free if not row.has_broken_fpga]
    claim = healthy[: spec.agent_count - len(keep)]
    keep += broken[: spec.agent_count - len(keep) - len(claim)]
    claim += free[len(healthy) :][: spec.agent_count - len(keep) - len(claim)]
    missing = spec.agent_count - len(keep) - len(claim)
    refused = [row for row in machines if refusals.get(row.name)] if missing else []
    arriving = tuple(row.name for row in refused if is_arriving(row, uses, spec, now=now))
    if claim or arriving:
        require_quota(machines, spec)
    if missing:
        if len(arriving) < missing:
            raise NoNodeFree(_too_few(refusals, spec, has=len(keep), free=len(claim), cluster=cluster))
        return PoolPlan(arriving=arriving)
    kept = {row.name for row in keep}
    return PoolPlan(
        keep=tuple(row.name for row in keep),
        repair=tuple(row.name for row in keep if not marks.is_complete(row, spec)),
        claim=tuple(row.name for row in claim),
        release=tuple(row.name for row in mine if row.name not in kept),
    )


def refusal(machine: Machine, uses: Uses, spec: PoolSpec) -> str:
    """Why this pool cannot claim the node; empty where it can."""
    if machine.owner or machine.pool:
        of = f" of {machine.owner}" if machine.owner else ""
        return f"belongs to pool {machine.pool!r}{of}" if machine.pool else f"is being given back by {machine.owner}"
    if any(key.startswith(_OWN_PREFIX) for key in (*machine.labels, *machine.annotations)):
        return f"bears a mark of {_OWN_PREFIX} from somebody else"
    if any(machine.labels.get(key) != value for key, value in spec.node_selector.items()):
        return "does not have the labels of node_selector"
    if machine.is_leaving or machine.is_cordoned:
        return "is being deleted" if machine.is_leaving else "is cordoned"
    if machine.trouble:
        return f"is not Ready: {machine.trouble}"
    region = machine.labels.get(REGION_LABEL)
    if region in regions.FPGA_REGIONS and region != spec.location:
        return f"is in region {region}"
    hard = [taint for taint in machine.taints if taint.get("effect") in _KEEPS_PODS_OFF]
    if hard:
        return f"has the taint {hard[0]['key']}"
    if machine.vcpus < spec.node_vcpus:
        return f"has {machine.vcpus:g} vCPUs, fewer than node_vcpus {spec.node_vcpus}"
    if uses.get(machine.name):
        return f"has its FPGA in use by pod {uses[machine.name][0].pod}"
    # Our device plugin leaves a node with its pool, and for minutes its kubelet goes on telling of FPGAs, all unwell.
    if spec.is_external and not machine.healthy_fpgas:
        return machine.fpga_trouble()
    return ""


def is_arriving(machine: Machine, uses: Uses, spec: PoolSpec, *, now: float) -> bool:
    """Whether a node that cannot be claimed came or changed a short while ago, and lacks only what comes by itself.

    That is being Ready, the taints that go with it, and what its kubelet and an external device plugin tell.
    """
    if now - machine.changed_at > ARRIVING_SECONDS:
        return False
    tells_fpgas = machine.fpgas is not None
    soon = replace(
        machine,
        trouble="",
        taints=tuple(taint for taint in machine.taints if taint.get("key") not in _PASSING_TAINTS),
        vcpus=machine.vcpus or spec.node_vcpus,
        healthy_fpgas=machine.healthy_fpgas if tells_fpgas else 1,
    )
    return not refusal(soon, uses, spec)


def require_own_name(machines: Iterable[Machine], spec: PoolSpec, *, cluster: str) -> None:
    """Raises NotOwner where nodes bear this pool's name for somebody else: pods would land on them too."""
    for row in machines:
        if row.pool == spec.name and row.owner != spec.owner:
            raise NotOwner(
                f"{cluster} already has a pool {spec.name!r}: node {row.name!r} belongs to {row.owner or 'nobody'}"
                f", not to {spec.owner}; choose another name, or use that pool with is_attached"
            )


def used_vcpus(machines: Iterable[Machine], location: str, *, but_owner: str = "") -> int:
    """vCPUs of "Standard PBS Family vCPUs" that pools in this cluster take in `location`, without those of an owner."""
    each = regions.VCPUS_OF_VM_SIZE["Standard_PB6s"]
    taken = [row for row in machines if row.owner and row.labels.get(LOCATION_LABEL) == location]
    return each * sum(row.owner != but_owner for row in taken)


def require_quota(machines: Iterable[Machine], spec: PoolSpec) -> None:
    """Raises QuotaExceeded where the pool and those that are there need more than the region's limit."""
    others = used_vcpus(machines, spec.location, but_owner=spec.owner)
    wanted = Quota(
        location=spec.location, limit=spec.quota_vcpus, current=others, needed=spec.vcpus, vm_size=spec.vm_size
    )
    if problem := wanted.problem():
        raise QuotaExceeded(f"pool {spec.name!r} cannot be made: {problem}")


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them, cut where there are many."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _is_sound(machine: Machine) -> bool:
    return machine.is_ready and not machine.is_cordoned and not machine.is_leaving and not machine.has_broken_fpga


def in_use(serving: Sequence[Machine], uses: Uses, spec: PoolSpec, cluster: str) -> str:
    """Why machines cannot go, as a sentence."""
    holders = [f"{use.pod} on {row.name}" for row in serving for use in uses[row.name]]
    return (
        f"pool {spec.name!r} in {cluster} cannot shrink to {spec.agent_count}: the FPGAs of {len(serving)} machines "
        f"are in use by {listed(holders)}; lower num_replicas or remove a service first, in an update of its own"
    )


def _too_few(refusals: Mapping[str, str], spec: PoolSpec, *, has: int, free: int, cluster: str) -> str:
    reasons: dict[str, list[str]] = {}
    for name, reason in refusals.items():
        if reason:
            reasons.setdefault(reason, []).append(name)
    rows = "".join(f"\n  - {reason}: {listed(names)}" for reason, names in reasons.items())
    others = f"; of the others each{rows}\n" if rows else ", and there are no others. "
    return (
        f"pool {spec.name!r} wants {spec.agent_count} machine{'s' if spec.agent_count != 1 else ''} in {cluster}, "
        f"has {has} and can claim {free}{others}Add nodes to the cluster, lower agent_count, or lower node_vcpus where "
        "smaller machines will do."
    )
