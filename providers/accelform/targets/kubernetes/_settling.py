"""From the wished pool to nodes that bear its marks, while other stacks claim nodes of the same cluster.

A claim is an optimistic patch, so two pools never share a node. Names and quotas span nodes: they are checked before
the claims and again after them. Who finds too little for itself gives back what it has and waits for a while of random
length; as long as others' claims come and go it tries again, so that in the end somebody is alone.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from typing import Final

from accelform import faults
from accelform._base.progress import Progress
from accelform.errors import NoNodeFree, NotOwner, PoolInUse, QuotaExceeded
from accelform.targets.kubernetes import _claims as claims
from accelform.targets.kubernetes import _yielding as yielding
from accelform.targets.kubernetes import planning
from accelform.targets.kubernetes._view import View
from accelform.targets.kubernetes.client import Cluster
from accelform.targets.kubernetes.nodes import Machine
from accelform.targets.kubernetes.planning import PoolPlan, Uses, listed
from accelform.targets.kubernetes.spec import PoolSpec
from accelform.targets.kubernetes.waiting import LOOK_EVERY_SECONDS, Deadline, Leaving, Speaker

ROUNDS: Final = 8
"""Tries beside others who claim at the same time, with longer pauses each."""

FIRST_PAUSE_SECONDS: Final = 0.4
LONGEST_PAUSE_SECONDS: Final = 3.0


class Settling:
    """One attempt to bring a pool's nodes to its spec; remembers what it claimed, so that it can be undone."""

    def __init__(self, cluster: Cluster, spec: PoolSpec, view: View, deadline: Deadline, progress: Progress) -> None:
        self._cluster = cluster
        self._spec = spec
        self._view = view
        self._deadline = deadline
        self._arriving = Speaker(progress)
        self._leaving = Leaving(spec, deadline, progress, cluster=str(cluster))
        self._progress = progress
        self._fresh: set[str] = set()
        self._has_yielded = False
        self._seen: frozenset[tuple[str, str]] = frozenset()

    def settle(self) -> tuple[str, ...]:
        """Claims, repairs and releases; the names of the pool's nodes.

        Raises NotOwner, QuotaExceeded, NoNodeFree, PoolInUse.
        """
        for round_ in range(ROUNDS):
            try:
                return self._carry_out()
            except (NoNodeFree, NotOwner, QuotaExceeded):
                self.give_back()
                if round_ == ROUNDS - 1:
                    raise
                time.sleep(min(FIRST_PAUSE_SECONDS * 2**round_, LONGEST_PAUSE_SECONDS) * random.uniform(0.5, 1.5))
                if self._others(self._view.machines()) == self._seen:
                    raise  # nobody moves any more: what they hold is theirs
        raise AssertionError("the last round returns or raises")

    def give_back(self, *, everything: bool = False) -> None:
        """Undoes the claims of this attempt, or all of the pool's that no pod uses."""
        uses = self._view.uses()
        mine = [row for row in self._view.members() if everything or row.name in self._fresh]
        claims.release_all(self._cluster, [row for row in mine if not uses.get(row.name)], self._spec)
        self._fresh.clear()

    def _carry_out(self) -> tuple[str, ...]:
        while True:
            machines, uses = self._view.machines(), self._view.uses()
            self._seen = self._others(machines)
            now = math.inf if self._deadline.is_over() else time.time()
            try:
                plan = planning.plan(machines, uses, self._spec, cluster=str(self._cluster), now=now)
            except PoolInUse:
                if self._has_yielded or not self._yield(uses):
                    raise
                continue
            if plan.leaving:
                self._leaving.pause(plan.leaving)
                continue
            if plan.arriving:
                self._arriving.say(f"pool {self._spec.name!r}: waits for {listed(plan.arriving)} to become Ready")
                time.sleep(LOOK_EVERY_SECONDS)
                continue
            self._tell(plan)
            if self._claim(plan, {row.name: row for row in machines}, uses):
                break
        if plan.claim or plan.repair:
            self._verify()
        if plan.release:
            self._release(plan.release)
        faults.fault_point("compute-target:after-claim")
        return plan.members

    def _yield(self, uses: Uses) -> bool:
        """Whether the stack's own service leaves the machines that have to go."""
        self._has_yielded = True
        return yielding.make_room(self._cluster, self._spec, self._view, uses, self._progress)

    def _claim(self, plan: PoolPlan, machines: dict[str, Machine], uses: Uses) -> bool:
        """Marks what the plan names; False where somebody else was faster on any of it."""
        won = True
        for name in (*plan.repair, *plan.claim):
            if name in plan.claim:
                self._fresh.add(name)
            won &= claims.claim(
                self._cluster,
                machines[name],
                self._spec,
                is_free=lambda row: not planning.refusal(row, uses, self._spec),
            )
            faults.fault_point("compute-target:after-first-claim")
        return won

    def _verify(self) -> None:
        machines = self._view.machines()
        self._seen = self._others(machines)
        planning.require_own_name(machines, self._spec, cluster=str(self._cluster))
        planning.require_quota(machines, self._spec)

    def _others(self, machines: Sequence[Machine]) -> frozenset[tuple[str, str]]:
        """What other pools hold: as long as it changes, a shortage may be for a moment only."""
        return frozenset((row.name, row.owner) for row in machines if row.owner not in ("", self._spec.owner))

    def _release(self, names: tuple[str, ...]) -> None:
        going = [row for row in self._view.members() if row.name in names]
        claims.close_all(self._cluster, going, self._spec)
        faults.fault_point("compute-target:after-close")
        late = self._view.holders(names)
        going = [row for row in self._view.members() if row.name in names]
        if late:
            for row in going:
                claims.claim(self._cluster, row, self._spec, is_free=lambda _: False)
            raise PoolInUse(
                f"pool {self._spec.name!r} in {self._cluster} keeps {listed(names)}: {late[0].pod} came to "
                f"{late[0].node} meanwhile; lower num_replicas first, in an update of its own"
            )
        claims.release_all(self._cluster, going, self._spec)

    def _tell(self, plan: PoolPlan) -> None:
        parts = {"keeps": plan.keep, "claims": plan.claim, "repairs": plan.repair, "releases": plan.release}
        done = "; ".join(f"{verb} {listed(names)}" for verb, names in parts.items() if names)
        self._progress(f"pool {self._spec.name!r} [1/3] {done} in {self._cluster}")
