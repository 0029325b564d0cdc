"""`python3 -m tools.venv`: bring `.venv` to what requirements.lock says; quick when nothing changed.

Every file that is installed is checked against the hash in the lock. A stamp, written last, names what the environment
was made from, so that a killed run is simply repeated.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

from tools.progress import StepFailed, elapsed, exit_on_sigterm, reported, run_counted, say

PROJECT = Path(__file__).resolve().parents[1]
ENVIRONMENT = PROJECT / ".venv"
STAMP = "accelform-stamp"


def stamp_of(project: Path) -> str:
    """Return what an environment is made from: the lock, the package's metadata and what it compiles, the interpreter,
    which compilers there are, and the place."""
    digest = hashlib.sha256()
    runtime = project / "runtime"
    parts = ("accelform_runtime/native/src/*.[ch]", "accelform_runtime/*/build.py", "front/go.*", "front/**/*.go")
    compiled = sorted(path for part in parts for path in runtime.glob(part) if not path.name.endswith("_test.go"))
    metadata = [project / name for name in ("requirements.lock", "pyproject.toml", "setup.py")]
    for path in (path for path in (*metadata, *compiled) if path.exists()):
        digest.update(path.read_bytes() + b"\0")
    compilers = [name for name in ("cc", "gcc", "clang", "go") if shutil.which(name)]
    digest.update(f"{sys.version_info[:2]} {compilers} {project}".encode())
    return digest.hexdigest()


def ready(environment: Path, stamp: str) -> bool:
    """Tell whether an environment was completed from exactly this stamp and its interpreter still runs."""
    try:
        if (environment / STAMP).read_text(encoding="utf-8") != stamp:
            return False
    except OSError:
        return False
    return _runs(environment)


def ensure_environment(project: Path = PROJECT) -> Path:
    """Create or update the environment and return its folder; raises StepFailed with what to do next."""
    environment = project / ".venv"
    stamp = stamp_of(project)
    if ready(environment, stamp):
        return environment
    if importlib.util.find_spec("ensurepip") is None and not (environment / "bin" / "pip").exists():
        raise StepFailed(
            f"{sys.executable} cannot make virtual environments: its ensurepip is missing (on Debian and Ubuntu it "
            "is in the package python3-venv). Install that, or name another Python: make PYTHON=/path/to/python3.11 ..."
        )
    environment.mkdir(exist_ok=True)
    with (project / ".venv" / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready(environment, stamp):
            _fill(project, environment, lock.fileno())
            (environment / STAMP).write_text(stamp, encoding="utf-8")
    return environment


def _fill(project: Path, environment: Path, lock: int) -> None:
    started = time.monotonic()
    (environment / STAMP).unlink(missing_ok=True)
    if not _runs(environment):
        say(f"  making {environment} with {sys.executable}")
        for entry in environment.iterdir():
            if entry.name != "lock":
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        venv.EnvBuilder(symlinks=True, with_pip=True).create(environment)
    total = len(re.findall(r"^[A-Za-z0-9]", (project / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE))
    pip = [str(environment / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--no-input"]
    run_counted(
        [*pip, "--progress-bar", "off", "--require-hashes", "-r", "requirements.lock"],
        describe=lambda count: f"installing requirements.lock: {count} of {total} packages looked at",
        counts=lambda line: line.startswith(("Collecting ", "Requirement already satisfied: ")),
        cwd=project,
        environment=os.environ,
        keep_open=(lock,),
    )
    answer = subprocess.run(
        [*pip, "--quiet", "--no-deps", "--no-build-isolation", "-e", "."],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        raise StepFailed(f"installing the project into {environment} failed:\n{answer.stdout}{answer.stderr}")
    say(f"  {environment} is ready ({elapsed(time.monotonic() - started)})")


def _runs(environment: Path) -> bool:
    """Tell whether the environment's interpreter runs and is the version we were started with."""
    question = f"import sys, pip; print(sys.version_info[:2] == {sys.version_info[:2]!r})"
    try:
        answer = subprocess.run(
            [environment / "bin" / "python", "-c", question], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return answer.stdout.strip() == "True"


def main() -> int:
    """Set up the environment; 0, or 1 with what to do next on standard error."""
    exit_on_sigterm()
    return reported(ensure_environment)


if __name__ == "__main__":
    sys.exit(main())
