"""The public tools' environment: `.venv-peers`, from its own lock; `--lock` resolves that again."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent
REQUIREMENTS, LOCK = FOLDER / "requirements.in", FOLDER / "requirements.lock"
ENVIRONMENT = ROOT / ".venv-peers"
STAMP = "accelform-stamp"
INTERPRETER = "ACCELFORM_PEERS_PYTHON"
"""Environment variable that names the Python of an environment that has the tools already."""


class PeersUnavailable(Exception):
    """The public tools can't be had here."""


def peers_python() -> Path:
    """The Python that has the public tools; makes its environment, of six gigabytes, when it is missing.

    Raises:
        PeersUnavailable: it can't be made; the message tells why.
    """
    if named := os.environ.get(INTERPRETER):
        return Path(named)
    stamp = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    python, mark = ENVIRONMENT / "bin" / "python", ENVIRONMENT / STAMP
    if mark.exists() and mark.read_text(encoding="utf-8") == stamp:
        return python
    print(f"making {ENVIRONMENT} from {LOCK.relative_to(ROOT)}: some gigabytes, once", flush=True)
    _uv("venv", "--quiet", "--allow-existing", "--python", sys.executable, str(ENVIRONMENT))
    _uv("pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", str(LOCK))
    mark.write_text(stamp, encoding="utf-8")
    return python


def child_environment(python: Path, *, threads: int) -> dict[str, str]:
    """Variables for a process of the tools: our definition on its path, its own compiler helpers, `threads` threads."""
    paths = {"PYTHONPATH": f"{ROOT / 'runtime'}:{ROOT}", "PATH": f"{python.parent}:{os.environ.get('PATH', '')}"}
    return {**os.environ, **paths, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


def lock() -> None:
    """Writes requirements.lock from requirements.in."""
    command = ["pip", "compile", "--quiet", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url"]
    command += ["--custom-compile-command", "python -m benchmarks.peer_tools.environment --lock"]
    _uv(*command, "--output-file", str(LOCK.relative_to(ROOT)), str(REQUIREMENTS.relative_to(ROOT)))


def _uv(*arguments: str) -> None:
    answer = subprocess.run(
        [str(Path(sys.executable).parent / "uv"), *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        lines = answer.stderr.strip().splitlines()
        raise PeersUnavailable(f"uv {arguments[0]} failed: {lines[-1] if lines else answer.returncode}")


if __name__ == "__main__":
    if sys.argv[1:] != ["--lock"]:
        sys.exit("usage: python -m benchmarks.peer_tools.environment --lock")
    lock()
