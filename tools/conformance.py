"""`python3 -m tools.conformance`: make `.venv-conformance` from its lock; quick when nothing changed.

It holds clients that others wrote: TensorFlow Serving's published stubs, OpenVINO's client and azureml.accel's. Tests
call the service with them from a process of their own. `--path` prints the interpreter, or nothing if there is none.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from tools.installers import for_uv, pip_settings
from tools.progress import StepFailed, elapsed, exit_on_sigterm, reported, run_counted, say
from tools.sources import PROJECT
from tools.venv import ensure_environment

ENVIRONMENT = ".venv-conformance"
LOCK = "requirements-conformance.lock"
STAMP = "accelform-stamp"
INTERPRETER = "ACCELFORM_CONFORMANCE_PYTHON"
"""Environment variable that names the Python of an environment that has the clients already."""


def interpreter(project: Path = PROJECT) -> Path | None:
    """Return the named Python, or the environment's if it was completed from the present lock."""
    if named := os.environ.get(INTERPRETER):
        return Path(named)
    stamp = project / ENVIRONMENT / STAMP
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != _stamp(project):
        return None
    return project / ENVIRONMENT / "bin" / "python"


def ensure_conformance(project: Path = PROJECT) -> Path:
    """Create or update the environment and return its Python; raises StepFailed with what to do next."""
    if (named := interpreter(project)) is not None:
        return named
    uv = ensure_environment(project) / "bin" / "uv"
    environment = project / ENVIRONMENT
    environment.mkdir(exist_ok=True)
    with (environment / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (found := interpreter(project)) is not None:
            return found
        started = time.monotonic()
        (environment / STAMP).unlink(missing_ok=True)
        python = environment / "bin" / "python"
        if not python.exists():
            _make(uv, environment)
        total = len(re.findall(r"^[A-Za-z0-9]", (project / LOCK).read_text(encoding="utf-8"), re.MULTILINE))
        install = [str(uv), "pip", "install", "--python", str(python)]
        run_counted(
            # The lock is whole but for azureml-core, which is left out on purpose: nothing else may be looked for.
            [*install, "--compile-bytecode", "--no-deps", "--require-hashes", "-r", LOCK],
            describe=lambda count: f"installing {LOCK}: {count} of {total} packages ready",
            counts=lambda line: line.lstrip().startswith("+ "),
            cwd=project,
            environment=for_uv(pip_settings(uv.with_name("python"))),
            keep_open=(lock.fileno(),),
        )
        (environment / STAMP).write_text(_stamp(project), encoding="utf-8")
        say(f"  {environment} is ready ({elapsed(time.monotonic() - started)})")
    return python


def _make(uv: Path, environment: Path) -> None:
    command = [str(uv), "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(environment)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise StepFailed(f"uv venv failed for {environment}:\n{answer.stdout}{answer.stderr}")


def _stamp(project: Path) -> str:
    digest = hashlib.sha256((project / LOCK).read_bytes())
    digest.update(f"{sys.version_info[:2]} {project}".encode())
    return digest.hexdigest()


def main(arguments: list[str]) -> int:
    """Set up the environment, or with `--path` only tell where it is; 0, or 1 with what to do next."""
    exit_on_sigterm()
    if arguments == ["--path"]:
        print(interpreter() or "")
        return 0
    return reported(ensure_conformance)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
