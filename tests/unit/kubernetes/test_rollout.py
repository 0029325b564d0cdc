"""What is read from a Deployment and its pods, on what a real cluster said (data/record.py): counts, steps, reasons."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from accelform.targets.kubernetes import pod_errors, rollout
from accelform.targets.kubernetes.rollout import Rollout

DATA = Path(__file__).parent / "data"
FPGA = "microsoft.com/fpga_catapult"
NOBODY = "127.0.0.1:1/accelform/digits@sha256:" + "0" * 64


def recorded(case: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / f"{case}.json").read_text())
    return found


def read(seen: dict[str, Any]) -> Rollout:
    return rollout.read(
        seen["deployment"], seen["replica_sets"], seen["pods"], seen["events"], resource_name=FPGA, pool="westus2-pool"
    )


def test_all_pods_serve() -> None:
    """Two ready pods of the newest template, and none of an earlier one: done."""
    found = read(recorded("serving"))

    assert found.is_done
    assert (found.wished, found.ready, found.old, found.problem) == (2, 2, 0, None)
    assert (found.state, found.step) == ("Healthy", (4, "2 of 2 pods serving"))


def test_pods_on_their_way() -> None:
    """Without anything wrong it is a matter of time."""
    found = read(recorded("scheduled"))

    assert not found.is_done
    assert found.step[0] in (2, 3)
    assert found.problem is None or found.problem.cause == "unschedulable"


def test_a_failed_rollout_leaves_an_old_replica_serving() -> None:
    """The new image cannot be pulled; the pod that was not replaced yet goes on, and that is told."""
    found = read(recorded("old-serves"))

    assert not found.is_done
    assert (found.old_ready, found.ready, found.created) == (1, 0, 1)
    assert found.step == (3, "0 of 2 servers started; 1 pod of the last version serving meanwhile") or found.step == (
        2,
        "1 of 2 pods scheduled; 1 pod of the last version serving meanwhile",
    )
    assert (found.state, found.problem and found.problem.cause) == ("Unhealthy", "image")


def test_a_change_that_the_controller_has_not_seen_is_not_done() -> None:
    """Right after a change the pods are still those of the last generation, however ready."""
    seen = recorded("serving")
    seen["deployment"]["metadata"]["generation"] += 1

    found = read(seen)

    assert (found.is_done, found.ready, found.old_ready) == (False, 0, 2)
    assert found.step == (1, "the cluster takes over generation 2 of the deployment")


def test_pods_that_leave_do_not_count() -> None:
    """A pod that is being deleted neither serves nor stands in the way."""
    seen = recorded("serving")
    leaving = copy.deepcopy(seen["pods"][0])
    leaving["metadata"]["deletionTimestamp"] = "2026-11-26T06:00:00Z"

    extra = read({**seen, "pods": [*seen["pods"], leaving]})
    fewer = read({**seen, "pods": [seen["pods"][1], leaving]})

    assert extra.is_done
    assert (fewer.is_done, fewer.ready, fewer.state) == (False, 1, "Transitioning")


def test_pods_of_others_do_not_count() -> None:
    """A pod that carries the labels but belongs to nothing of this Deployment is not its replica."""
    seen = recorded("serving")
    foreign = copy.deepcopy(seen["pods"][0])
    foreign["metadata"]["ownerReferences"] = []

    assert read({**seen, "pods": [foreign, seen["pods"][1]]}).ready == 1


@pytest.mark.parametrize(
    ("case", "cause", "hopeless", "words", "state"),
    [
        ("no-fpga", "unschedulable", False, "no FPGA of pool 'westus2-pool' is free (0/4 nodes", "Unschedulable"),
        ("image-missing", "image", True, "cannot be pulled: not found", "Failed"),
        ("registry-away", "image", False, f"image {NOBODY} cannot be pulled: failed to do request", "Failed"),
        ("image-invalid", "image", True, "invalid reference format", "Failed"),
        ("user-error", "crash", True, "its server ended with exit code 2, 2 times so far", "Failed"),
        ("crash-loop", "crash", False, "its server ended with exit code 1", "Failed"),
        ("started-again", "crash", False, "was started again after it ended with exit code 1", "Failed"),
        ("no-memory", "crash", False, "needed more memory than memory_gb_limit (OOMKilled)", "Failed"),
        ("no-program", "configuration", False, 'exec: "/no/such/program"', "Failed"),
        ("no-secret-key", "configuration", False, 'CreateContainerConfigError: secret "absent" not found', "Failed"),
        ("no-secret", "volume", False, 'FailedMount: MountVolume.SetUp failed for volume "access"', "Failed"),
        ("probe-restarts", "crash", False, "started again after it ended with signal 9 (exit code 137)", "Failed"),
        ("node-refuses", "refused", False, "its node refused it (OutOfmicrosoft.com/fpga_catapult)", "Failed"),
    ],
)
def test_what_keeps_a_pod_from_serving(case: str, cause: str, hopeless: bool, words: str, state: str) -> None:
    """Each trouble is told as what it is, with the cluster's own reason, and whether waiting can help."""
    found = read(recorded(case))

    assert found.problem is not None
    assert (found.problem.cause, found.problem.hopeless) == (cause, hopeless)
    assert words in found.problem.text
    assert found.problem.pod.startswith(case)
    assert (found.state, found.is_done) == (state, False)


def test_pods_that_may_not_be_created() -> None:
    """Pod Security refuses the pods, so there are none; the Deployment's condition says why."""
    found = read(recorded("not-allowed"))

    assert (found.created, found.problem, found.state) == (0, None, "Failed")
    assert 'violates PodSecurity "restricted:latest": privileged' in found.refused


def test_a_server_that_never_gets_ready() -> None:
    """Nothing is wrong but the probe: that is no reason to worry while it starts, and the reason at the deadline."""
    seen = recorded("never-ready")

    found = read(seen)

    assert (found.problem, found.state, found.step) == (None, "Transitioning", (4, "0 of 1 pods serving"))
    assert "Readiness probe failed" in pod_errors.last_probe(seen["pods"], seen["events"])


def test_messages_stay_short() -> None:
    """A container runtime's chain of reasons is cut to its end."""
    for path in DATA.glob("*.json"):
        problem = read(recorded(path.stem)).problem
        assert problem is None or len(problem.text) < 700, path
