"""A service's life on a box: deployed, changed, failed, replaced, removed."""

from __future__ import annotations

import errno
import json
import os
import re
import socket

import pytest

from accelform.errors import BoxFull, BoxMissing, NoFpgaFree, NotOwner, PortInUse, ServiceNotReady
from accelform.targets import calls
from accelform.targets.edge import health
from accelform_runtime.keys import KeyFile


def test_deploy_returns_a_healthy_service(bench, make_image, port):
    """A deployed service answers SERVING on its port and holds an FPGA; the steps are numbered."""
    bench.provision()

    state = bench.deploy(make_image(), port=port)

    assert (state.state, state.reason, state.scoring_uri) == ("Healthy", "", f"http://127.0.0.1:{port}")
    assert health.check(port) == "SERVING"
    assert [(row.fpga, row.service, row.port) for row in bench.box.resident()] == [(0, "digits", port)]
    assert [text[:5] for text in bench.said if text.startswith("[")] == ["[1/4]", "[2/4]", "[3/4]", "[4/4]"]


def test_the_server_runs_from_the_image_with_a_clean_environment(bench, make_image, port, monkeypatch):
    """Neither the working tree nor the caller's variables reach the server, and the supervisor keeps no secret."""
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "do-not-keep-me")
    bench.provision()
    bench.deploy(make_image(), port=port)

    first = json.loads(bench.box.logs("digits")[0])

    assert first["environment"] == ["LANG", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH"]
    assert first["module_path"].startswith(f"{bench.box.root}/services/digits/")
    for pid in bench.processes():
        with open(f"/proc/{pid}/environ", "rb") as environment:
            assert b"do-not-keep-me" not in environment.read()


def test_keys_are_nowhere_in_clear(bench, make_image, port):
    """No file of the box and no command line holds a key; the key file knows both."""
    bench.provision()
    bench.deploy(make_image(), port=port)

    for path in bench.box.root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert b"first-key" not in path.read_bytes(), path
    for pid in bench.processes():
        with open(f"/proc/{pid}/cmdline", "rb") as words:
            assert b"first-key" not in words.read()
    (keys,) = bench.layout.service("digits").glob("keys-*.json")
    assert keys.stat().st_mode & 0o777 == 0o600
    assert KeyFile(keys).verify("second-key-second-key")


def test_the_same_deploy_again_changes_nothing(bench, make_image, port):
    """A repeated deploy neither unpacks nor restarts."""
    bench.provision()
    image = make_image()
    bench.deploy(image, port=port)
    before = bench.server()

    bench.deploy(image, port=port)

    assert (bench.server(), image.unpacked) == (before, 1)


def test_tags_and_keys_change_without_a_pause(bench, make_image, port):
    """The running server takes over other keys; tags are only remembered."""
    bench.provision()
    image = make_image()
    bench.deploy(image, port=port)
    before = bench.server()

    state = bench.deploy(image, port=port, tags={"team": "vision"}, keys=("third-key-third-key",))

    (keys,) = bench.layout.service("digits").glob("keys-*.json")
    assert (bench.server(), dict(state.tags)) == (before, {"team": "vision"})
    assert KeyFile(keys).verify("third-key-third-key")
    assert not KeyFile(keys).verify("first-key-first-key")


def test_another_image_replaces_the_server_with_a_short_announced_pause(bench, make_image, port):
    """The new image is unpacked while the old one serves; the pause is announced and measured; the old one goes."""
    bench.provision()
    bench.deploy(make_image("v1"), port=port)
    before = bench.server()
    bench.said.clear()
    new = make_image("v2")
    seen = []
    new.before_end = lambda: seen.append(health.check(port))

    state = bench.deploy(new, port=port)

    pause = re.search(r"paused (\d+\.\d) s", "\n".join(bench.said))
    assert seen == ["SERVING"]
    assert (state.state, state.image_digest, state.fpga) == ("Healthy", new.digest, 0)
    assert bench.server() != before
    assert any("pauses until it serves" in text for text in bench.said)
    assert pause is not None
    assert float(pause[1]) < 5
    assert len(list(bench.layout.service("digits").glob("*/rootfs"))) == 1


def test_a_changed_setting_replaces_the_server_and_keeps_the_image(bench, make_image, port, other_port):
    """Another port moves the service; the image is not unpacked again."""
    bench.provision()
    image = make_image()
    bench.deploy(image, port=port)

    bench.deploy(image, port=other_port)

    assert (health.check(other_port), health.bind_problem(port), image.unpacked) == ("SERVING", None, 1)


def test_a_bad_image_is_rolled_back(bench, make_image, port):
    """An image that cannot serve leaves the old one serving with its old keys, and its last words in the error."""
    bench.provision()
    good = make_image("v1")
    bench.deploy(good, port=port)
    bad = make_image("v2", exit_code=2, last_words="bundle.json is damaged")

    with pytest.raises(ServiceNotReady) as failure:
        bench.deploy(bad, port=port, keys=("fourth-key-fourth-key",))

    assert "bundle.json is damaged" in str(failure.value)
    assert "exit status 2" in str(failure.value)
    assert "the previous release serves again" in str(failure.value)
    state = bench.box.service("digits")
    (keys,) = bench.layout.service("digits").glob("keys-*.json")
    assert (state.state, state.image_digest) == ("Healthy", good.digest)
    assert KeyFile(keys).verify("first-key-first-key")
    assert len(list(bench.layout.service("digits").glob("*/rootfs"))) == 1


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ({"exit_code": 2, "last_words": "no such tensor"}, "exit status 2; its log ends with: no such tensor"),
        ({"exit_code": 1, "last_words": "out of memory"}, "exit status 1; its log ends with: out of memory"),
        ({"never_serving": True}, "it was not SERVING within 3 s; its log ends with: serving"),
    ],
    ids=["user-error", "crashes", "never-serving"],
)
def test_a_first_deploy_that_fails_leaves_nothing(bench, make_image, port, behaviour, said):
    """Without an earlier release, a failed deploy frees FPGA and port and removes what it made."""
    bench.provision()
    timeout_seconds = 3 if "never_serving" in behaviour else 30

    with pytest.raises(ServiceNotReady, match=said):
        bench.deploy(make_image(**behaviour), port=port, timeout_seconds=timeout_seconds)

    assert bench.box.service("digits") is None
    assert bench.box.resident() == []
    assert not bench.layout.service("digits").exists()
    assert health.bind_problem(port) is None
    assert bench.processes() == [bench.supervisor()]


