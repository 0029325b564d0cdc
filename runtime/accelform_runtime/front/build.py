"""`python -m accelform_runtime.front.build`: compile the front's program into this package.

The same Go release and the same sources give the same bytes: no paths, no build id, no version control stamp. A user's
Go settings say where modules come from and where caches are, and nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from accelform_runtime.compiling import BuildFailed, CompilerMissing, digest_of, forget, is_current, leave_out, mark

FOLDER = Path(__file__).resolve().parent
SOURCES = FOLDER.parent.parent / "front"
PROGRAM = FOLDER / "accelform-front"

FLAGS = ("-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=")

ORIGINS = (
    *("GOPROXY", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOINSECURE", "GOAUTH", "GOVCS"),
    *("GOPATH", "GOMODCACHE", "GOCACHE", "GOTMPDIR"),
)
"""Where modules come from and where caches are: the user's to say, in the environment or with `go env -w`."""

SHIELDED = (
    *("GOFLAGS", "GOWORK", "GOENV", "GOROOT", "GOOS", "GOARCH", "GOEXPERIMENT", "GODEBUG", "GO111MODULE", "GOBIN"),
    *("GO386", "GOAMD64", "GOARM", "GOARM64", "GOMIPS", "GOMIPS64", "GOPPC64", "GORISCV64", "GOWASM", "GOFIPS140"),
    *("CGO_ENABLED", "CGO_CFLAGS", "CGO_CPPFLAGS", "CGO_CXXFLAGS", "CGO_LDFLAGS", "GCCGO", "GOTOOLDIR"),
)
"""What would change the program, or break its build: never taken from the user."""

Run = Callable[[Sequence[str], Path, Mapping[str, str]], None]


def environment() -> dict[str, str]:
    """The environment of every go command: pinned modules only, static programs for this machine.

    Raises CompilerMissing without Go, BuildFailed where Go does not tell its settings or its caches cannot be written.
    """
    if shutil.which("go") is None:
        raise CompilerMissing("there is no Go on PATH; install it (1.26 or newer), then install this package again")
    plain = {name: value for name, value in os.environ.items() if name not in SHIELDED}
    told = _told(plain)
    fixed = {
        **{name: value for name, value in told.items() if name in ORIGINS and value},
        **{name: str(_cache(told[name], name)) for name in ("GOCACHE", "GOMODCACHE")},
        "CGO_ENABLED": "0",
        "GOENV": "off",
        "GOFLAGS": "-mod=readonly",
        # A toolchain of one version is another project's wish; that none is fetched is the user's rule.
        "GOTOOLCHAIN": "local" if _toolchain(told).startswith("local") else "auto",
        "GOWORK": "off",
    }
    return {**plain, **fixed}


def build(
    program: Path = PROGRAM,
    *,
    sources: Path = SOURCES,
    run: Run | None = None,
) -> Path:
    """Compiles the sources into `program`, which appears at once or not at all; a current one stays as it is.

    The modules it needs are fetched once, checked against go.sum, and kept in Go's own cache. `run` takes the command,
    its folder and its environment, and raises where it fails.

    Raises:
        CompilerMissing: there is no Go.
        BuildFailed: with what Go said.
    """
    digest = sources_digest(sources)
    if is_current(program, digest):
        return program
    if shutil.which("go") is None:
        leave_out(program)
    go_environment = environment()
    unfinished = program.with_name(f".{program.name}.{os.getpid()}")
    try:
        forget(program)
        (run or _run)(("go", "build", *FLAGS, "-o", str(unfinished), "."), sources, go_environment)
        unfinished.replace(program)
        mark(program, digest)
    except OSError as error:
        raise BuildFailed(f"cannot build {program}: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return program


def sources_digest(sources: Path = SOURCES) -> str:
    """What the program is made from; tests of the sources are no part of it."""
    code = [path for path in sources.rglob("*.go") if not path.name.endswith("_test.go")]
    return digest_of([*code, *sources.glob("go.*"), Path(__file__)])


def _told(plain: Mapping[str, str]) -> dict[str, str]:
    """What Go says of the user's settings, those that they keep in Go's own file included."""
    asked = {**plain, "GOFLAGS": "", "GOWORK": "off", "GOTOOLCHAIN": "local"}
    if "GOENV" in os.environ:
        asked["GOENV"] = os.environ["GOENV"]
    command = ["go", "env", "-json", *ORIGINS, "GOENV", "GOROOT"]
    answer = subprocess.run(command, cwd=FOLDER, env=asked, capture_output=True, text=True, check=False)
    try:
        if answer.returncode != 0:
            raise ValueError(answer.stderr.strip())
        return {str(name): str(value) for name, value in json.loads(answer.stdout).items()}
    except ValueError as error:
        raise BuildFailed(f"`go env` does not tell its settings: {error}") from error


def _toolchain(told: Mapping[str, str]) -> str:
    """GOTOOLCHAIN as the user has it: in the environment, in their file, or as their Go was packaged."""
    if named := os.environ.get("GOTOOLCHAIN"):
        return named
    for file in (Path(told["GOENV"]), Path(told["GOROOT"], "go.env")):
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            continue
        if found := [line.partition("=")[2].strip() for line in lines if line.startswith("GOTOOLCHAIN=")]:
            return found[-1]
    return ""


def _cache(folder: str, name: str) -> Path:
    """A cache of Go's where it can be written, else one below the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ.get("HOME", ""), ".cache")
    places = [Path(folder), Path(home, "accelform", name.lower())]
    for place in (place for place in places if place.is_absolute()):
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(place, os.W_OK | os.X_OK):
            return place
    raise BuildFailed(
        f"Go's cache cannot be written: {' or '.join(map(str, places))}. Set XDG_CACHE_HOME to a folder that can be, "
        f"or {name}."
    )


def _run(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
    answer = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise BuildFailed(f"go cannot build {folder}:\n{answer.stderr.strip()}")


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
