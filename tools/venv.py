"""`python3 -m tools.venv`: bring `.venv` to what requirements.lock says; quick when nothing changed.

Every file that is installed is checked against the hash in the lock. A stamp, written last, names what the environment
was made from, so that a killed run is simply repeated. `--development` adds what tests, lint and benchmarks need; it
stays then, and neither `make up` nor `make test` undoes what the other installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.installers import for_pip, for_uv, pip_command, pip_settings
from tools.parts import ensure_parts
from tools.progress import Downloads, StepFailed, elapsed, exit_on_sigterm, reported, run_counted, say
from tools.sources import PROJECT

STAMP = "accelform-stamp"
BUILD_LOCK = "requirements-build.lock"
SOURCES = ("infra", "providers", "runtime", "tools")
LOCKS = {False: "requirements.lock", True: "requirements-dev.lock"}


def stamp_of(project: Path, *, development: bool = True) -> str:
    """Return what an environment is made from: the interpreter, the place, the locks, and the package's metadata."""
    return json.dumps(_wanted(project, development), indent=1)


def is_usable(environment: Path) -> bool:
    """Tell whether an environment was completed once and its interpreter runs, whatever the sources say now."""
    return bool(_stamp(environment)) and _runs(environment, "import sys; print(True)")


def is_current(project: Path) -> bool:
    """Tell whether the environment is what the checkout says now."""
    found = _stamp(project / ".venv")
    return found == _wanted(project, found.get("development", False))


def ensure_environment(project: Path = PROJECT, *, development: bool = False) -> Path:
    """Create or update the environment and return its folder; raises StepFailed with what to do next."""
    environment = project / ".venv"
    environment.mkdir(exist_ok=True)
    with (environment / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = _stamp(environment)
        wanted = _wanted(project, development or found.get("development", False))
        runs = _runs(environment, f"import sys, pip; print(sys.version_info[:2] == {sys.version_info[:2]!r})")
        if not runs or found != wanted:
            _fill(project, environment, found if runs else {}, wanted, lock.fileno())
        ensure_parts(project, lock.fileno())
        if not runs or found != wanted:
            _install_project(project, environment)
            (environment / STAMP).write_text(json.dumps(wanted, indent=1), encoding="utf-8")
    return environment


def _wanted(project: Path, development: bool) -> dict[str, Any]:
    return {
        "python": list(sys.version_info[:2]),
        "project": str(project),
        "development": development,
        "packages": _digest(project, BUILD_LOCK, LOCKS[development]),
        "metadata": _digest(project, "pyproject.toml", "setup.py"),
    }


def _digest(project: Path, *names: str) -> str:
    digest = hashlib.sha256()
    for path in (project / name for name in names):
        digest.update((path.read_bytes() if path.exists() else b"") + b"\0")
    return digest.hexdigest()


def _stamp(environment: Path) -> dict[str, Any]:
    try:
        content = json.loads((environment / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _fill(project: Path, environment: Path, found: Mapping[str, Any], wanted: Mapping[str, Any], lock: int) -> None:
    """Bring the packages to the lock; in a folder that was moved everything is made again, for its scripts name it."""
    started = time.monotonic()
    (environment / STAMP).unlink(missing_ok=True)
    if not found or found.get("project") != wanted["project"]:
        _make(environment)
    elif found.get("packages") == wanted["packages"]:
        return
    python = environment / "bin" / "python"
    settings = pip_settings(python)
    if not _has(environment, project / BUILD_LOCK):
        run_counted(
            [*pip_command(python), "install", "--progress-bar", "off", "--require-hashes", "-r", BUILD_LOCK],
            describe=lambda count: f"installing what installs the rest: {count} of 2 packages",
            counts=lambda line: line.startswith("Collecting "),
            cwd=project,
            environment=for_pip(settings),
            keep_open=(lock,),
        )
    name = LOCKS[wanted["development"]]
    downloads = Downloads(f"installing {name} ({_packages_in(project / name)} packages)")
    run_counted(
        [*_uv(environment), "--compile-bytecode", "--exact", "--require-hashes", "-r", BUILD_LOCK, "-r", name],
        describe=downloads.describe,
        counts=downloads.counts,
        cwd=project,
        environment=for_uv(settings),
        keep_open=(lock,),
    )
    say(f"  {environment} has its packages ({elapsed(time.monotonic() - started)})")


def _make(environment: Path) -> None:
    base = getattr(sys, "_base_executable", None) or sys.executable
    say(f"  making {environment} with {base}")
    if importlib.util.find_spec("ensurepip") is None:
        raise StepFailed(
            f"{base} cannot make virtual environments: its ensurepip is missing (on Debian and Ubuntu it is in the "
            "package python3-venv). Install that, or name another Python: make PYTHON=/path/to/python3.11 ..."
        )
    for entry in environment.iterdir():
        if entry.name != "lock":
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    _run([base, "-I", "-m", "venv", "--symlinks", str(environment)], environment.parent, dict(os.environ))


def _install_project(project: Path, environment: Path) -> None:
    # setuptools, which builds it, is there by hash; nothing is fetched.
    command = [*_uv(environment), "--quiet", "--offline", "--no-deps", "--no-build-isolation", "-e", "."]
    _run(command, project, for_uv(pip_settings(environment / "bin" / "python")))
    # Where PYTHONDONTWRITEBYTECODE is set nobody else would, and each program would compile all that it imports. A
    # folder that cannot be written to is none the worse.
    compiled = [str(environment / "bin" / "python"), "-I", "-m", "compileall", "-q", "-j", "0", *SOURCES]
    subprocess.run(compiled, cwd=project, capture_output=True, check=False)


def _uv(environment: Path) -> list[str]:
    python = environment / "bin" / "python"
    return [str(environment / "bin" / "uv"), "pip", "install", "--python", str(python)]


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    answer = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise StepFailed(f"{' '.join(command[:3])} ... failed in {folder}:\n{answer.stdout}{answer.stderr}")


def _has(environment: Path, lock: Path) -> bool:
    """Tell whether the environment has just what a lock names."""
    pinned = re.findall(r"^([\w.-]+==\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    packages = environment / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    return all((packages / f"{pin.replace('==', '-')}.dist-info").is_dir() for pin in pinned)


def _packages_in(lock: Path) -> int:
    return len(re.findall(r"^[A-Za-z0-9]", lock.read_text(encoding="utf-8"), re.MULTILINE))


def _runs(environment: Path, question: str) -> bool:
    """Tell whether the environment's interpreter answers a question with True."""
    try:
        command = [str(environment / "bin" / "python"), "-I", "-c", question]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return answer.stdout.strip() == "True"


def main() -> int:
    """Set up the environment; 0, or 1 with what to do next on standard error."""
    exit_on_sigterm()
    return reported(lambda: ensure_environment(development=sys.argv[1:] == ["--development"]))


if __name__ == "__main__":
    sys.exit(main())
