"""A pool: nodes of a cluster that bear its owner's mark, or, attached, nodes that a selector finds."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from typing import Final

from accelform import faults
from accelform._base.progress import Progress
from accelform.errors import AccelformError, PoolNotReady
from accelform.targets.kubernetes import _claims as claims
from accelform.targets.kubernetes import _plugin_sight as plugin_sight
from accelform.targets.kubernetes import marks, waiting
from accelform.targets.kubernetes._plugin_sight import PluginSight
from accelform.targets.kubernetes._settling import Settling
from accelform.targets.kubernetes._view import View
from accelform.targets.kubernetes.client import Cluster
from accelform.targets.kubernetes.kinds import NAMESPACES, NODES, PODS
from accelform.targets.kubernetes.nodes import Machine
from accelform.targets.kubernetes.planning import listed
from accelform.targets.kubernetes.rights import Right
from accelform.targets.kubernetes.spec import PoolSpec, PoolState
from accelform.targets.kubernetes.waiting import Deadline, Leaving

LOOKING: Final = (Right(verb="list", kind=NODES), Right(verb="get", kind=NAMESPACES))
CHANGING: Final = (
    *LOOKING,
    Right(verb="get", kind=NODES),
    Right(verb="patch", kind=NODES),
    Right(verb="list", kind=PODS),
)
"""What the kubeconfig's user needs: to use a pool that is there, and to claim one."""


class NodePool:
    """The pool that `spec` describes. Holds no state: everything is read from the cluster.

    What is interrupted, also by SIGKILL, is finished or undone by the next call of the same owner.
    """

    def __init__(self, cluster: Cluster, spec: PoolSpec, progress: Progress) -> None:
        self._cluster = cluster
        self._spec = spec
        self._progress = progress
        self._view = View(cluster, spec)

    def provision(self, *, is_new: bool = False) -> PoolState:
        """Brings the pool to the spec and waits until each of its machines offers an FPGA.

        A failure takes back the claims of this call; with `is_new` also those of an earlier one that was killed,
        because nobody would remember them. Raises NotOwner, QuotaExceeded, NoNodeFree, PoolInUse, PoolNotReady.
        """
        deadline = Deadline(self._spec.timeout_seconds)
        if self._spec.is_attached:
            self._wait_for_attached(deadline)
            return self._state()
        settling = Settling(self._cluster, self._spec, self._view, deadline, self._progress)
        try:
            while not self._wait_for(settling.settle(), deadline):
                self._progress(f"pool {self._spec.name!r}: a machine vanished; looking for another")
        except BaseException:
            with contextlib.suppress(AccelformError):
                settling.give_back(everything=is_new)
            raise
        state = self._state()
        self._progress(f"pool {self._spec.name!r} [3/3] ready: {state.fpga_capacity} × {self._spec.resource_name}")
        return state

    def describe(self, *, expected: Sequence[str] = ()) -> PoolState | None:
        """The pool as it is; None where none of its nodes is left. `expected` are the nodes it had when last seen."""
        members = self._view.members()
        if self._spec.is_attached:
            return self._attached(members)
        if not members:
            return None
        names = [row.name for row in members]
        errors = [f"machine {row.name} {row.fpga_trouble()}" for row in members if row.fpga_trouble()]
        errors += [f"machine {name} is no longer in the pool" for name in expected if name not in names]
        lost = {row.name: marks.lacking(row, self._spec) for row in members}
        errors += [f"machine {name} lost {' and '.join(marked)}" for name, marked in lost.items() if marked]
        return PoolState(
            agent_count=len(members),
            fpga_capacity=sum(row.usable_fpgas > 0 for row in members),
            nodes=tuple(names),
            errors=tuple(errors),
        )

    def release(self) -> None:
        """Waits until no pod uses the pool's FPGAs, then leaves its nodes as they were before the claim.

        Raises PoolInUse where pods stay beyond the deadline.
        """
        deadline = Deadline(self._spec.timeout_seconds)
        mine = self._view.members()
        if self._spec.is_attached or not mine:
            return
        names = [row.name for row in mine]
        leaving = Leaving(self._spec, deadline, self._progress, cluster=str(self._cluster))
        leaving.until_empty(lambda: self._view.holders(names))
        claims.close_all(self._cluster, mine, self._spec)
        faults.fault_point("compute-target:after-close")
        leaving.until_empty(lambda: self._view.holders(names))
        claims.release_all(self._cluster, self._view.members(), self._spec)
        self._progress(f"pool {self._spec.name!r}: released {listed(names)}")

    def _state(self) -> PoolState:
        state = self.describe()
        if state is None:
            raise PoolNotReady(
                f"pool {self._spec.name!r} in {self._cluster} was released while it was being made; try again"
            )
        return state

    def _attached(self, members: Sequence[Machine]) -> PoolState:
        return PoolState(
            agent_count=self._spec.agent_count,
            fpga_capacity=min(self._spec.agent_count, sum(row.usable_fpgas for row in members)),
            nodes=tuple(row.name for row in members),
            errors=tuple(self._attached_troubles(members)),
        )

    def _attached_troubles(self, members: Sequence[Machine]) -> list[str]:
        labels = ", ".join(f"{key}={value}" for key, value in self._spec.selector.items())
        if not members:
            return [f"no node has the labels {labels}"]
        usable = sum(row.usable_fpgas for row in members)
        if usable >= self._spec.agent_count:
            return []
        reasons = [f"{row.name} {row.fpga_trouble()}" for row in members if row.fpga_trouble()]
        return [f"nodes with {labels} offer {usable} FPGAs", *reasons]

    def _wait_for_attached(self, deadline: Deadline) -> None:
        waiting.for_fpgas(
            self._view.members,
            self._attached_troubles,
            self._spec,
            deadline,
            self._progress,
            cluster=str(self._cluster),
            plugin=self._plugin,
        )

    def _plugin(self) -> PluginSight:
        name = self._spec.plugin_name
        return plugin_sight.look(self._cluster, name) if name else PluginSight()

    def _wait_for(self, names: Collection[str], deadline: Deadline) -> bool:
        """True once each of the machines offers an FPGA; False as soon as one is not in the pool any more."""
        vanished = False

        def troubles(members: Sequence[Machine]) -> list[str]:
            nonlocal vanished
            vanished = not set(names) <= {row.name for row in members}
            return [] if vanished else [f"{row.name} {row.fpga_trouble()}" for row in members if row.fpga_trouble()]

        waiting.for_fpgas(
            self._view.members,
            troubles,
            self._spec,
            deadline,
            self._progress,
            cluster=str(self._cluster),
            plugin=self._plugin,
        )
        return not vanished
