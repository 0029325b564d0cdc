"""The gate: what it waits for, what it says meanwhile, and when it stops waiting."""

from __future__ import annotations

import re
from typing import Any

import pytest
import trustme

from accelform.errors import NotOwner, ServiceNotReady
from accelform.targets.kubernetes import admission
from accelform.targets.kubernetes import gate as gate_module


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of patience are fractions of one here."""
    monkeypatch.setattr(gate_module, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(gate_module, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(admission, "REACH_SECONDS", 0.5)
    monkeypatch.setattr(admission, "TOUCH_SECONDS", 0.5)


def test_a_service_that_serves(cluster: Any, pods: Any, gate: Any, wish: Any, told: list[str]) -> None:
    """All pods ready, the address answers, both keys are taken: the URI comes back, and the last line has it."""
    pods.start()
    cluster.say("serving")

    address = gate.wait(wish(), timeout_seconds=10)

    assert address.scoring_uri == f"http://127.0.0.1:{pods.port}"
    assert re.fullmatch(r"\[5/5\] 'scheduled' is SERVING at http://127\.0\.0\.1:\d+, after \d\.\d s", told[-1])
    assert cluster.patches == []


def test_steps_are_told_as_they_come(
    cluster: Any, pods: Any, gate: Any, wish: Any, told: list[str], later: Any
) -> None:
    """Numbered steps, each line once, at most one a second; a cluster that is silent for a while ends nothing."""
    pods.start()
    wished = cluster.say("serving") and wish()
    cluster.say("scheduled")
    cluster.silent_for = 2
    later(2.5, lambda: cluster.say("serving"))

    gate.wait(wished, timeout_seconds=10)

    assert told[0] == "[1/5] cluster 'recorded' does not answer; asking again"
    assert len(told) == len(set(told)) <= 4
    assert all(re.match(r"\[[1-5]/5\] ", line) for line in told)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("image-missing", "0 of 1 servers started; pod image-missing-"),
        ("user-error", "its server ended with exit code 2, 2 times so far; its log ends with: model is damaged"),
    ],
)
def test_what_waiting_cannot_cure_ends_early(
    cluster: Any, gate: Any, wish: Any, told: list[str], case: str, words: str
) -> None:
    """An image that is not there, a server that says somebody has to act: told in seconds, long before the deadline."""
    cluster.say(case)
    cluster.words = ['{"event": "error", "message": "model is damaged"}', '{"event": "end"}']

    with pytest.raises(ServiceNotReady) as caught:
        gate.wait(wish(), timeout_seconds=3600)

    assert words in str(caught.value)
    assert "Everything stays as it is; settle this and run `pulumi up` again" in str(caught.value)
    assert any("pod " in line for line in told), "the first real error is shown at once"


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("no-fpga", "no FPGA of pool 'westus2-pool' is free"),
        ("registry-away", "connection refused"),
        ("never-ready", "0 of 1 pods serving; pod never-ready-"),
        ("not-allowed", "no pod can be created: pods "),
        ("old-serves", "1 pod of the last version serving meanwhile"),
    ],
)
def test_the_deadline_says_why(cluster: Any, gate: Any, wish: Any, case: str, words: str) -> None:
    """What may pass is waited for until the deadline, and then told with its reason."""
    cluster.say(case)

    with pytest.raises(ServiceNotReady) as caught:
        gate.wait(wish(), timeout_seconds=0.2)

    assert words in str(caught.value)
    assert "0.2 s (deployment_timeout_seconds)" in str(caught.value) or case == "old-serves"


def test_somebody_elses_service(cluster: Any, gate: Any, wish: Any) -> None:
    """Another owner's Deployment of the same name is refused, and to a refresh it is gone."""
    cluster.say("serving")

    with pytest.raises(NotOwner, match="belongs to a/b/webservice, not to x/y/z"):
        gate.wait(wish(owner="x/y/z"), timeout_seconds=5)
    assert gate.look(wish(owner="x/y/z")) is None


def test_another_image_is_not_the_wished_one(cluster: Any, gate: Any, wish: Any) -> None:
    """Pods that serve, but of an image that somebody put there by hand."""
    cluster.say("serving")

    with pytest.raises(ServiceNotReady, match=r"is of image .* and not of wished@sha256:1"):
        gate.wait(wish(image_location="wished@sha256:1"), timeout_seconds=5)


