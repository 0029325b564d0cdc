"""Servers without root's rights."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

NOBODY = 65534

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may prepare a machine like this")


def as_nobody(folder: Path, first: str = "") -> tuple[str, ...]:
    """A command that gives up root's rights, and the folder's files to whom it becomes; `first` comes in between."""
    script = ["set -e", f"chown -R {NOBODY}:{NOBODY} {folder}"]
    for number, place in enumerate({sys.base_prefix, str(Path(__file__).parents[3])}):
        closed = [parent for parent in Path(place).parents if not parent.stat().st_mode & 0o001]
        if closed:  # say, an interpreter in root's own folder: in this namespace others may get there too
            kept = f"{folder}/place-{number}"
            script += [
                f"mkdir -p {kept}",
                f"mount --bind {place} {kept}",
                f"mount -t tmpfs -o mode=755 no {closed[-1]}",
            ]
            script += [f"mkdir -p {place}", f"mount --bind {kept} {place}", f"umount {kept}"]
    script += [first or "true"]
    script += [f'exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --no-new-privs --bounding-set=-all "$@"']
    return ("unshare", "-m", "sh", "-c", "\n".join(script), "sh")
