"""What an API server, or the way to it, answered, as Accelform's errors: mapped here and nowhere else."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from accelform.errors import (
    AccelformError,
    ClusterConflict,
    ClusterDenied,
    ClusterObjectMissing,
    ClusterRefused,
    ClusterUnreachable,
)

_NO_RIGHT = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)"'
    r'(?: in API group "(?P<group>[^"]*)")?(?: in the namespace "(?P<namespace>[^"]+)")?'
)
_ANONYMOUS = "system:anonymous"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked of which cluster; `what` names the object for readers, such as `node gpu-1`."""

    cluster: str
    verb: str
    what: str

    def __str__(self) -> str:
        return f"cannot {self.verb} {self.what} in {self.cluster}"


def of_answer(request: Request, *, status: int, body: bytes) -> AccelformError:
    """The error for an answer of status 400 or more; `body` is a Kubernetes `Status` or whatever stood in front."""
    message = _message(body) or f"HTTP status {status}"
    if status == 401:
        return ClusterDenied(
            f"{request}: it does not accept the kubeconfig's credentials (401); "
            "renew them (a token may have expired, an `exec` command may have failed) and try again"
        )
    if status == 403:
        return _forbidden(request, message)
    if status == 404:
        return ClusterObjectMissing(f"{request}: {message}")
    if status == 409:
        return ClusterConflict(f"{request}: {message}")
    if status == 429 or status >= 500:
        return ClusterUnreachable(f"{request}: the API server failed with status {status}: {message}; try again later")
    return ClusterRefused(f"{request}: the API server refused it with status {status}: {message}")


def of_silence(request: Request, *, server: str, error: BaseException) -> ClusterUnreachable:
    """The error where no answer came: no route, no listener, no trust, too slow."""
    return ClusterUnreachable(
        f"{request}: its API server {server} cannot be reached: {_reason(error)}; "
        "check that the cluster runs and that the kubeconfig's context is the one you mean"
    )


def no_rights(cluster: str, rights: list[str]) -> ClusterDenied:
    """The error that lists everything the kubeconfig's user may not do, at once."""
    listed = "".join(f"\n  - {right}" for right in rights)
    return ClusterDenied(
        f"the kubeconfig's user may not do what is needed in {cluster}:{listed}\n"
        "Grant these with a ClusterRole (rbac.authorization.k8s.io), or use a context of another user."
    )


def _forbidden(request: Request, message: str) -> AccelformError:
    """403 means a missing right, or an admission rule (Pod Security, quota, webhook) that says no to the object."""
    found = _NO_RIGHT.search(message)
    if found is None:
        return ClusterRefused(f"{request}: the cluster's rules forbid it: {message}")
    resource = found["resource"] + (f".{found['group']}" if found["group"] else "")
    where = f"in namespace {found['namespace']!r}" if found["namespace"] else "at cluster scope"
    if found["user"] == _ANONYMOUS:
        return ClusterDenied(
            f"{request}: the kubeconfig gives no credentials, and an anonymous caller may not {found['verb']} "
            f"{resource} {where}; check the context's user (an `exec` command may have failed)"
        )
    return ClusterDenied(
        f"{request}: user {found['user']!r} may not {found['verb']} {resource} {where}; "
        "grant it with a Role or ClusterRole, or use a context of another user"
    )


def _message(body: bytes) -> str:
    text = body.decode("utf-8", "replace").strip()
    try:
        status = json.loads(text)
    except ValueError:
        return " ".join(text.split())[:300]
    return str(status.get("message") or "") if isinstance(status, dict) else ""


def _reason(error: BaseException) -> str:
    """The innermost reason in plain words; urllib3 wraps it in the pool's and the retries' words."""
    inner = getattr(error, "reason", None)
    if isinstance(inner, BaseException):
        return _reason(inner)
    text = str(inner or error) or type(error).__name__
    for pattern, words in _WORDS:
        if re.search(pattern, text):
            return words
    return " ".join(re.sub(r"<[^>]*>:? ?", "", text).split())


_WORDS = (
    (r"Connection refused", "nothing listens there"),
    (r"CERTIFICATE_VERIFY_FAILED", "its certificate is not signed by the authority in the kubeconfig"),
    (r"Hostname mismatch|doesn't match|IP address mismatch", "its certificate is for another name"),
    (r"Name or service not known|getaddrinfo|Failed to resolve|name resolution", "its name cannot be resolved"),
    (r"timed out", "it did not answer in time"),
)
