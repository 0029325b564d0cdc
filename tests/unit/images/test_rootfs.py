"""A root file system as a layer: equal bytes from equal content, links kept, devices left out, Python checked."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
from pathlib import Path

import pytest

from accelform.errors import BaseImageUnusable
from accelform.images import layout, rootfs

MACHINES = {"amd64": 0x3E, "arm64": 0xB7}


def python_program(machine: str = "") -> bytes:
    """The first bytes of an ELF program for a machine."""
    return b"\x7fELF" + bytes(14) + MACHINES[machine or layout.architecture()].to_bytes(2, "little") + bytes(44)


def make(folder: Path, *, machine: str = "", time_seconds: int = 1) -> Path:
    """A folder as debootstrap makes one, in small."""
    (folder / "usr/bin").mkdir(parents=True)
    (folder / "usr/bin/python3.11").write_bytes(python_program(machine))
    (folder / "usr/bin/python3.11").chmod(0o755)
    (folder / "usr/bin/python3").symlink_to("python3.11")
    (folder / "bin").symlink_to("usr/bin")
    os.link(folder / "usr/bin/python3.11", folder / "usr/bin/python-twin")
    (folder / "proc").mkdir()
    (folder / "proc/1").write_text("a process")
    (folder / "tmp").mkdir(mode=0o1777)
    (folder / "tmp").chmod(0o1777)
    os.mkfifo(folder / "fifo")
    for path in folder.rglob("*"):
        os.utime(path, (time_seconds, time_seconds), follow_symlinks=False)
    return folder


def test_a_folder(tmp_path: Path) -> None:
    """Two equal folders of different times give the same layer; links, modes and order are right."""
    layers = []
    for number in (1, 2):
        (tmp_path / f"out{number}").mkdir()
        folder = make(tmp_path / f"rootfs{number}", time_seconds=number * 1000)
        layers.append(rootfs.layer_of(folder, tmp_path / f"out{number}"))
    with tarfile.open(tmp_path / "out1/rootfs.tar") as tar:
        members = {member.name: member for member in tar}

    assert layers[0].diff_id == layers[1].diff_id
    assert layers[0].descriptor.size_bytes == (tmp_path / "out1/rootfs.tar").stat().st_size
    assert list(members) == sorted(members)
    assert set(members) == {
        *("bin", "proc", "tmp", "usr", "usr/bin"),
        *("usr/bin/python-twin", "usr/bin/python3", "usr/bin/python3.11"),
    }
    assert members["usr/bin/python3"].linkname == "python3.11"
    assert members["usr/bin/python3.11"].islnk()
    assert members["usr/bin/python3.11"].linkname == "usr/bin/python-twin"
    assert oct(members["tmp"].mode) == "0o1777"
    assert {member.mtime for member in members.values()} == {0}


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress, bz2.compress])
def test_a_tar(tmp_path: Path, compress: object) -> None:
    """A tar is taken byte for byte, without its compression."""
    plain = tmp_path / "plain.tar"
    with tarfile.open(plain, "w") as tar:
        tar.add(make(tmp_path / "rootfs"), arcname=".", filter=lambda row: None if row.isfifo() else row)
    (tmp_path / "given").write_bytes(compress(plain.read_bytes()))  # type: ignore[operator]
    (tmp_path / "out").mkdir()

    rootfs.layer_of(tmp_path / "given", tmp_path / "out")

    assert (tmp_path / "out/rootfs.tar").read_bytes() == plain.read_bytes()


def test_what_cannot_be_a_base(tmp_path: Path) -> None:
    """No Python, one for another machine, no tar and no file: each is told, with what to do."""
    (tmp_path / "out").mkdir()
    (tmp_path / "empty").mkdir()
    other = next(name for name in MACHINES if name != layout.architecture())
    make(tmp_path / "other", machine=other)
    (tmp_path / "rubbish").write_bytes(b"rubbish" * 1000)

    with pytest.raises(BaseImageUnusable, match=r"it has no Python 3\.11"):
        rootfs.layer_of(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(BaseImageUnusable, match=f"its usr/bin/python.* is for {other}"):
        rootfs.layer_of(tmp_path / "other", tmp_path / "out")
    for name in ("rubbish", "missing"):
        with pytest.raises(BaseImageUnusable, match="Give the folder or the tar"):
            rootfs.layer_of(tmp_path / name, tmp_path / "out")