def test_a_full_disk_while_unpacking_keeps_the_old_service(bench, make_image, port):
    """No space for the new image: nothing half-made stays and the old server is not touched."""
    bench.provision()
    bench.deploy(make_image("v1"), port=port)
    before = bench.server()
    new = make_image("v2")

    def fail() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    new.before_end = fail
    with pytest.raises(BoxFull, match="No space left"):
        bench.deploy(new, port=port)

    assert bench.server() == before
    assert bench.box.service("digits").state == "Healthy"
    assert len(list(bench.layout.service("digits").rglob("rootfs"))) == 1


def test_a_second_service_needs_its_own_fpga(bench, make_image, port, other_port):
    """A busy FPGA is refused naming its resident; with a second FPGA both services run, each with its own."""
    bench.provision(agent_count=1)
    bench.deploy(make_image("v1"), port=port)
    with pytest.raises(NoFpgaFree, match="'digits' of project/stack/service holds it"):
        bench.deploy(make_image("v2"), port=other_port, name="letters", owner="project/stack/other")

    bench.provision(agent_count=2)
    state = bench.deploy(make_image("v2"), port=other_port, name="letters", owner="project/stack/other")

    assert (state.state, state.fpga) == ("Healthy", 1)
    assert (health.check(port), health.check(other_port)) == ("SERVING", "SERVING")


def test_a_taken_port_is_refused(bench, make_image, port):
    """A port that another program listens on is refused before anything is made."""
    bench.provision()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortInUse, match=f"port {port} is already in use"):
        bench.deploy(make_image(), port=port)

    assert not bench.layout.service("digits").exists()


def test_a_service_belongs_to_its_owner(bench, make_image, port):
    """Another owner can neither change nor remove a service, and is told whose it is."""
    bench.provision()
    image = make_image()
    bench.deploy(image, port=port)

    with pytest.raises(NotOwner, match="belongs to project/stack/service"):
        bench.deploy(image, port=port, owner="project/stack/other")
    with pytest.raises(NotOwner, match="belongs to project/stack/service"):
        bench.box.remove("digits", "project/stack/other")

    assert health.check(port) == "SERVING"


def test_remove_frees_fpga_and_port(bench, make_image, port):
    """After remove the port is free, the FPGA too, and no file stays; removing again is fine."""
    bench.provision()
    bench.deploy(make_image(), port=port)

    bench.box.remove("digits", "project/stack/service")

    assert health.bind_problem(port) is None
    assert bench.box.resident() == []
    assert list(bench.layout.services.iterdir()) == []
    assert list((bench.layout.fpgas / "0").iterdir()) == []
    assert bench.processes() == [bench.supervisor()]
    bench.box.remove("digits", "project/stack/service")


def test_a_server_that_ignores_its_stop_is_killed(bench, make_image, port):
    """Remove ends in bounded time even where the server does not."""
    bench.provision()
    bench.deploy(make_image(stop_seconds=120), port=port, drain_seconds=0)

    bench.box.remove("digits", "project/stack/service")

    assert bench.processes() == [bench.supervisor()]
    assert health.bind_problem(port) is None


def test_a_deploy_needs_a_box(bench, make_image, port):
    """Deploying where there is no box says so and makes no folder; removing there is fine."""
    with pytest.raises(BoxMissing, match="provision its compute target first"):
        bench.deploy(make_image(), port=port)
    bench.box.remove("digits", "project/stack/service")

    assert not bench.box.root.exists()


@pytest.mark.parametrize(
    ("listen_address", "host"), [("127.0.0.2", "127.0.0.2"), ("::1", "::1"), ("0.0.0.0", "127.0.0.1")]
)
def test_a_service_listens_where_it_is_told_to(bench, make_image, port, other_port, listen_address, host):
    """The box asks for its health there, and nobody answers elsewhere; an address of another machine is refused."""
    try:
        socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError:
        pytest.skip(f"this machine has no {host}")
    bench.provision(agent_count=2)

    state = bench.deploy(make_image(), port=port, listen_address=listen_address)

    assert state.state == "Healthy"
    assert calls.connect_problem(port, host=host) is None
    elsewhere = calls.connect_problem(port, host="127.0.0.1")
    assert (elsewhere is None) == (host == "127.0.0.1")
    with pytest.raises(PortInUse, match=r"cannot be opened on 203\.0\.113\.1"):
        bench.deploy(
            make_image("v2"), port=other_port, name="other", owner="project/stack/other", listen_address="203.0.113.1"
        )
