"""`python3 -m tools.front`: what Go says of the server's front: its format, what `go vet` objects to, its own tests.

A step of its own beside pytest: how long it takes depends on what Go has to compile, which no test's time limit knows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tools.progress import StepFailed, elapsed, reported, say
from tools.sources import PROJECT
from tools.toolchain.gobuild import BUILD_FLAGS, go_environment

FRONT = PROJECT / "runtime" / "front"
# With the flags of the program itself, so that what it is built from is compiled once.
CHECKS = (("vet", *BUILD_FLAGS, "./..."), ("test", *BUILD_FLAGS, "-timeout", "300s", "./..."))


def check(front: Path = FRONT) -> None:
    """Check the sources of a module, and run its tests; what Go prints goes to standard output.

    Without Go nothing is checked, which is said, and fails on CI. Raises StepFailed.
    """
    if shutil.which("go") is None or shutil.which("gofmt") is None:
        if os.environ.get("CI") == "true":
            raise StepFailed("the front was not checked: there is no Go on PATH, and on CI nothing is left out")
        say("the front is not checked: there is no Go on PATH")
        return
    began = time.monotonic()
    unformatted = subprocess.run(["gofmt", "-l", "."], cwd=front, capture_output=True, text=True, check=False)
    if unformatted.returncode or unformatted.stdout:
        files = (unformatted.stderr or unformatted.stdout).strip().replace("\n", ", ")
        raise StepFailed(f"gofmt would write these files of {front} in another way: {files}. Run gofmt -w on them.")
    for arguments in CHECKS:
        sys.stdout.flush()
        if subprocess.run(["go", *arguments], cwd=front, env=go_environment(), check=False).returncode:
            raise StepFailed(f"go {' '.join(arguments)} failed in {front}; what it said is above")
    say(f"the front: format, go vet and go test, {elapsed(time.monotonic() - began)}")


def main() -> int:
    """Check the front; 0, or 1 with what is wrong on standard error."""
    return reported(check)


if __name__ == "__main__":
    sys.exit(main())
