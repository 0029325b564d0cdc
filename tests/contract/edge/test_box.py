"""A box's life: provisioned, adopted, resized, released."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from accelform.errors import BoxBusy, BoxInUse, BoxUnusable, NotOwner
from accelform.targets.edge import EdgeBox
from accelform.targets.edge.lock import locked

PROVISION = """
import sys
from pathlib import Path
from accelform.targets.edge import EdgeBox
state = EdgeBox(Path(sys.argv[1])).provision(
    owner="project/stack/box", name="box", agent_count=1, vm_size="Standard_PB6s", location="eastus")
assert state.provisioning_state == "Succeeded", state
"""


def test_a_provisioned_box_is_supervised_and_private(bench):
    """The supervisor runs, listens on no TCP port, and nobody else can enter folder or socket."""
    state = bench.provision(agent_count=2)

    assert (state.provisioning_state, state.provisioning_errors) == ("Succeeded", ())
    assert [fpga.resident for fpga in state.fpgas] == [None, None]
    assert stat.S_IMODE(bench.box.root.stat().st_mode) == 0o700
    assert stat.S_IMODE(bench.layout.socket.stat().st_mode) == 0o600
    assert _tcp_sockets(bench.supervisor()) == []


def test_provision_again_adopts_the_box(bench):
    """The owner's second provision keeps the supervisor and takes over new values."""
    bench.provision()
    before = bench.supervisor()

    state = bench.provision(agent_count=3)

    assert (bench.supervisor(), state.agent_count, len(state.fpgas)) == (before, 3, 3)


def test_a_box_belongs_to_its_owner(bench):
    """Another owner can neither take nor release a box, and is told whose it is."""
    bench.provision()

    with pytest.raises(NotOwner, match="belongs to project/stack/box"):
        bench.provision(owner="project/other/box")
    with pytest.raises(NotOwner, match="belongs to project/stack/box"):
        bench.box.release("project/other/box")

    assert bench.box.describe().provisioning_state == "Succeeded"


def test_a_box_does_not_lose_a_used_fpga(bench, make_image, port):
    """Shrinking below a resident is refused naming it; free FPGAs can go."""
    bench.provision(agent_count=2)
    bench.deploy(make_image(), port=port)

    assert bench.box.resize(1).agent_count == 1
    bench.box.resize(2)
    bench.box.remove("digits", "project/stack/service")
    bench.deploy(make_image(), port=port, name="first")
    with pytest.raises(BoxUnusable, match="agent_count must be above 0, not 0"):
        bench.box.resize(0)


def test_shrinking_names_the_services_in_the_way(bench, make_image, port, other_port):
    """A resident of an FPGA that would go is named."""
    bench.provision(agent_count=2)
    bench.deploy(make_image("v1"), port=port, name="first")
    bench.deploy(make_image("v2"), port=other_port, name="second")

    with pytest.raises(BoxInUse, match="'second' on FPGA 1 would lose its place"):
        bench.box.resize(1)

    assert bench.box.describe().agent_count == 2


def test_release_leaves_nothing(bench, make_image, port):
    """After release there is no process, no port, no file; releasing again is fine."""
    bench.provision()
    bench.deploy(make_image(), port=port)

    bench.box.release("project/stack/box")

    assert bench.processes() == []
    assert not bench.box.root.exists()
    assert bench.box.describe() is None
    assert bench.box.resident() == []
    bench.box.release("project/stack/box")


def test_a_long_path_gets_a_short_socket(bench, tmp_path):
    """Where the root is too deep for a unix socket, the socket lives in a private folder and goes with the box."""
    bench.box = EdgeBox(tmp_path / ("deep" * 30) / "box with space")

    state = bench.provision()
    socket = bench.layout.socket

    assert state.provisioning_state == "Succeeded"
    assert socket.is_socket()
    assert bench.box.root not in socket.parents
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    bench.box.release("project/stack/box")
    assert not socket.exists()


def test_an_unusable_folder_is_refused(tmp_path):
    """A path that PYTHONPATH cannot hold is refused before anything is made."""
    box = EdgeBox(tmp_path / "10:30" / "box")

    with pytest.raises(BoxUnusable, match="its path contains ':'"):
        box.provision(owner="a/b/c", name="box", agent_count=1, vm_size="Standard_PB6s", location="eastus")

    assert not box.root.exists()


def test_a_folder_with_other_content_is_left_alone(bench):
    """A box is not made in somebody's folder, and a release there removes nothing."""
    bench.box.root.mkdir()
    (bench.box.root / "thesis.txt").write_text("years of work")

    with pytest.raises(BoxUnusable, match=r"is not empty \(it holds thesis.txt\)"):
        bench.provision()
    bench.box.release("project/stack/box")

    assert [entry.name for entry in bench.box.root.iterdir()] == ["thesis.txt"]


def test_release_keeps_what_is_not_the_boxs(bench):
    """A file that somebody put into the box's folder outlives the box."""
    bench.provision()
    (bench.box.root / "notes.txt").write_text("mine")

    bench.box.release("project/stack/box")

    assert bench.processes() == []
    assert [entry.name for entry in bench.box.root.iterdir()] == ["notes.txt"]
    assert bench.box.describe() is None


def test_two_provisions_at_once_make_one_box(bench):
    """Commands that run at the same time wait for each other; one supervisor results."""
    commands = [
        subprocess.Popen([sys.executable, "-c", PROVISION, str(bench.box.root)], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [command.communicate(timeout=60)[1] for command in commands]

    assert [command.returncode for command in commands] == [0, 0, 0], said
    assert bench.processes() == [bench.supervisor()]


def test_a_busy_box_names_who_is_changing_it(bench):
    """A change that finds the box locked gives up in time and names the other process."""
    bench.provision()
    impatient = EdgeBox(bench.box.root, lock_timeout_seconds=0.2)

    with locked(bench.layout, timeout_seconds=1), pytest.raises(BoxBusy, match=f"changed by process {os.getpid()}"):
        impatient.release("project/stack/box")


def _tcp_sockets(pid: int) -> list[str]:
    """Lines of the kernel's TCP tables that belong to `pid`."""
    inodes = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
    lines = [line for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return [line for line in lines if f"socket:[{line.split()[9]}]" in inodes]
