"""The smallest Debian in which this project's runtime works, for tests that build images where none can be pulled.

Python with its standard library, the C++ runtime that wheels need, a shell and the basic commands; about 60 MB, made
once by mmdebstrap and kept outside the tree:

    ${XDG_CACHE_HOME:-~/.cache}/accelform/rootfs/<key>/rootfs.tar    the same bytes from the same packages
    ${XDG_CACHE_HOME:-~/.cache}/accelform/rootfs/<key>/rootfs/       unpacked
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from tools.progress import StepFailed, elapsed, say
from tools.toolchain.cache import cache_root, install, locked

MIRROR_VARIABLE = "ACCELFORM_DEBIAN_MIRROR"
MIRROR = "http://deb.debian.org/debian"
# The Python that a Debian release has must be the one whose wheels are in .venv.
SUITES = {(3, 11): "bookworm", (3, 13): "trixie"}
PACKAGES = ("base-files", "base-passwd", "coreutils", "dash", "libc-bin", "libstdc++6", "python3")
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/lib/*/gconv/*")
USER_LINE = "nonroot:x:65532:65532:nonroot:/nonexistent:/usr/sbin/nologin"
# Packages are unpacked, not configured: nothing runs inside. What is needed of their scripts is done here.
FINISH = f"""
cp usr/share/base-passwd/passwd.master etc/passwd
cp usr/share/base-passwd/group.master etc/group
echo "{USER_LINE}" >>etc/passwd
echo "nonroot:x:65532:" >>etc/group
[ -e bin/sh ] || ln -s dash bin/sh
ldconfig -r .
rm -rf var/lib/apt var/lib/dpkg var/cache var/log/* etc/apt etc/hostname etc/resolv.conf dev/* var/lib/misc
tar --sort=name --mtime=@0 --numeric-owner --format=pax --pax-option=delete=atime,delete=ctime -cf ../rootfs.tar .
"""


def suite() -> str:
    """Return the Debian release with this interpreter's minor version."""
    found = SUITES.get(sys.version_info[:2])
    if found is None:
        versions = " or ".join(".".join(map(str, version)) for version in SUITES)
        raise StepFailed(
            f"no Debian release has Python {sys.version_info[0]}.{sys.version_info[1]}: "
            f"set up .venv with Python {versions} to build test images"
        )
    return found


def key() -> str:
    """Return the name in the cache: it follows the recipe and the machine."""
    recipe = repr((suite(), PACKAGES, LEFT_OUT, FINISH, platform.machine()))
    return f"{suite()}-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"


def rootfs() -> Path:
    """Return the folder that holds `rootfs.tar` and `rootfs/`; made when it is not there (about 40 s)."""
    root = cache_root().parent / "rootfs"
    if _complete(root / key()):
        return root / key()
    with locked(root):
        if _complete(root / key()):
            return root / key()
        started = time.monotonic()
        say(f"  making a Debian {suite()} root with Python, once per machine (about 40 s)")
        made = install(root, key(), _fill, _complete)
        say(f"  it is in {made} ({elapsed(time.monotonic() - started)})")
        return made


def _complete(folder: Path) -> bool:
    return (folder / "rootfs.tar").exists() and (folder / "rootfs" / "usr" / "bin" / "python3").exists()


def _fill(folder: Path) -> None:
    mirror = os.environ.get(MIRROR_VARIABLE, MIRROR)
    command = ["mmdebstrap", "--quiet", "--variant=extract", "--format=directory", f"--include={','.join(PACKAGES)}"]
    command += [f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT]
    _run(
        [*command, suite(), str(folder / "rootfs"), mirror], folder, f"from {mirror} ({MIRROR_VARIABLE} names another)"
    )
    _run(["sh", "-euc", FINISH], folder / "rootfs", "as an archive")


def _run(command: list[str], cwd: Path, what: str) -> None:
    environment = dict(os.environ) | {"SOURCE_DATE_EPOCH": "0", "LC_ALL": "C.UTF-8"}
    answer = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        last = "\n".join(answer.stderr.strip().splitlines()[-10:])
        raise StepFailed(f"{command[0]} could not make a Debian root {what}:\n{last}")


if __name__ == "__main__":
    print(rootfs())
