"""What `make up` used for the stacks of this checkout, so that `make down` and `make env` need nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tools.progress import StepFailed, say
from tools.sources import PROJECT
from tools.toolchain.__main__ import ensure_pulumi, find_pulumi
from tools.toolchain.cache import complete
from tools.venv import ensure_environment, is_current, is_usable

STATE_FOLDER = ".accelform"
RECORD = "made.json"


def write(toolchain: Path, project: Path = PROJECT) -> None:
    """Record which engine the stacks are deployed with, and where the checkout is."""
    state = project / STATE_FOLDER
    state.mkdir(mode=0o700, exist_ok=True)
    partial = state / f".{RECORD}.{os.getpid()}"
    partial.write_text(json.dumps({"project": str(project), "toolchain": str(toolchain)}, indent=1), encoding="utf-8")
    partial.replace(state / RECORD)


def read(project: Path = PROJECT) -> dict[str, Any]:
    """Return the record, or an empty one."""
    try:
        content = json.loads((project / STATE_FOLDER / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def as_made(project: Path = PROJECT) -> Path:
    """Return the folder of the engine that made this checkout's stacks; installs and builds only what is gone since.

    Raises StepFailed with what to do next.
    """
    if is_usable(project / ".venv"):
        if not is_current(project):
            say("  note: the sources or their locks have changed since this environment was made; make up updates it")
    else:
        ensure_environment(project)
    recorded = read(project).get("toolchain")
    if recorded and complete(Path(recorded), ("pulumi", "pulumi-language-python")):
        return Path(recorded)
    toolchain = find_pulumi() or ensure_pulumi()
    write(toolchain, project)
    return toolchain


def moved_from(project: Path = PROJECT) -> Path | None:
    """Return where the checkout was when its stacks were made, if that is another place."""
    place = read(project).get("project")
    return Path(place) if place and Path(place) != project else None


def python_path(project: Path = PROJECT) -> str:
    """Return where Python finds the package in a checkout that was moved: its installation names the old place."""
    found = [str(project / "providers"), str(project / "runtime")]
    if not all(map(os.path.isdir, found)):
        raise StepFailed(f"{project} lacks providers/ or runtime/; restore them with git checkout")
    return os.pathsep.join(found)
