"""`python3 -m tools.tensorflow`: make `.venv-tensorflow` from requirements-tensorflow.lock; quick when nothing changed.

TensorFlow is only needed to import its own files and to fine-tune. It is large and pins other packages' versions, so
it lives beside `.venv`; `accelform` finds it there. `--path` prints the interpreter, or nothing when it was not made.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import subprocess
import sys
import time
from pathlib import Path

from tools.installers import for_uv, pip_settings
from tools.progress import StepFailed, elapsed, exit_on_sigterm, reported, run_counted, say
from tools.sources import PROJECT
from tools.venv import ensure_environment

ENVIRONMENT = ".venv-tensorflow"
LOCK = "requirements-tensorflow.lock"
STAMP = "accelform-stamp"


def interpreter(project: Path = PROJECT) -> Path | None:
    """Return the environment's Python if it was completed from the present lock."""
    stamp = project / ENVIRONMENT / STAMP
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != _stamp(project):
        return None
    return project / ENVIRONMENT / "bin" / "python"


def ensure_tensorflow(project: Path = PROJECT) -> Path:
    """Create or update the environment and return its Python; raises StepFailed with what to do next."""
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
            _run(
                [str(uv), "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(environment)], project
            )
        total = len(re.findall(r"^[A-Za-z0-9]", (project / LOCK).read_text(encoding="utf-8"), re.MULTILINE))
        install = [str(uv), "pip", "install", "--python", str(python)]
        run_counted(
            [*install, "--compile-bytecode", "--require-hashes", "-r", LOCK],
            describe=lambda count: f"installing {LOCK}: {count} of {total} packages ready",
            counts=lambda line: line.lstrip().startswith("+ "),
            cwd=project,
            environment=for_uv(pip_settings(uv.with_name("python"))),
            keep_open=(lock.fileno(),),
        )
        _run([*install, "--quiet", "--no-deps", "--no-build-isolation", "-e", "."], project)
        (environment / STAMP).write_text(_stamp(project), encoding="utf-8")
        say(f"  {environment} is ready ({elapsed(time.monotonic() - started)})")
    return python


def _run(command: list[str], project: Path) -> None:
    answer = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise StepFailed(f"{' '.join(command[:3])} failed in {project}:\n{answer.stdout}{answer.stderr}")


def _stamp(project: Path) -> str:
    digest = hashlib.sha256()
    for name in (LOCK, "pyproject.toml"):
        digest.update((project / name).read_bytes() + b"\0")
    digest.update(f"{sys.version_info[:2]} {project}".encode())
    return digest.hexdigest()


def main(arguments: list[str]) -> int:
    """Set up the environment, or with `--path` only tell where it is; 0, or 1 with what to do next."""
    exit_on_sigterm()
    if arguments == ["--path"]:
        print(interpreter() or "")
        return 0
    return reported(ensure_tensorflow)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
