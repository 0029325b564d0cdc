"""What survives a kill: of the server, of the supervisor, of the command that was changing the box."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from accelform.targets.edge import deployment, health, supervision
from accelform.targets.edge.supervision import Supervision

DEPLOY = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import Bench, EdgeBox, Image
root, label, port, step = sys.argv[2:]
bench, image = Bench(EdgeBox(Path(root))), Image(label, {})
def die():
    os.kill(os.getpid(), signal.SIGKILL)
def watch(text):
    if text.startswith(step):
        die()
if step == "unpacking":
    image.before_end = die
bench.box.deploy(bench.spec(image, port=int(port)), unpack=image.unpack, timeout_seconds=30, progress=watch)
"""
STEPS = ["[1/4]", "unpacking", "[2/4]", "[3/4]", "[4/4]", "service 'digits' is SERVING"]


@pytest.mark.parametrize("state", ["STARTING", "RUNNING"])
def test_a_killed_server_serves_again_within_10_seconds(bench, make_image, port, state):
    """The supervisor replaces a server that got SIGKILL, whether it was up for long or had only begun."""
    bench.provision()
    bench.deploy(make_image(), port=port)
    supervision = Supervision(bench.layout, bench.layout.socket)
    bench.eventually(lambda: supervision.process("digits").state == state, seconds=15, what=state)
    before = bench.server()

    os.kill(before, signal.SIGKILL)

    bench.eventually(
        lambda: before not in bench.processes() and health.check(port) == "SERVING", seconds=10, what="SERVING again"
    )
    assert bench.server() != before
    assert bench.box.service("digits").state == "Healthy"


def test_a_killed_supervisor_is_reported_and_repaired(bench, make_image, port):
    """Its orphaned server counts as unhealthy; provision ends it, and one new server under a new supervisor serves."""
    bench.provision()
    bench.deploy(make_image(), port=port)
    orphan, supervisor = bench.server(), bench.supervisor()
    os.kill(supervisor, signal.SIGKILL)
    bench.eventually(lambda: supervisor not in bench.processes(), seconds=5, what="supervisor gone")

    state, service = bench.box.describe(), bench.box.service("digits")
    assert (state.provisioning_state, service.state) == ("Failed", "Unhealthy")
    assert "does not run" in state.provisioning_errors[0]
    assert "supervisor does not run" in service.reason

    assert bench.provision().provisioning_state == "Succeeded"
    assert bench.box.wait_until_serving("digits", timeout_seconds=20).state == "Healthy"
    assert bench.server() != orphan
    assert sorted(bench.processes()) == sorted([bench.server(), bench.supervisor()])


def test_deploy_repairs_a_box_whose_supervisor_was_killed(bench, make_image, port):
    """A deploy needs no provision before it to get a service back."""
    bench.provision()
    image = make_image()
    bench.deploy(image, port=port)
    os.kill(bench.supervisor(), signal.SIGKILL)

    assert bench.deploy(image, port=port).state == "Healthy"
    assert sorted(bench.processes()) == sorted([bench.server(), bench.supervisor()])


def test_everything_comes_back_after_a_reboot(bench, make_image, port):
    """With every process gone and the socket stale, ensure_running gets all services serving."""
    bench.provision()
    bench.deploy(make_image(), port=port)
    for pid in (bench.supervisor(), bench.server()):
        os.kill(pid, signal.SIGKILL)
    bench.eventually(lambda: not bench.processes(), seconds=5, what="all gone")

    assert bench.box.ensure_running().provisioning_state == "Succeeded"
    assert bench.box.wait_until_serving("digits", timeout_seconds=20).state == "Healthy"


def test_a_service_stopped_from_outside_is_reported_and_repaired(bench, make_image, port):
    """Drift: the state names it, the next deploy starts it again."""
    bench.provision()
    image = make_image()
    bench.deploy(image, port=port)
    Supervision(bench.layout, bench.layout.socket).stop("digits")

    state = bench.box.service("digits")
    assert (state.state, state.reason) == ("Unhealthy", "its server was stopped from outside (STOPPED)")

    assert bench.deploy(image, port=port).state == "Healthy"
    assert image.unpacked == 1


