"""`make audit`: ask OSV, the public database of known weaknesses, about everything that is locked.

Python packages by their locks, Go modules by go.mod. Where the database cannot be reached that is said, and it is no
success: nothing was looked at.
"""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

from tools.progress import StepFailed, reported, say
from tools.sources import PROJECT

ADDRESS = "https://api.osv.dev/v1/querybatch"
ADDRESS_VARIABLE = "ACCELFORM_OSV"
TIMEOUT_SECONDS = 30.0
BATCH = 500
PINNED = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>[^\s;\\]+)", re.MULTILINE)
REQUIRED = re.compile(r"^\s*(?:require )?(?P<name>[\w./~-]+\.[\w./~-]+) v(?P<version>\S+)", re.MULTILINE)

Package = tuple[str, str, str]


def locked(project: Path = PROJECT) -> list[Package]:
    """Return ecosystem, name and version of everything that is locked."""
    found: set[Package] = set()
    for lock in project.glob("requirements*.lock"):
        found |= {("PyPI", row["name"], row["version"]) for row in PINNED.finditer(lock.read_text(encoding="utf-8"))}
    for module in (project / "runtime" / "front" / "go.mod", *(project / "tools" / "toolchain").glob("*/go.mod")):
        found |= {("Go", row["name"], row["version"]) for row in REQUIRED.finditer(module.read_text(encoding="utf-8"))}
    return sorted(found)


def weaknesses(packages: list[Package], address: str) -> dict[Package, list[str]]:
    """Return the ids of what is known about each package; raises StepFailed where the database does not answer."""
    found: dict[Package, list[str]] = {}
    for start in range(0, len(packages), BATCH):
        asked = packages[start : start + BATCH]
        for package, answer in zip(asked, _ask(asked, address), strict=True):
            if ids := [str(row["id"]) for row in answer.get("vulns", [])]:
                found[package] = ids
    return found


def _ask(packages: list[Package], address: str) -> list[dict[str, Any]]:
    queries = [
        {"package": {"ecosystem": ecosystem, "name": name}, "version": version} for ecosystem, name, version in packages
    ]
    request = urllib.request.Request(
        address, data=json.dumps({"queries": queries}).encode(), headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            return list(json.load(response)["results"])
    except (OSError, HTTPException, ValueError, KeyError) as error:
        raise StepFailed(
            f"nothing was looked at: {address} does not answer ({error}). Run make audit where it can be reached, or "
            f"name a mirror with {ADDRESS_VARIABLE}."
        ) from error


def audit() -> None:
    """Print what is known; raises StepFailed where there is something, or where it cannot be told."""
    packages = locked()
    found = weaknesses(packages, os.environ.get(ADDRESS_VARIABLE, ADDRESS))
    for (ecosystem, name, version), ids in sorted(found.items()):
        print(f"{ecosystem}  {name} {version}  {' '.join(ids)}")
    if found:
        raise StepFailed(f"{len(found)} of {len(packages)} locked packages have known weaknesses; update them")
    say(f"none of {len(packages)} locked packages has a weakness that is known")


def main() -> int:
    """Audit; 0, or 1 with what is known, or with why that cannot be told."""
    return reported(audit)


if __name__ == "__main__":
    sys.exit(main())