def test_no_deployment(cluster: Any, gate: Any, wish: Any) -> None:
    """A Deployment that somebody deleted is told at once with the way out; a refresh finds the service gone."""
    wished = cluster.say("serving") and wish()
    cluster.seen = {}

    with pytest.raises(ServiceNotReady, match="its Deployment is gone; `pulumi up --refresh` makes it again"):
        gate.wait(wished, timeout_seconds=5)
    assert gate.look(wished) is None


def test_a_silent_cluster_is_told_at_the_deadline(cluster: Any, gate: Any, wish: Any) -> None:
    """An API server that does not come back is the reason then."""
    wished = cluster.say("serving") and wish()
    cluster.silent_for = 1000

    with pytest.raises(ServiceNotReady, match="its cluster does not answer: cluster 'recorded'"):
        gate.wait(wished, timeout_seconds=0.2)


def test_new_keys_reach_the_pods(cluster: Any, pods: Any, gate: Any, wish: Any, told: list[str]) -> None:
    """Pods that do not know the new key yet are touched, so that their kubelet brings the Secret up to date at once."""
    pods.keys = {"key-secondary"}
    pods.start()
    cluster.say("serving")
    cluster.on_patch = lambda: pods.keys.add("key-primary")

    gate.wait(wish(access_changed=True), timeout_seconds=10)

    assert [kind for kind, _ in cluster.patches] == ["pods", "pods"]
    assert "[5/5] all pods serve; a pod does not take the service's keys yet" in told


def test_pods_that_stay_deaf_are_restarted(
    cluster: Any, pods: Any, gate: Any, wish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where touching does not help, the pods are restarted one after the other, once."""
    monkeypatch.setattr(admission, "RESTART_SECONDS", 0.7)
    pods.keys = set()
    pods.start()
    cluster.say("serving")

    with pytest.raises(ServiceNotReady, match="a pod does not take the service's keys yet"):
        gate.wait(wish(), timeout_seconds=2)

    assert [row for row in cluster.patches if row[0] == "deployments"] == [("deployments", "scheduled")]


def test_an_address_without_a_way_to_it(cluster: Any, gate: Any, wish: Any, told: list[str]) -> None:
    """Where nobody can be reached from here the pods' own probes count, and that is said; new keys touch the pods."""
    cluster.say("serving")

    gate.wait(wish(access_changed=True), timeout_seconds=10)

    assert "is SERVING by its pods' own word (no way from here: Connection refused)" in told[-1]
    assert [kind for kind, _ in cluster.patches] == ["pods", "pods"]


def test_with_tls_the_very_certificate_counts(cluster: Any, pods: Any, gate: Any, wish: Any) -> None:
    """A pod that still shows the last certificate does not count, however valid that is."""
    authority = trustme.CA()
    old, new = authority.issue_cert("digits.example"), authority.issue_cert("digits.example")
    pods.credentials = _credentials(old)
    pods.start()
    cluster.say("serving")

    def wished(leaf: trustme.LeafCert) -> Any:
        shown = b"".join(part.bytes() for part in leaf.cert_chain_pems)
        return wish(ssl_enabled=True, ssl_cname="digits.example", certificate=shown)

    assert gate.wait(wished(old), timeout_seconds=10).scoring_uri == f"https://digits.example:{pods.port}"
    with pytest.raises(ServiceNotReady, match="does not answer with SERVING and the wished certificate yet"):
        gate.wait(wished(new), timeout_seconds=1)


@pytest.mark.parametrize(
    ("case", "state"),
    [("serving", "Healthy"), ("no-fpga", "Unschedulable"), ("image-missing", "Failed"), ("old-serves", "Unhealthy")],
)
def test_a_look(cluster: Any, pods: Any, gate: Any, wish: Any, told: list[str], case: str, state: str) -> None:
    """A refresh finds the state that Azure ML has a word for, and says why where it is not Healthy."""
    pods.start()
    cluster.say(case)

    seen = gate.look(wish())

    assert seen.state == state
    assert seen.address.scoring_uri == f"http://127.0.0.1:{pods.port}"
    assert bool(told) == (state != "Healthy") == bool(seen.reason)


def test_a_look_asks_the_service_itself(cluster: Any, pods: Any, gate: Any, wish: Any) -> None:
    """Pods that call themselves ready while no call with the keys comes through are not healthy."""
    pods.keys = set()
    pods.start()
    cluster.say("serving")

    assert gate.look(wish()).state == "Unhealthy"


def _credentials(leaf: trustme.LeafCert) -> Any:
    import grpc

    chain = b"".join(part.bytes() for part in leaf.cert_chain_pems)
    return grpc.ssl_server_credentials([(leaf.private_key_pem.bytes(), chain)])