def test_a_removed_image_is_unpacked_again(bench, make_image, port):
    """Drift: where someone removed the unpacked image, the next deploy brings it back."""
    bench.provision()
    image = make_image()
    bench.deploy(image, port=port)
    subprocess.run(["rm", "-r", str(bench.layout.image("digits", image.digest))], check=True)

    assert bench.deploy(image, port=port).state == "Healthy"
    assert image.unpacked == 2


@pytest.mark.parametrize("step", STEPS)
def test_a_first_deploy_killed_at_any_step_is_finished_by_the_next(bench, make_image, port, step):
    """SIGKILL of the command during a first deploy: the next one converges with nothing left over."""
    bench.provision()
    _deploy_killed_at(step, bench, "v1", port)

    assert bench.deploy(make_image("v1"), port=port).state == "Healthy"
    _assert_tidy(bench, make_image("v1"))


@pytest.mark.parametrize("step", STEPS)
def test_an_update_killed_at_any_step_is_finished_by_the_next(bench, make_image, port, step):
    """SIGKILL of the command during an update: the next one converges to the new image."""
    bench.provision()
    bench.deploy(make_image("v1"), port=port)
    _deploy_killed_at(step, bench, "v2", port)

    state = bench.deploy(make_image("v2"), port=port)

    assert (state.state, state.image_digest) == ("Healthy", make_image("v2").digest)
    _assert_tidy(bench, make_image("v2"))


@pytest.mark.parametrize("step", ["unpacking", "[4/4]"])
def test_an_interrupted_update_does_not_spread(bench, make_image, port, other_port, step):
    """Until an interrupted update is repeated, changes to the rest of the box run its last good release."""
    bench.provision(agent_count=1)
    bench.deploy(make_image("v1"), port=port)
    _deploy_killed_at(step, bench, "v2", port)

    bench.provision(agent_count=2)
    bench.deploy(make_image("v3"), port=other_port, name="letters", owner="project/stack/letters")

    bench.box.wait_until_serving("digits", timeout_seconds=20)
    assert '"label": "v1"' in [line for line in bench.box.logs("digits") if '"label"' in line][-1]


@pytest.mark.parametrize("step", ["unpacking", "[4/4]"])
def test_a_box_with_an_interrupted_deploy_can_be_released(bench, port, step):
    """Release removes what an interrupted deploy left, processes included."""
    bench.provision()
    _deploy_killed_at(step, bench, "v1", port)

    bench.box.release("project/stack/box")

    assert bench.processes() == []
    assert not bench.box.root.exists()


def test_a_hung_server_is_started_anew(bench, make_image, port, monkeypatch):
    """A server that runs for long and no longer answers is replaced by the next deploy."""
    monkeypatch.setattr(deployment, "HUNG_SECONDS", 0)
    bench.provision()
    image = make_image()
    bench.deploy(image, port=port, drain_seconds=0)
    hung = bench.server()
    os.kill(hung, signal.SIGSTOP)
    supervision = Supervision(bench.layout, bench.layout.socket)
    bench.eventually(lambda: supervision.process("digits").uptime_seconds >= 1, seconds=5, what="a second of uptime")

    assert bench.deploy(image, port=port, drain_seconds=0).state == "Healthy"
    assert bench.server() != hung


def test_a_service_can_be_removed_while_the_supervisor_hangs(bench, make_image, port):
    """Remove ends server and supervisor for good; provision then gets the box going again."""
    bench.provision()
    bench.deploy(make_image(), port=port)
    os.kill(bench.supervisor(), signal.SIGSTOP)

    bench.box.remove("digits", "project/stack/service")

    assert bench.processes() == []
    assert bench.box.resident() == []
    assert bench.provision().provisioning_state == "Succeeded"


def test_a_hung_supervisor_does_not_block_a_release(bench, make_image, port):
    """A supervisor that no longer answers is killed, and its services with it."""
    bench.provision()
    bench.deploy(make_image(), port=port)
    os.kill(bench.supervisor(), signal.SIGSTOP)

    bench.box.release("project/stack/box")

    assert bench.processes() == []
    assert not bench.box.root.exists()


