"""What a test cluster asks of this machine and does to it: requirements, cgroups, the lock, the password file."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import threading
from pathlib import Path

import pytest
from tools.cluster import cgroups, registry, requirements, state
from tools.progress import StepFailed

V2_CONTROLLERS = "cpuset cpu io memory pids\n"


def test_missing_programs_are_named_as_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each program that is not there is named by the Debian package that brings it."""
    monkeypatch.setattr(shutil, "which", lambda program, path: None if program == "etcd" else program)
    monkeypatch.setattr(requirements, "CNI_PROGRAMS", str(tmp_path))
    assert requirements.missing_packages() == ["containernetworking-plugins", "etcd-server"]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    sentences = requirements.missing(tmp_path)
    assert sentences[0].startswith("a test cluster needs root")
    assert "containernetworking-plugins etcd-server" in sentences[1]


def test_only_linux(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Elsewhere nothing is looked for, since nothing would help."""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert requirements.missing(tmp_path) == ["a test cluster needs Linux, this is darwin"]


def test_a_folder_that_nodes_would_hide() -> None:
    """A folder below one that each node has of its own would be out of the programs' sight."""
    assert any("/run" in sentence for sentence in requirements.missing(Path("/run/cluster")))


def test_too_few_watches_are_told() -> None:
    """A kubelet without an inotify instance never becomes Ready: the shortage is named before, with the command."""
    assert requirements.short_of_watches(1) == ""
    assert "sysctl fs.inotify.max_user_instances=" in requirements.short_of_watches(10_000)


def test_cgroups_of_version_1(tmp_path: Path) -> None:
    """A group is made in every tree, with the parent's processors; removing takes all below it, bottom first."""
    for tree in ("cpu", "cpuset", "systemd"):
        (tmp_path / tree).mkdir()
        (tmp_path / tree / "cgroup.procs").write_text("1\n", encoding="ascii")
    (tmp_path / "cpu,cpuacct").symlink_to("cpu")
    (tmp_path / "cpuset" / "cpuset.cpus").write_text("0-1\n", encoding="ascii")
    assert [tree.name for tree in cgroups.trees(tmp_path)] == ["cpu", "cpuset", "systemd"]
    cgroups.create("accelform-201/node-1", tmp_path)
    assert all((tmp_path / tree / "accelform-201" / "node-1").is_dir() for tree in ("cpu", "cpuset", "systemd"))
    (tmp_path / "cpu" / "accelform-201" / "node-1" / "pod").mkdir()
    cgroups.remove("accelform-201", deadline_seconds=1, root=tmp_path)
    assert not list(tmp_path.glob("*/accelform-201"))


def test_cgroups_of_version_2(tmp_path: Path) -> None:
    """In the one tree, controllers are handed down to the group's parents."""
    (tmp_path / "cgroup.controllers").write_text(V2_CONTROLLERS, encoding="ascii")
    cgroups.create("accelform-201/node-1", tmp_path)
    assert cgroups.trees(tmp_path) == [tmp_path]
    assert (tmp_path / "cgroup.subtree_control").read_text(encoding="ascii") == "+io"
    assert (tmp_path / "accelform-201" / "node-1").is_dir()


def test_a_cgroup_that_stays_is_named(tmp_path: Path) -> None:
    """When a process stays in a group, the message says in which one."""
    (tmp_path / "cpu" / "accelform-201" / "busy").mkdir(parents=True)
    (tmp_path / "cpu" / "cgroup.procs").touch()
    (tmp_path / "cpu" / "accelform-201" / "busy" / "cgroup.procs").write_text("77\n", encoding="ascii")
    assert cgroups.processes("accelform-201", tmp_path) == {77}
    with pytest.raises(StepFailed, match=r"accelform-201/busy cannot be removed: a process"):
        cgroups.remove("accelform-201", deadline_seconds=0, root=tmp_path)


def test_one_at_a_time(tmp_path: Path) -> None:
    """A second start waits for the first one, and is not fooled when that removed the folder."""
    folder = tmp_path / "cluster"
    order = []
    entered = threading.Event()

    def second() -> None:
        entered.set()
        with state.locked(folder):
            order.append("second")
            assert folder.is_dir()

    with state.locked(folder):
        thread = threading.Thread(target=second)
        thread.start()
        entered.wait(10)
        order.append("first")
        folder.rmdir()
    thread.join(10)
    assert order == ["first", "second"]


def test_what_a_cluster_left_is_removed(tmp_path: Path) -> None:
    """Cleaning removes a folder without a running cluster, and follows no link out of it."""
    folder = tmp_path / "cluster"
    (folder / "etcd").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    (folder / "log").symlink_to(tmp_path / "mine")
    state.remove(folder)
    assert os.listdir(tmp_path) == ["mine"]


def test_no_other_folder_is_emptied(tmp_path: Path) -> None:
    """In a folder that was never a cluster's nothing is touched; in one that was, nothing that is somebody's."""
    (tmp_path / "etcd").mkdir()
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(StepFailed, match=r"thesis.tex is in it"):
        state.clean(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["etcd", "thesis.tex"]
    (tmp_path / "cluster.json").write_text("{}", encoding="ascii")
    state.remove(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"], "a cluster's folder, but not all of it"


def test_the_password_file_is_bcrypt() -> None:
    """The registry takes bcrypt only; the C library agrees with what was made."""
    hashed = registry._bcrypt("secret")
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    assert hashed.startswith("$2b$05$")
    assert library.crypt(b"secret", hashed.encode()).decode() == hashed
    assert library.crypt(b"other", hashed.encode()).decode() != hashed
