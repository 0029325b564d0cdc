"""What an API server answered, told to people."""

from __future__ import annotations

import json

import pytest
import urllib3

from accelform.errors import (
    AccelformError,
    ClusterConflict,
    ClusterDenied,
    ClusterObjectMissing,
    ClusterRefused,
    ClusterUnreachable,
)
from accelform.targets.kubernetes.failures import Request, no_rights, of_answer, of_silence

REQUEST = Request(cluster="cluster 'lab'", verb="patch", what="nodes 'node-1'")


def status(message: str) -> bytes:
    return json.dumps({"kind": "Status", "status": "Failure", "message": message}).encode()


@pytest.mark.parametrize(
    ("code", "message", "kind", "words"),
    [
        (401, "Unauthorized", ClusterDenied, "does not accept the kubeconfig's credentials (401); renew them"),
        (
            403,
            'nodes "node-1" is forbidden: User "eve" cannot patch resource "nodes" in API group "" at '
            "the cluster scope",
            ClusterDenied,
            "user 'eve' may not patch nodes at cluster scope; grant it",
        ),
        (
            403,
            'deployments.apps is forbidden: User "eve" cannot list resource "deployments" in API group "apps" '
            'in the namespace "vision"',
            ClusterDenied,
            "user 'eve' may not list deployments.apps in namespace 'vision'",
        ),
        (
            403,
            'nodes is forbidden: User "system:anonymous" cannot list resource "nodes" in API group "" at '
            "the cluster scope",
            ClusterDenied,
            "the kubeconfig gives no credentials",
        ),
        (
            403,
            'pods "p" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
            ClusterRefused,
            'the cluster\'s rules forbid it: pods "p" is forbidden: violates PodSecurity',
        ),
        (404, 'nodes "node-1" not found', ClusterObjectMissing, 'nodes "node-1" not found'),
        (409, "the object has been modified", ClusterConflict, "the object has been modified"),
        (422, "spec.x: Invalid value", ClusterRefused, "refused it with status 422: spec.x: Invalid value"),
        (429, "too many requests", ClusterUnreachable, "failed with status 429"),
        (500, "etcdserver: request timed out", ClusterUnreachable, "etcdserver: request timed out; try again later"),
    ],
)
def test_answers(code: int, message: str, kind: type[AccelformError], words: str) -> None:
    """Each status becomes its error, which says what was asked of which cluster and why it failed."""
    error = of_answer(REQUEST, status=code, body=status(message))

    assert type(error) is kind
    assert str(error).startswith("cannot patch nodes 'node-1' in cluster 'lab': ")
    assert words in str(error)


def test_an_answer_that_is_no_status() -> None:
    """A proxy's page is cut short, and an empty answer is told by its number."""
    page = of_answer(REQUEST, status=502, body=b"<html>\n<h1>Bad  Gateway</h1>" + b"x" * 1000)

    assert "<html> <h1>Bad Gateway</h1>" in str(page)
    assert len(str(page)) < 500
    assert "HTTP status 503" in str(of_answer(REQUEST, status=503, body=b""))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(111, "Connection refused"), "nothing listens there"),
        (
            OSError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"),
            "its certificate is not signed by the authority in the kubeconfig",
        ),
        (OSError("Name or service not known"), "its name cannot be resolved"),
        (OSError("something else"), "something else"),
        (
            urllib3.exceptions.MaxRetryError(None, "/", OSError("timed out")),
            "it did not answer in time",
        ),
    ],
)
def test_no_answer(error: BaseException, words: str) -> None:
    """Why no answer came is told in plain words, with the server and what to check."""
    message = str(of_silence(REQUEST, server="https://10.0.0.1:6443", error=error))

    assert f"its API server https://10.0.0.1:6443 cannot be reached: {words}; check" in message


def test_missing_rights_come_together() -> None:
    """One message lists every missing right and how to grant it."""
    message = str(no_rights("cluster 'lab'", ["patch nodes at cluster scope", "list pods in all namespaces"]))

    assert "\n  - patch nodes at cluster scope\n  - list pods in all namespaces\n" in message
    assert "ClusterRole" in message
