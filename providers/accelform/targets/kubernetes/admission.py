"""The last step of a deployment: does the service answer at its address, and do all its pods take its keys.

A Service spreads connections over its pods, so one call tells of one pod only: new connections are made until every
pod was met but for one chance in a thousand. A pod that does not know a new key or certificate yet is touched: the
kubelet then brings the pod's Secret up to date at once instead of within a minute or two.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from accelform.errors import ClusterDenied, ClusterObjectMissing, ServiceNotReady
from accelform.targets import calls
from accelform.targets.calls import Trust
from accelform.targets.kubernetes.kinds import DEPLOYMENTS, PODS
from accelform.targets.kubernetes.rollout import STEPS

if TYPE_CHECKING:
    from accelform.targets.kubernetes._sight import Sight, Wish
    from accelform.targets.kubernetes._steps import Steps
    from accelform.targets.kubernetes.address import Address
    from accelform.targets.kubernetes.client import Cluster
    from accelform.targets.kubernetes.pod_errors import Object

TOUCHED: Final = "accelform.dev/access-checked"
MISSED: Final = 0.001
"""The chance that a pod was met by none of the connections."""
MOST_CONNECTIONS: Final = 100
FEWEST_CONNECTIONS: Final = 5
"""In a row, also to a single pod: proxies learn of it one after the other, and the first answer proves one of them."""
CONNECT_EVERY_SECONDS: Final = 0.2
REACH_SECONDS: Final = 15.0
"""How long a new address may take to be routed before it counts as one that this machine has no way to."""
TOUCH_SECONDS: Final = 5.0
RESTART_SECONDS: Final = 60.0
"""How long pods may go without the new access before they are restarted one after the other."""
TOKEN_SECONDS: Final = 600


def confirm(
    cluster: Cluster,
    wish: Wish,
    address: Address,
    pods: Sequence[Object],
    *,
    steps: Steps,
    deadline: float,
    restarted: Callable[[], Sight],
) -> str:
    """Returns what was seen once the service answers as wished. `restarted` waits for pods after a restart.

    Raises ServiceNotReady at `deadline` (of time.monotonic). An address that cannot be reached from here is no failure:
    the kubelet's probes then have said that the pods serve.
    """
    if (why := _unreachable(address, steps)) is not None:
        if wish.access_changed:
            _touch(cluster, wish, pods)
        return f"is SERVING by its pods' own word (no way from here: {why})"
    begin = time.monotonic()
    touched, restart = float("-inf"), begin + RESTART_SECONDS
    needed = connections(len(pods))
    met = 0
    while met < needed:
        problem_now = problem(wish, address)
        if problem_now is None:
            met += 1
            if len(pods) < 2:
                time.sleep(CONNECT_EVERY_SECONDS)
            continue
        met, now = 0, time.monotonic()
        if now > deadline:
            raise ServiceNotReady(
                f"{wish} of {cluster} is not ready: its pods serve, but at {address.scoring_uri} {problem_now}. "
                "Everything stays as it is; run `pulumi up` again once that is settled"
            )
        steps(STEPS, f"all pods serve; {problem_now}")
        if now > restart:
            restart = math.inf
            _restart(cluster, wish)
            pods = restarted().pods
        elif now - touched > TOUCH_SECONDS:
            touched = now
            _touch(cluster, wish, pods)
        time.sleep(0.2)
    return "is SERVING"


def problem(wish: Wish, address: Address) -> str | None:
    """What is wrong with the answer to one new connection; None where the service serves and takes its keys."""
    trust = _trust(wish)
    if calls.connect_problem(address.port, host=address.host):
        return "nobody listens"
    health = calls.check(address.port, host=address.host, trust=trust)
    if health != "SERVING":
        shown = " and the wished certificate" if trust else ""
        return f"a pod does not answer with SERVING{shown} yet ({health})"
    keys = _keys(wish)
    if keys and not calls.takes_keys(address.port, keys, host=address.host, trust=trust):
        return "a pod does not take the service's keys yet"
    return None


def connections(pods: int) -> int:
    """How many connections meet each of `pods` pods at least once, but for one chance in a thousand; never few.

    >>> connections(1), connections(2), connections(4)
    (5, 11, 29)
    """
    if pods < 2:
        return FEWEST_CONNECTIONS
    return min(MOST_CONNECTIONS, math.ceil(math.log(MISSED / pods) / math.log(1 - 1 / pods)))


def _unreachable(address: Address, steps: Steps) -> str | None:
    """Why there is no way to the address from here; None as soon as somebody listens there."""
    end = time.monotonic() + REACH_SECONDS
    while (why := calls.connect_problem(address.port, host=address.host, timeout_seconds=1.0)) is not None:
        if not address.is_outside or time.monotonic() > end:
            return why
        steps(STEPS, f"all pods serve; {address.scoring_uri} cannot be reached from here yet ({why})")
        time.sleep(0.5)
    return None


def _trust(wish: Wish) -> Trust | None:
    if not wish.ssl_enabled or not wish.certificate:
        return None
    from accelform.plans import certificates

    shown = certificates.read(wish.certificate)
    # A pattern is not a name: any label in its place is one that the certificate is for.
    name = wish.ssl_cname or shown.names[0].replace("*", "service")
    return Trust(certificate=shown.leaf_pem, name=name, own=wish.client_certificate)


def _keys(wish: Wish) -> tuple[str, ...]:
    if not wish.token_signing_key:
        return wish.keys
    from accelform_runtime import tokens

    return (tokens.mint(wish.token_signing_key, wish.name, TOKEN_SECONDS),)


def _touch(cluster: Cluster, wish: Wish, pods: Sequence[Object]) -> None:
    patch = {"metadata": {"annotations": {TOUCHED: _now()}}}
    for pod in pods:
        try:
            cluster.patch(PODS, str(pod["metadata"]["name"]), patch, namespace=wish.namespace)
        except ClusterObjectMissing:
            continue
        except ClusterDenied:  # then it takes the kubelet's own minute
            return


def _restart(cluster: Cluster, wish: Wish) -> None:
    patch: dict[str, Any] = {"spec": {"template": {"metadata": {"annotations": {TOUCHED: _now()}}}}}
    cluster.patch(DEPLOYMENTS, wish.name, patch, namespace=wish.namespace)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
