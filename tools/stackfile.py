"""What is in `stacks/Pulumi.<stack>.yaml`: what Pulumi adds while a stack exists and how it goes, and where it runs."""

from __future__ import annotations

import re
from pathlib import Path

SALT = re.compile(r"^encryptionsalt:.*\n?", re.MULTILINE)
NAME = re.compile(r"Pulumi\.(?P<stack>.+)\.yaml")
DEFAULT_PORT = 50051
SECURE = re.compile(r"^\s+(- )?secure:", re.MULTILINE)


def has_salt(path: Path) -> bool:
    """Tell whether Pulumi's `encryptionsalt:` is in a stack file."""
    return path.exists() and SALT.search(path.read_text(encoding="utf-8")) is not None


def stack_file(project: Path, stack: str) -> Path:
    """Return the configuration file of a stack."""
    return project / "stacks" / f"Pulumi.{stack}.yaml"


def declared_stacks(project: Path) -> list[str]:
    """Return the names of the stacks that have a file."""
    names = (NAME.fullmatch(path.name) for path in (project / "stacks").glob("Pulumi.*.yaml"))
    return sorted(name["stack"] for name in names if name)


def made_stacks(state: Path) -> list[str]:
    """Return the names of the stacks that are on the file backend, by its files."""
    return sorted({path.stem for path in (state / ".pulumi" / "stacks" / "accelform").glob("*.json")})


def is_in_cluster(path: Path) -> bool:
    """Tell whether a stack's service runs in a Kubernetes cluster."""
    return _setting(path, "target") == "kubernetes"


def port_of(path: Path) -> int:
    """Return the port that a stack's service listens on."""
    text = _setting(path, "port")
    return int(text) if text.isdigit() else DEFAULT_PORT


def _setting(path: Path, name: str) -> str:
    """A plain value of a stack file; empty where it is left out. YAML is read later, by what `make up` installs."""
    content = path.read_text(encoding="utf-8") if path.exists() else ""
    found = re.search(rf"""^\s+["']?accelform:{name}["']?:\s*["']?([^"'#\s]+)""", content, re.MULTILINE)
    return found[1] if found else ""


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
