"""`python -m accelform_runtime.front.build`: compile the front's program into this package.

The same Go release and the same sources give the same bytes: no paths, no build id, no version control stamp.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SOURCES = FOLDER.parent.parent / "front"
PROGRAM = FOLDER / "accelform-front"

_FLAGS = ("-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=")


class BuildFailed(Exception):
    """There is no Go, or it refused the sources."""


def build(program: Path = PROGRAM, *, sources: Path = SOURCES) -> Path:
    """Compiles the sources into `program`, which appears at once or not at all.

    The modules it needs are fetched once, checked against go.sum, and kept in Go's own cache.

    Raises:
        BuildFailed: with what Go said.
    """
    go = shutil.which("go")
    if go is None:
        raise BuildFailed("there is no Go on PATH; install it (1.26 or newer), then install this package again")
    unfinished = program.with_name(f".{program.name}.{os.getpid()}")
    try:
        answer = subprocess.run(
            [go, "build", *_FLAGS, "-o", str(unfinished), "."],
            cwd=sources,
            env={**os.environ, "CGO_ENABLED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode != 0:
            raise BuildFailed(f"go cannot build {sources}:\n{answer.stderr.strip()}")
        unfinished.replace(program)
    except OSError as error:
        raise BuildFailed(f"cannot build {program}: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return program


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
