"""The gate behind a service's objects: it waits until they serve, and otherwise says why they do not.

Nothing is made or undone here. A rollout that fails leaves what served before as it is, and waiting can be repeated.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from accelform.errors import ClusterUnreachable, NotOwner, ServiceNotReady
from accelform.targets.kubernetes import _sight as sight
from accelform.targets.kubernetes import admission, pod_errors
from accelform.targets.kubernetes._room import Room, keep_ports
from accelform.targets.kubernetes._sight import Sight, Wish
from accelform.targets.kubernetes._steps import Steps
from accelform.targets.kubernetes.address import Address
from accelform.targets.kubernetes.client import Cluster
from accelform.targets.kubernetes.pod_errors import PodProblem
from accelform.targets.kubernetes.rollout import STEPS, Rollout, State
from accelform.targets.last_words import last_words

__all__ = ["Gate", "Seen", "Wish"]

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 10.0
"""How long a problem that waiting cannot cure has to last before the wait ends."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A service as one look found it; `address` is None while it has none."""

    state: State
    reason: str
    address: Address | None


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Waits for services of one cluster."""

    connect: Callable[[], Cluster]
    progress: Callable[[str], None]

    @classmethod
    def at(cls, *, kubeconfig: str, context: str, progress: Callable[[str], None]) -> Gate:
        """The gate of the cluster that `context` in the file `kubeconfig` names; asked anew for each wait."""
        return cls(connect=lambda: Cluster.connect(kubeconfig, context), progress=progress)

    def wait(self, wish: Wish, *, timeout_seconds: float) -> Address:
        """Returns the address once every pod of the wished image serves there and takes the service's keys.

        Raises ServiceNotReady at the deadline, or as soon as waiting cannot help; NotOwner for another stack's service;
        and what `Cluster` raises.
        """
        begin = time.monotonic()
        deadline = begin + timeout_seconds
        steps = Steps(tell=self.progress, of=STEPS)
        with self.connect() as cluster:
            room = Room(cluster=cluster, wish=wish, steps=steps)
            waiting = _Waiting(
                cluster=cluster, wish=wish, steps=steps, room=room, deadline=deadline, seconds=timeout_seconds
            )
            try:
                seen = waiting.for_pods()
            finally:
                room.restore()
            keep_ports(cluster, wish)
            address = waiting.for_address(seen)
            said = admission.confirm(
                cluster, wish, address, seen.pods, steps=steps, deadline=deadline, restarted=waiting.for_pods
            )
        steps.finish(f"{wish.name!r} {said} at {address.scoring_uri}, after {time.monotonic() - begin:.1f} s")
        return address

    def look(self, wish: Wish) -> Seen | None:
        """The service as it is now; None where it is gone, or another stack's."""
        with self.connect() as cluster:
            found = sight.look(cluster, wish)
            if found is None or found.owner != wish.owner:
                return None
            address = sight.find_address(cluster, wish, found.pods)
        reached = address if isinstance(address, Address) else None
        reason = found.rollout.step[1]
        if found.rollout.problem or found.rollout.refused:
            reason = str(found.rollout.problem or found.rollout.refused)
        state: State = found.rollout.state
        wished = found.rollout.wished
        if wish.replicas is not None and wished != wish.replicas:
            reason = f"{wish.replicas} replica{'s' if wish.replicas > 1 else ''} became {wished}"
            state = "Unhealthy" if state == "Healthy" else state
        if state == "Healthy" and reached is None:
            state, reason = "Transitioning", str(address)
        elif state == "Healthy" and reached is not None and (problem := admission.problem(wish, reached)):
            state, reason = "Unhealthy", problem
        if state != "Healthy":
            self.progress(f"{wish} is {state}: {reason}")
        return Seen(state=state, reason=reason if state != "Healthy" else "", address=reached)


