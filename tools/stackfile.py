"""What is in `stacks/Pulumi.<stack>.yaml`: what Pulumi adds while a stack exists and how it goes, and where it runs."""

from __future__ import annotations

import re
from pathlib import Path

SALT = re.compile(r"^encryptionsalt:.*\n?", re.MULTILINE)
IN_CLUSTER = re.compile(r"""^\s+accelform:target:\s*["']?kubernetes\b""", re.MULTILINE)
SECURE = re.compile(r"^\s+(- )?secure:", re.MULTILINE)


def has_salt(path: Path) -> bool:
    """Tell whether Pulumi's `encryptionsalt:` is in a stack file."""
    return path.exists() and SALT.search(path.read_text(encoding="utf-8")) is not None


def is_in_cluster(path: Path) -> bool:
    """Tell whether a stack's service runs in a Kubernetes cluster."""
    return path.exists() and IN_CLUSTER.search(path.read_text(encoding="utf-8")) is not None


def has_secrets(path: Path) -> bool:
    """Tell whether a stack file holds encrypted values, which need the salt and the passphrase to be read again."""
    return path.exists() and SECURE.search(path.read_text(encoding="utf-8")) is not None


def drop_salt(path: Path) -> bool:
    """Remove the salt, and the file when nothing else is in it; returns whether anything changed."""
    if not has_salt(path) or has_secrets(path):
        return False
    rest = SALT.sub("", path.read_text(encoding="utf-8"))
    if rest.strip() in ("", "{}"):
        path.unlink()
    else:
        path.write_text(rest, encoding="utf-8")
    return True
