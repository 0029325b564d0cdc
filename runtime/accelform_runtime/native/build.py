"""`python -m accelform_runtime.native.build`: compile the library into this package.

The same compiler and the same sources give the same bytes: no debug information, no build id, no paths. Flags come
from here only: compilers are run without what a user's environment adds to them, and with it where that is needed.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from accelform_runtime.compiling import BuildFailed, CompilerMissing, digest_of, forget, is_current, leave_out, mark

FOLDER = Path(__file__).resolve().parent
SOURCES = FOLDER / "src"
LIBRARY = FOLDER / "libaccelform_native.so"

EXACT = ("-std=c11", "-ffp-contract=off", "-fno-fast-math", "-fno-math-errno", "-fno-trapping-math")
"""Every float32 operation is rounded as it is written; errno and traps are not looked at."""

FAST = ("-O3", "-g0", "-fno-plt", "-Wl,--build-id=none", "-s")
SHARED = ("-shared", "-fPIC", "-pthread", "-fvisibility=hidden")

SHIELDED = ("CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX", "CCC_OVERRIDE_OPTIONS")
"""What compilers read beside their arguments."""

LOAD = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"


def compilers() -> list[list[str]]:
    """The C compilers here as commands: what CC says, then cc, gcc and clang."""
    try:
        named = shlex.split(os.environ.get("CC", ""))
    except ValueError:
        named = []
    return [command for command in (named, ["cc"], ["gcc"], ["clang"]) if command and shutil.which(command[0])]


def compiler() -> list[str] | None:
    """The first of compilers(); None: there is none."""
    return next(iter(compilers()), None)


def build(library: Path = LIBRARY, *, flags: Sequence[str] = FAST, sources: Path = SOURCES) -> Path:
    """Compiles the sources into `library`, which appears at once or not at all; a current one stays as it is.

    The compilers are tried in their order, and a library counts when this Python can load it: CC may be meant for
    another machine.

    Raises:
        CompilerMissing: there is no C compiler.
        BuildFailed: with what each compiler said.
    """
    digest = sources_digest(sources) if flags is FAST else ""
    if digest and is_current(library, digest):
        return library
    if not compilers():
        if digest:
            leave_out(library)
        raise CompilerMissing("there is no C compiler (cc, gcc, clang, or what CC names); install one, or go without")
    unfinished = library.with_name(f".{library.name}.{os.getpid()}")
    shielded = {name: value for name, value in os.environ.items() if name not in SHIELDED}
    said = []
    try:
        forget(library)
        for command in compilers():
            for environment in (shielded, os.environ):
                if not (problem := _compile([*command, *EXACT, *flags], sources, unfinished, environment, load=digest)):
                    unfinished.replace(library)
                    if digest:
                        mark(library, digest)
                    return library
                said.append(f"{shlex.join(command)} cannot compile {sources}:\n{problem}")
    except OSError as error:
        raise BuildFailed(f"cannot build {library}: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    raise BuildFailed("\n".join(dict.fromkeys(said)))


def sources_digest(sources: Path = SOURCES) -> str:
    """What the library is made from."""
    return digest_of([*sources.glob("*.[ch]"), Path(__file__)])


def _compile(
    command: Sequence[str], sources: Path, library: Path, environment: Mapping[str, str], *, load: object
) -> str:
    """Why one compiler made no library, or none that can be loaded here; empty: it did."""
    files = sorted(path.name for path in sources.glob("*.c"))
    steps = [[*command, *SHARED, *files, "-o", str(library), "-lm"]]
    if load:
        steps.append([sys.executable, "-I", "-c", LOAD, str(library)])
    for step in steps:
        answer = subprocess.run(step, cwd=sources, env=environment, capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            return answer.stderr.strip() or f"exit code {answer.returncode}"
    return ""


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
