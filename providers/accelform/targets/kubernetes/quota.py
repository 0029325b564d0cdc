"""What pools in a cluster take from the regions' quotas, as their marks tell."""

from __future__ import annotations

from dataclasses import dataclass

from accelform.errors import AccelformError
from accelform.plans.cluster_names import FPGA_RESOURCE
from accelform.targets.kubernetes.client import Cluster
from accelform.targets.kubernetes.kinds import NODES
from accelform.targets.kubernetes.nodes import Machine, machines_of
from accelform.targets.kubernetes.planning import used_vcpus

CONNECT_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True)
class Usage:
    """A look at the pools of one cluster; `trouble` says why there was none, and then nothing is known."""

    source: str
    machines: tuple[Machine, ...] = ()
    trouble: str = ""

    def in_region(self, location: str) -> int | None:
        """vCPUs that pools take in `location`; None where unknown."""
        return None if self.trouble else used_vcpus(self.machines, location)

    def of_stack(self, location: str, stack: str) -> int:
        """The part of it that belongs to `stack`, which is `<project>/<stack>`."""
        mine = [row for row in self.machines if row.owner.startswith(f"{stack}/")]
        return used_vcpus(mine, location)


def look(kubeconfig: str, context: str) -> Usage:
    """The pools in the context's cluster; never raises where the cluster cannot be asked, but says so."""
    source = f"context {context!r}" if context else "the current context"
    try:
        with Cluster.connect(kubeconfig, context, connect_seconds=CONNECT_SECONDS) as cluster:
            found = machines_of(cluster.list(NODES), FPGA_RESOURCE)
            return Usage(source=str(cluster), machines=tuple(found))
    except AccelformError as error:
        return Usage(source=source, trouble=str(error))
