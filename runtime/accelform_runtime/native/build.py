"""`python -m accelform_runtime.native.build`: compile the library into this package.

The same compiler and the same sources give the same bytes: no debug information, no build id, no paths.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SOURCES = FOLDER / "src"
LIBRARY = FOLDER / "libaccelform_native.so"

EXACT = ("-std=c11", "-ffp-contract=off", "-fno-fast-math", "-fno-math-errno", "-fno-trapping-math")
"""Every float32 operation is rounded as it is written; errno and traps are not looked at."""

FAST = ("-O3", "-g0", "-fno-plt", "-Wl,--build-id=none", "-s")
SHARED = ("-shared", "-fPIC", "-pthread", "-fvisibility=hidden")


class BuildFailed(Exception):
    """There is no C compiler, or it refused the sources."""


def compiler() -> list[str] | None:
    """The C compiler as a command: what CC says, else cc, gcc or clang; None: there is none."""
    for command in (shlex.split(os.environ.get("CC", "")), ["cc"], ["gcc"], ["clang"]):
        if command and shutil.which(command[0]):
            return command
    return None


def build(library: Path = LIBRARY, *, flags: Sequence[str] = FAST, sources: Path = SOURCES) -> Path:
    """Compiles the sources into `library`, which appears at once or not at all.

    Raises:
        BuildFailed: with what the compiler said.
    """
    command = compiler()
    if command is None:
        raise BuildFailed("there is no C compiler (cc, gcc, clang, or what CC names); install one, or go without")
    files = sorted(path.name for path in sources.glob("*.c"))
    unfinished = library.with_name(f".{library.name}.{os.getpid()}")
    try:
        answer = subprocess.run(
            [*command, *EXACT, *flags, *SHARED, *files, "-o", str(unfinished), "-lm"],
            cwd=sources,
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode != 0:
            raise BuildFailed(f"{shlex.join(command)} cannot compile {sources}:\n{answer.stderr.strip()}")
        unfinished.replace(library)
    except OSError as error:
        raise BuildFailed(f"cannot build {library}: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return library


def main() -> int:
    """Build; 0, or 1 with the reason on standard error."""
    try:
        print(build())
    except BuildFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
