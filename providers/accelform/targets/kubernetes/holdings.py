"""What a stack holds in a cluster, by the names of its objects: nobody else's when it starts, nothing left at its end.

The engine writes a resource into its state after it was made. What a killed run made in between is in no state, and so
in no `destroy`; but its name was known before, and it bears its owner.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

from accelform.errors import ClusterDenied, NotOwner
from accelform.plans.cluster_names import OWNER_ANNOTATION
from accelform.plans.cluster_objects import Named
from accelform.targets.kubernetes.client import Cluster
from accelform.targets.kubernetes.kinds import Kind


def require_own(cluster: Cluster, objects: Iterable[Named], *, stack: str) -> None:
    """Raises NotOwner with all of `objects` that are there and belong to another stack, or to nobody known.

    `stack` is `<project>/<stack>`. What may not be looked at is left to the request that makes it.
    """
    foreign = []
    for named in objects:
        with contextlib.suppress(ClusterDenied):
            owner = _owner(cluster, named)
            if owner is not None and not owner.startswith(f"{stack}/"):
                foreign.append(f"{named.shown} (of {owner or 'nobody known'})")
    if foreign:
        raise NotOwner(
            f"{cluster} already has what {stack} would make: {'; '.join(foreign)}. Give the stack a target_name, "
            "service_name or namespace of its own, use a namespace that is there with create_namespace false, or "
            "remove what is left over"
        )


def remove_left(cluster: Cluster, objects: Iterable[Named], *, stack: str, progress: Callable[[str], None]) -> None:
    """Deletes those of `objects` that are still there and bear an owner of `stack`, the last first, and names them."""
    for named in reversed(list(objects)):
        owner = _owner(cluster, named)
        if owner is not None and owner.startswith(f"{stack}/"):
            cluster.delete(_kind(named), named.name, namespace=named.namespace)
            progress(f"removed {named.shown}, which an interrupted run had made")


def _owner(cluster: Cluster, named: Named) -> str | None:
    """The object's owner, empty without one; None where there is no such object, or it is on its way out."""
    found = cluster.get(_kind(named), named.name, namespace=named.namespace)
    if found is None or found["metadata"].get("deletionTimestamp"):
        return None
    return str((found["metadata"].get("annotations") or {}).get(OWNER_ANNOTATION) or "")


def _kind(named: Named) -> Kind:
    return Kind.of(named.api_version, named.kind, namespaced=bool(named.namespace))
