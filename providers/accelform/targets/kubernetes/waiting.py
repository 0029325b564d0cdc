"""Waiting as a visible state: numbered lines when something changed, a deadline, and what is missing at its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from accelform._base.progress import Progress
from accelform.errors import ClusterUnreachable, PoolInUse, PoolNotReady
from accelform.targets.kubernetes._plugin_sight import PluginSight
from accelform.targets.kubernetes.nodes import FpgaUse, Machine
from accelform.targets.kubernetes.planning import listed
from accelform.targets.kubernetes.spec import PoolSpec

LOOK_EVERY_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 10.0
"""How long a problem that waiting cannot cure has to last before the wait ends."""
SPEAK_EVERY_SECONDS: Final = 30.0


class Deadline:
    """A point in time after which no further look is taken."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def is_over(self) -> bool:
        return time.monotonic() >= self._end


class Speaker:
    """Tells a line when it is new, and again now and then, so that a long wait never looks dead."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._last = ""
        self._when = 0.0

    def say(self, line: str) -> None:
        now = time.monotonic()
        if line != self._last or now - self._when >= SPEAK_EVERY_SECONDS:
            self._progress(line)
            self._last, self._when = line, now


def for_fpgas(
    look: Callable[[], Sequence[Machine]],
    missing: Callable[[Sequence[Machine]], list[str]],
    spec: PoolSpec,
    deadline: Deadline,
    progress: Progress,
    *,
    cluster: str,
    plugin: Callable[[], PluginSight] = PluginSight,
) -> None:
    """Returns once `missing` finds nothing wrong with what `look` sees, nor `plugin` with the stack's device plugin.

    Raises PoolNotReady at the deadline, or as soon as waiting cannot help. An API server that is away for a moment is
    waited for, too.
    """
    speaker = Speaker(progress)
    hopeless_since: float | None = None
    while True:
        try:
            machines = look()
            troubles = missing(machines)
            seen = plugin()
        except ClusterUnreachable as error:
            if deadline.is_over():
                raise
            machines, troubles, seen = (), [str(error)], PluginSight()
        if not troubles and not seen.missing:
            return
        hopeless_since = (hopeless_since or time.monotonic()) if seen.hopeless else None
        if hopeless_since is not None and time.monotonic() - hopeless_since >= PATIENCE_SECONDS:
            raise PoolNotReady(f"pool {spec.name!r} in {cluster} cannot offer its FPGAs: {listed(seen.missing)}")
        ready = sum(row.usable_fpgas > 0 for row in machines)
        offered = f"{ready} of {spec.agent_count} machines offer {spec.resource_name}"
        speaker.say(f"pool {spec.name!r} [2/3] " + "; ".join((offered, *seen.missing[:1])))
        if deadline.is_over():
            raise PoolNotReady(
                f"pool {spec.name!r} in {cluster} did not offer {spec.agent_count} × {spec.resource_name} within "
                f"{deadline.seconds:g} s: {listed([*troubles, *seen.missing])}; {_advice(spec)}"
            )
        time.sleep(LOOK_EVERY_SECONDS)


class Leaving:
    """Waiting for pods to leave a pool's machines."""

    def __init__(self, spec: PoolSpec, deadline: Deadline, progress: Progress, *, cluster: str) -> None:
        self._spec = spec
        self._deadline = deadline
        self._speaker = Speaker(progress)
        self._cluster = cluster

    def until_empty(self, holders: Callable[[], Sequence[FpgaUse]]) -> None:
        """Returns once `holders` finds no pod; raises PoolInUse at the deadline."""
        while left := holders():
            self.pause(left)

    def pause(self, left: Sequence[FpgaUse]) -> None:
        """Tells which pods are left and waits until the next look; raises PoolInUse at the deadline."""
        names = listed([f"{use.pod} on {use.node}" for use in left])
        pods = f"{len(left)} pod{'s' if len(left) != 1 else ''}"
        self._speaker.say(f"pool {self._spec.name!r}: waits for {pods} to leave: {names}")
        if self._deadline.is_over():
            raise PoolInUse(
                f"pool {self._spec.name!r} in {self._cluster} cannot give machines back: after "
                f"{self._deadline.seconds:g} s their FPGAs are still in use by {names}; "
                "remove what runs these pods, then try again"
            )
        time.sleep(LOOK_EVERY_SECONDS)


def _advice(spec: PoolSpec) -> str:
    if spec.is_external:
        return "see to the cluster's own device plugin, and that it tolerates the pool's taint"
    return (
        "see the device plugin's pods (`kubectl get pods -A -o wide`): "
        f"one has to run on each node of pool {spec.name!r}"
    )
