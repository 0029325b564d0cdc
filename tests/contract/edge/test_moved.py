"""A box whose folder gets another name, another place, a copy, or goes; and one whose owner gets another name."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from accelform.errors import NotOwner, PortInUse
from accelform.targets.edge import EdgeBox, health, port_problem, processes
from accelform.targets.edge.layout import Layout

OWNER = "project/stack/box"
SERVICE_OWNER = "project/stack/service"


def running_for(root: Path) -> list[int]:
    """Supervisors, servers and workers that were started for a box at `root`."""
    config = Layout(root).supervisor_config
    return processes.supervisors(config) + processes.servers(root) + processes.workers(root)


def move(bench, name):
    """The box after its folder got another name."""
    place = bench.box.root.with_name(name)
    bench.box.root.rename(place)
    return type(bench)(EdgeBox(place, lock_timeout_seconds=60))


@pytest.fixture
def moved(bench, make_image, port):
    """A box that serves, moved to a folder of another name."""
    bench.provision()
    bench.deploy(make_image(), port=port)
    there = move(bench, "moved box")
    yield there
    there.box.release(OWNER)


def test_a_moved_box_says_so(bench, moved):
    """Looking changes nothing: what runs in the former place goes on, and is named."""
    state = moved.box.describe()

    assert state.provisioning_state == "Failed"
    assert f"was moved from {bench.box.root}" in state.provisioning_errors[0]
    assert len(bench.processes()) == 2


def test_a_moved_box_continues_in_its_new_place(bench, moved, port):
    """Nothing runs from the former place any more, and the same service serves from the new one."""
    moved.provision()

    assert running_for(bench.box.root) == []
    assert len(moved.processes()) == 2
    assert moved.box.service("digits").state == "Healthy"
    assert moved.box.describe().provisioning_errors == ()
    assert any("was moved from" in text for text in moved.said)
    assert not bench.box.root.exists()


def test_a_release_of_a_moved_box_ends_everything(bench, moved, port):
    """Also what was started in the former place, and nothing is left of either."""
    moved.box.remove("digits", SERVICE_OWNER)
    moved.box.release(OWNER)

    assert running_for(bench.box.root) == running_for(moved.box.root) == []
    assert not bench.box.root.exists()
    assert not moved.box.root.exists()
    assert health.bind_problem(port) is None


def test_a_deploy_on_a_moved_box(bench, moved, make_image, port):
    """The first change to a moved box may be to a service of it."""
    moved.deploy(make_image("v2"), port=port)

    assert running_for(bench.box.root) == []
    assert moved.box.service("digits").state == "Healthy"


def test_a_box_of_an_earlier_version_is_found_too(bench, moved):
    """Its record does not say where it was; its socket lay in its folder."""
    record = moved.layout.box_record
    record.write_text("".join(line for line in record.read_text().splitlines() if '"root"' not in line))

    moved.box.release(OWNER)

    assert running_for(bench.box.root) == []


def test_a_copy_leaves_the_original_alone(bench, make_image, port):
    """What runs belongs to the box that is still there; the copy cannot have its port, and says whose it is."""
    bench.provision()
    bench.deploy(make_image(), port=port)
    server = bench.server()
    copy = bench.box.root.with_name("copy")
    shutil.copytree(bench.box.root, copy, symlinks=True, ignore=lambda *_: ["box.sock"])

    with pytest.raises(PortInUse, match=f"port {port} is already in use"):
        type(bench)(EdgeBox(copy)).provision()
    EdgeBox(copy).release(OWNER)

    assert bench.server() == server
    assert bench.box.service("digits").state == "Healthy"
    assert not copy.exists()


def test_a_box_reached_through_a_link_is_at_home(bench, make_image, port, tmp_path):
    """The same folder under another name is no move."""
    bench.provision()
    bench.deploy(make_image(), port=port)
    (tmp_path / "link").symlink_to(bench.box.root)

    assert EdgeBox(tmp_path / "link").displaced() is None
    assert EdgeBox(tmp_path / "link").describe().provisioning_errors == ()


def test_what_runs_from_a_removed_folder_is_ended(bench, make_image, port):
    """A port that is held by what is left of a removed box is no obstacle to the next, and a release ends it."""
    bench.provision()
    bench.deploy(make_image(), port=port)
    shutil.rmtree(bench.box.root)

    assert port_problem(port, None, "digits", owner=SERVICE_OWNER, root=bench.box.root) is None
    bench.box.release(OWNER)

    assert bench.processes() == []


def test_another_checkout_keeps_its_port(bench, make_image, port, tmp_path):
    """Two checkouts of a project call themselves the same; the one that is there has the port, unless it is gone."""
    checkout = tmp_path / "first"
    checkout.mkdir()
    bench.box.provision(
        owner=OWNER, name="box", agent_count=1, vm_size="Standard_PB6s", location="eastus", checkout=str(checkout)
    )
    bench.deploy(make_image(), port=port)

    def problem(mine: Path) -> str | None:
        return port_problem(port, None, "digits", owner=SERVICE_OWNER, root=tmp_path / "other", checkout=str(mine))

    assert problem(checkout) is None
    assert f"by service 'digits' of edge box {bench.box.root}" in problem(tmp_path / "second")
    checkout.rmdir()
    assert problem(tmp_path / "second") is None


@pytest.mark.parametrize("name", ["a b", "ö", "100%d", "x #1", "y ;z", "it's", 'say "so"', "back\\slash"])
def test_a_folder_of_any_name_holds_a_box(bench, tmp_path, make_image, port, name):
    """Its supervisor starts there, serves, starts a killed server again and goes."""
    bench.box = EdgeBox(tmp_path / name / "box")
    try:
        bench.provision()
        bench.deploy(make_image(), port=port)
        killed = bench.server()
        os.kill(killed, signal.SIGKILL)
        bench.eventually(lambda: processes.servers(bench.box.root) not in ([], [killed]), seconds=30, what="restart")
        bench.box.wait_until_serving("digits", timeout_seconds=30)
    finally:
        bench.box.release(OWNER)

    assert bench.processes() == []


def test_an_owner_with_another_name_takes_its_box_along(bench, make_image, port):
    """It needs the former name for it; then that name has no more say, and the server does not notice."""
    bench.provision()
    image = make_image()
    bench.deploy(image, port=port)
    server = bench.server()

    bench.box.provision(
        owner="project/new/box",
        formerly=OWNER,
        name="box",
        agent_count=1,
        vm_size="Standard_PB6s",
        location="eastus",
    )
    spec = bench.spec(image, port=port, owner="project/new/service")
    bench.box.deploy(spec, formerly=SERVICE_OWNER, unpack=image.unpack, timeout_seconds=30)

    assert bench.server() == server
    with pytest.raises(NotOwner, match="belongs to project/new/box"):
        bench.provision()
    with pytest.raises(NotOwner, match="belongs to project/new/service"):
        bench.deploy(image, port=port)
    bench.box.remove("digits", SERVICE_OWNER)  # as a state says that was not written any more
    bench.box.release(OWNER)
    assert not bench.box.root.exists()
