"""What is wrong with a pod, read from the pod and its events; nothing is asked of the cluster.

Kubernetes tells it in five places: a pod's phase and reason (the kubelet refused it), its condition PodScheduled, its
containers' states, how their last run ended, and, for volumes and sandboxes, only in events.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from accelform.targets.kubernetes._conditions import condition

Object = Mapping[str, Any]
Cause = Literal["unschedulable", "refused", "image", "configuration", "volume", "crash"]

_IMAGE: Final = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
)
_CONFIGURATION: Final = (
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "PreCreateHookError",
    "PreStartHookError",
    "PostStartHookError",
)
_NEVER_PULLED = re.compile(
    r"not found|manifest unknown|unauthorized|authorization failed|denied|forbidden|no match for platform|invalid",
    re.IGNORECASE,
)
"""Words of container runtimes for an image that is not there, or not for this node: waiting changes nothing."""
_PULLING = re.compile(r'.*failed to (?:resolve reference|pull and unpack image) "[^"]*": ', re.DOTALL)
_VOLUME_EVENTS: Final = ("FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox", "FailedMapVolume")
USER_ERROR: Final = 2
"""Exit code of a server that says that someone has to change something."""
RUNS_ALLOWED: Final = 3
_OUT_OF_MEMORY: Final = "OOMKilled"
_SHOWN: Final = 400
"""Characters of a message; container runtimes repeat themselves."""


@dataclass(frozen=True, kw_only=True)
class PodProblem:
    """Why a pod does not serve. `hopeless`: waiting will not help. `log`: the container whose log tells more, or "".

    `pool_is_full`: nothing but a free FPGA is missing.
    """

    pod: str
    cause: Cause
    text: str
    hopeless: bool = False
    log: str = ""
    pool_is_full: bool = False

    def __str__(self) -> str:
        return f"pod {self.pod}: {self.text}"


def problem_of(
    pod: Object, events: Sequence[Object] = (), *, resource_name: str = "", pool: str = ""
) -> PodProblem | None:
    """What keeps `pod` from serving, or None: all is well so far, or it is being deleted.

    `resource_name` and `pool` name what an FPGA is called, so that a full pool is told as one.
    """
    name = str(pod["metadata"]["name"])
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return None
    if status.get("phase") == "Failed" and status.get("reason"):
        text = f"its node refused it ({status['reason']}): {_short(status.get('message'))}"
        return PodProblem(pod=name, cause="refused", text=text)
    unscheduled = condition(pod, "PodScheduled")
    if unscheduled.get("status") == "False":
        return _unscheduled(name, str(unscheduled.get("message") or ""), resource_name, pool)
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        found = _of_container(name, container)
        if found:
            return found
    if not _has_started(status):
        return _of_events(name, str(pod["metadata"].get("uid") or ""), events)
    return None


def _unscheduled(pod: str, message: str, resource_name: str, pool: str) -> PodProblem:
    if resource_name and f"Insufficient {resource_name}" in message:
        text = f"no FPGA of pool {pool!r} is free ({_short(message)})"
        return PodProblem(pod=pod, cause="unschedulable", text=text, pool_is_full=True)
    return PodProblem(pod=pod, cause="unschedulable", text=f"no node takes it ({_short(message)})")


def _of_container(pod: str, container: Object) -> PodProblem | None:
    waiting = (container.get("state") or {}).get("waiting") or {}
    reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    if reason in _IMAGE:
        hopeless = reason == "InvalidImageName" or bool(_NEVER_PULLED.search(message))
        image = str(container.get("image"))
        text = f"image {image} cannot be pulled: {_short(_pull_error(message, image)) or reason}"
        return PodProblem(pod=pod, cause="image", text=text, hopeless=hopeless)
    if reason in _CONFIGURATION:
        return PodProblem(pod=pod, cause="configuration", text=f"{reason}: {_short(message)}")
    ended = (container.get("state") or {}).get("terminated") or (container.get("lastState") or {}).get("terminated")
    if not ended or container.get("ready"):
        return None
    runs = int(container.get("restartCount") or 0)
    runs += 1 if (container.get("state") or {}).get("terminated") else 0
    text = f"its server ended {_how(ended)}" + (f", {runs} times so far" if runs > 1 else "")
    if _is_running(container):
        text = f"its server was started again after it ended {_how(ended)}"
    code = ended.get("exitCode")
    hopeless = runs >= RUNS_ALLOWED or code == USER_ERROR or (runs > 1 and ended.get("reason") == _OUT_OF_MEMORY)
    return PodProblem(pod=pod, cause="crash", text=text, hopeless=hopeless, log=str(container.get("name") or ""))


def _pull_error(message: str, image: str) -> str:
    """The end of a container runtime's chain of reasons, each of which repeats the image."""
    return _PULLING.sub("", message).removeprefix(f"{image}: ")


def _how(ended: Object) -> str:
    reason, code = str(ended.get("reason") or ""), ended.get("exitCode")
    if reason == _OUT_OF_MEMORY:
        return "because it needed more memory than memory_gb_limit (OOMKilled)"
    if reason in ("StartError", "ContainerCannotRun"):
        return f"before it ran: {_short(ended.get('message'))}"
    if isinstance(code, int) and code > 128:
        return f"with signal {code - 128} (exit code {code})"
    return f"with exit code {code}"


def _of_events(pod: str, uid: str, events: Sequence[Object]) -> PodProblem | None:
    mine = [
        event
        for event in events
        if event.get("reason") in _VOLUME_EVENTS and (event.get("involvedObject") or {}).get("uid") == uid
    ]
    if not mine:
        return None
    newest = max(mine, key=_when)
    return PodProblem(pod=pod, cause="volume", text=f"{newest['reason']}: {_short(newest.get('message'))}")


def _when(event: Object) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return str(next((time for time in times if time), ""))


def _has_started(status: Object) -> bool:
    return any(_is_running(container) for container in status.get("containerStatuses") or ())


def _is_running(container: Object) -> bool:
    return bool((container.get("state") or {}).get("running"))


def _short(message: Any) -> str:
    text = " ".join(str(message or "").split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def last_probe(pods: Sequence[Object], events: Sequence[Object]) -> str:
    """What the newest failed probe of one of `pods` said, or ""."""
    uids = {str(pod["metadata"].get("uid")): str(pod["metadata"]["name"]) for pod in pods}
    failed = [
        event
        for event in events
        if event.get("reason") == "Unhealthy" and (event.get("involvedObject") or {}).get("uid") in uids
    ]
    if not failed:
        return ""
    newest = max(failed, key=_when)
    return f"pod {uids[newest['involvedObject']['uid']]}: {_short(newest.get('message'))}"