@dataclass(kw_only=True)
class _Waiting:
    """One wait, with what it remembers between looks."""

    cluster: Cluster
    wish: Wish
    steps: Steps
    room: Room
    deadline: float
    seconds: float
    hopeless_since: float | None = None
    silence: ClusterUnreachable | None = None

    def for_pods(self) -> Sight:
        while True:
            found = self._look()
            if found is not None:
                self._check(found)
                if found.rollout.is_done:
                    return found
                self._tell(found.rollout)
                self.room.make(found)
                self._give_up_if_hopeless(found)
            self._pause(found)

    def for_address(self, seen: Sight) -> Address:
        while True:
            found = sight.find_address(self.cluster, self.wish, seen.pods)
            if isinstance(found, Address):
                return found
            self.steps(STEPS, f"all pods serve; {found}")
            if time.monotonic() > self.deadline:
                raise self._not_ready(f"its pods serve, but {found}")
            time.sleep(POLL_SECONDS)

    def _look(self) -> Sight | None:
        """None while the cluster does not answer. Raises ServiceNotReady where there is no Deployment."""
        try:
            found = sight.look(self.cluster, self.wish)
        except ClusterUnreachable as error:
            self.silence = error
            self.steps(1, f"{self.cluster} does not answer; asking again")
            return None
        self.silence = None
        if found is None:
            raise self._not_ready("its Deployment is gone; `pulumi up --refresh` makes it again")
        return found

    def _check(self, found: Sight) -> None:
        if found.owner != self.wish.owner:
            raise NotOwner(
                f"{self.wish} of {self.cluster} belongs to {found.owner or 'nobody known'}, not to {self.wish.owner}; "
                "choose another service_name or namespace"
            )
        if found.image != self.wish.image_location:
            raise self._not_ready(
                f"its Deployment is of image {found.image} and not of {self.wish.image_location}; "
                "`pulumi up --refresh` brings both together"
            )

        wished = found.rollout.wished
        if self.wish.replicas is not None and wished != self.wish.replicas:
            raise self._not_ready(
                f"its Deployment asks for {wished} pods and not for {self.wish.replicas}; "
                "`pulumi up --refresh` brings both together"
            )

    def _tell(self, rollout: Rollout) -> None:
        step, text = rollout.step
        problem = rollout.refused or str(rollout.problem or "")
        self.steps(step, f"{text}; {problem}" if problem else text)

    def _give_up_if_hopeless(self, found: Sight) -> None:
        problem = found.rollout.problem
        if problem is None or not problem.hopeless:
            self.hopeless_since = None
            return
        now = time.monotonic()
        self.hopeless_since = self.hopeless_since or now
        if now - self.hopeless_since >= PATIENCE_SECONDS:
            raise self._not_ready(self._why(found))

    def _pause(self, found: Sight | None) -> None:
        if time.monotonic() > self.deadline:
            if found is None:
                raise self._not_ready(f"its cluster does not answer: {self.silence}") from self.silence
            raise self._not_ready(f"{self._why(found)}; it had {self.seconds:g} s (deployment_timeout_seconds)")
        time.sleep(POLL_SECONDS)

    def _why(self, found: Sight) -> str:
        rollout = found.rollout
        _, text = rollout.step
        if rollout.refused:
            return f"{text}; no pod can be created: {rollout.refused}"
        if rollout.problem:
            return f"{text}; {rollout.problem}{self._log(rollout.problem)}"
        probe = pod_errors.last_probe(found.pods, found.events)
        return f"{text}; {probe}" if probe else text

    def _log(self, problem: PodProblem) -> str:
        """What the log of the pod's last run ended with."""
        if not problem.log:
            return ""
        lines: list[str] = []
        with contextlib.suppress(Exception):  # it only explains
            for previous in (True, False):
                found = self.cluster.log(
                    problem.pod, namespace=self.wish.namespace, container=problem.log, previous=previous
                )
                lines = lines or list(found)
        words = last_words(lines)
        return f"; its log ends with: {words}" if words else "; its log is empty"

    def _not_ready(self, why: str) -> ServiceNotReady:
        return ServiceNotReady(
            f"{self.wish} of {self.cluster} is not ready: {why}. Everything stays as it is; settle this and run "
            f"`pulumi up` again (`kubectl -n {self.wish.namespace} describe pods` tells more)"
        )
