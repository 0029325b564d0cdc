"""One environment for each serving tool, .venv-serving-peers/NAME, from its own lock; `--lock` resolves them again."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from benchmarks.peer_tools.environment import PeersUnavailable

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent
ENVIRONMENTS = ROOT / ".venv-serving-peers"
STAMP = "accelform-stamp"


def python_of(peer: str) -> Path:
    """The Python that has the tool `peer`; makes its environment when it is missing or its lock has changed.

    Raises:
        PeersUnavailable: it can't be made; the message tells why.
    """
    lock, environment = FOLDER / peer / "requirements.lock", ENVIRONMENTS / peer
    stamp = hashlib.sha256(lock.read_bytes()).hexdigest()
    python, mark = environment / "bin" / "python", environment / STAMP
    if mark.exists() and mark.read_text(encoding="utf-8") == stamp:
        return python
    print(f"making {environment} from {lock.relative_to(ROOT)}, once", flush=True)
    _uv("venv", "--quiet", "--allow-existing", "--python", sys.executable, str(environment))
    _uv("pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", str(lock))
    mark.write_text(stamp, encoding="utf-8")
    return python


def child_environment(python: Path, settings: dict[str, str]) -> dict[str, str]:
    """Variables for a tool's process: this project's pipeline on its path, and its service's `settings`."""
    paths = {"PYTHONPATH": f"{ROOT / 'runtime'}:{ROOT}", "PATH": f"{python.parent}:{os.environ.get('PATH', '')}"}
    # Triton's Python stub takes the first libpython3.11 that the loader finds; it has to be that of its modules
    paths["LD_LIBRARY_PATH"] = f"{sysconfig.get_config_var('LIBDIR')}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    return {**os.environ, **paths, **settings}


def lock() -> None:
    """Writes every requirements.lock from the requirements.in beside it."""
    for requirements in sorted(FOLDER.glob("*/requirements.in")):
        command = ["pip", "compile", "--quiet", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url"]
        command += ["--custom-compile-command", "python -m benchmarks.serving_peers.environments --lock"]
        locked = requirements.with_suffix(".lock").relative_to(ROOT)
        _uv(*command, "--output-file", str(locked), str(requirements.relative_to(ROOT)))


def _uv(*arguments: str) -> None:
    answer = subprocess.run(
        [str(Path(sys.executable).parent / "uv"), *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        lines = answer.stderr.strip().splitlines()
        raise PeersUnavailable(f"uv {arguments[0]} failed: {lines[-1] if lines else answer.returncode}")


if __name__ == "__main__":
    if sys.argv[1:] != ["--lock"]:
        sys.exit("usage: python -m benchmarks.serving_peers.environments --lock")
    lock()
