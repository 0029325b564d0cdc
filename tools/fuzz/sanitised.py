"""The native engine under GCC's sanitisers: built once per machine and sources, outside of any test's time.

`address` finds accesses outside of memory and undefined arithmetic, `thread` accesses by two threads without order.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tools.toolchain.cache import cache_root, install, locked

from accelform_runtime.native import build

ROOT: Final = Path(__file__).parents[2]
FLAGS: Final[Mapping[str, tuple[str, ...]]] = {
    "address": ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"),
    "thread": ("-O1", "-g", "-fsanitize=thread"),
}
_RUN_TIMES: Final = {"address": ("libasan.so", "libubsan.so"), "thread": ("libtsan.so",)}
_OPTIONS: Final = {
    "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
    # Python itself is not built for it, so that only what the library does with its own threads can be told.
    "TSAN_OPTIONS": "halt_on_error=1:exitcode=66:allocator_may_return_null=1:ignore_noninstrumented_modules=1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def problem(name: str) -> str | None:
    """Why there is no such library here; None where there can be."""
    if build.compiler() is None:
        return "there is no C compiler"
    if not all(path.is_absolute() for path in _run_times(name)):
        return f"the compiler's {name} sanitiser is not installed"
    return None


def library(name: str) -> Path:
    """The library under that sanitiser, from the cache where it is there already. Raises BuildFailed."""
    root, key = cache_root().parent / "sanitised", f"{name}-{_digest(name)}"
    found = root / key / "library.so"
    if not found.exists():
        with locked(root):
            if not found.exists():
                install(
                    root,
                    key,
                    lambda partial: _fill(partial / "library.so", name),
                    lambda partial: (partial / "library.so").exists(),
                )
    return found


def command(name: str, runs: int, seed: int = 1) -> tuple[list[str], dict[str, str]]:
    """What fuzzes that library, and its environment."""
    preload = " ".join(map(str, _run_times(name)))
    # At addresses drawn at random the thread sanitiser may find its own part of memory taken.
    steady = [shutil.which("setarch") or "", "-R"] if name == "thread" and shutil.which("setarch") else []
    words = [*steady, sys.executable, "-m", "tools.fuzz.native", str(library(name)), str(runs), str(seed)]
    return words, os.environ | _OPTIONS | {"LD_PRELOAD": preload}


def fuzz(name: str, runs: int, seed: int = 1) -> subprocess.CompletedProcess[str]:
    """Runs it to its end."""
    words, environment = command(name, runs, seed)
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def _fill(path: Path, name: str) -> None:
    build.build(path, flags=FLAGS[name])


def _run_times(name: str) -> list[Path]:
    found = []
    for file in _RUN_TIMES[name]:
        try:
            told = subprocess.run(
                ["gcc", f"-print-file-name={file}"], capture_output=True, text=True, check=True
            ).stdout
        except (OSError, subprocess.CalledProcessError):
            told = ""
        found.append(Path(told.strip()))
    return found


def _digest(name: str) -> str:
    """Of all that decides what the library is: its sources, its flags and its compiler."""
    version = subprocess.run(
        [*(build.compiler() or []), "--version"], capture_output=True, text=True, check=False
    ).stdout.splitlines()[:1]
    seen = hashlib.sha256(repr((FLAGS[name], build.EXACT, build.SHARED, version)).encode())
    for path in sorted(build.SOURCES.glob("*.[ch]")):
        seen.update(path.name.encode() + b"\0" + path.read_bytes())
    return seen.hexdigest()[:16]


def main() -> int:
    """Builds those that there can be here."""
    for name in FLAGS:
        why = problem(name)
        print(f"{name}: {why or library(name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