def test_a_stopped_program_is_unknown_to_nobody(bench):
    """Orders about a program that the supervisor does not have are answered, not raised."""
    bench.provision()
    supervision = Supervision(bench.layout, bench.layout.socket)

    supervision.stop("nothing")

    assert supervision.process("nothing") is None


def _deploy_killed_at(step: str, bench, label: str, port: int) -> None:
    here = os.path.dirname(__file__)
    done = subprocess.run(
        [sys.executable, "-c", DEPLOY, here, str(bench.box.root), label, str(port), step],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def _assert_tidy(bench, image) -> None:
    """Only what the service runs from is in its folder, and only its processes run."""
    names = sorted(entry.name.split("-")[0] for entry in bench.layout.service("digits").iterdir())
    record = json.loads(bench.layout.service_record("digits").read_text())
    unpacked = bench.layout.image("digits", image.digest).name
    assert names == sorted(["config", "keys", "record.json", "service.log", unpacked])
    assert (record["owner"], record["serving"], record["previous"]) == ("project/stack/service", True, None)
    assert sorted(bench.processes()) == sorted([bench.server(), bench.supervisor()])


def behave(bench, image, **behaviour: Any) -> None:
    """What the service's next server does."""
    model = bench.layout.image("digits", image.digest) / "rootfs" / "model" / "behaviour.json"
    model.write_text(json.dumps({"label": image.label, **behaviour}))


def exits(bench) -> int:
    return len(Supervision(bench.layout, bench.layout.socket).exits("digits", since=0))


def test_a_server_that_cannot_start_is_tried_for_ever(bench, make_image, port, monkeypatch):
    """After many more failed starts than the wait grows by, it comes back by itself once it can."""
    monkeypatch.setattr(supervision, "LONGEST_WAIT_SECONDS", 1)
    bench.provision()
    image = make_image()
    bench.deploy(image, port=port)
    behave(bench, image, exit_code=2, last_words="the port is taken")
    os.kill(bench.server(), signal.SIGKILL)
    bench.eventually(lambda: exits(bench) >= 5, seconds=120, what="five failed starts")
    assert bench.box.service("digits").state == "Unhealthy"

    behave(bench, image)

    bench.eventually(lambda: health.check(port) == "SERVING", seconds=120, what="SERVING again")


@pytest.mark.parametrize("state", ["BACKOFF", "STOPPED"])
def test_starting_the_box_starts_what_does_not_run(bench, make_image, port, state):
    """A service that waits for its next try, or was stopped, is started at once; so it is by a deploy."""
    bench.provision()
    image = make_image()
    bench.deploy(image, port=port)
    found = Supervision(bench.layout, bench.layout.socket)
    if state == "BACKOFF":
        behave(bench, image, exit_code=2, last_words="the port is taken")
        os.kill(bench.server(), signal.SIGKILL)
        bench.eventually(lambda: exits(bench) >= 3, seconds=120, what="failed starts")
        bench.eventually(lambda: found.process("digits").state == state, seconds=120, what=state)
        behave(bench, image)
    else:
        found.stop("digits")

    bench.said.clear()
    bench.box.ensure_running(progress=bench.said.append)

    assert bench.box.wait_until_serving("digits", timeout_seconds=60).state == "Healthy"
    assert any("starting service 'digits'" in text for text in bench.said) or state == "BACKOFF"


def test_other_keys_have_to_be_taken(bench, make_image, port):
    """A deploy with other keys fails where the server goes on with the last ones; the earlier files are put back."""
    from accelform.errors import ServiceNotReady

    bench.provision()
    image = make_image()
    bench.deploy(image, port=port)
    keys = bench.layout.service("digits") / "keys-a.json"
    before = keys.read_bytes()
    behave(bench, image, keeps_old_keys=True)
    os.kill(bench.server(), signal.SIGKILL)
    bench.eventually(lambda: health.check(port) == "SERVING", seconds=60, what="SERVING again")

    with pytest.raises(ServiceNotReady, match="did not take its new keys"):
        bench.deploy(image, port=port, keys=("third-key-third-key",), timeout_seconds=3)

    assert keys.read_bytes() == before
