"""`python3 -m tools.env`: print the shell exports with which plain `pulumi` works on what `make up` made.

    eval "$(make -s env)" && pulumi stack output --show-secrets

Everything Pulumi writes goes below `.accelform/`: nothing is left in the home folder and two checkouts share nothing.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tools.loopback import exemptions
from tools.made import STATE_FOLDER, as_made, moved_from, python_path
from tools.plugins import place_plugin
from tools.progress import reported
from tools.sources import PROJECT
from tools.toolchain.__main__ import ensure_pulumi

HOME_FOLDER = "pulumi-home"
# A passphrase or stack in the caller's shell would win over the project's own.
CLEARED = (
    *("PULUMI_CONFIG_PASSPHRASE", "PULUMI_STACK"),
    # So would another Python, or another folder of modules than the environment's.
    *("PULUMI_PYTHON_CMD", "PULUMI_RUNTIME_VIRTUALENV", "PULUMI_RUNTIME_TOOLCHAIN", "PYTHONHOME", "PYTHONPATH"),
)


def passphrase_file(state: Path) -> Path:
    """Return the file with the stacks' random passphrase, readable by its owner only; created on first use."""
    path = state / "passphrase"
    state.mkdir(mode=0o700, exist_ok=True)
    if not path.exists():
        # Written whole before it gets its name: two first calls agree, and a killed one leaves no empty passphrase.
        descriptor, partial = tempfile.mkstemp(prefix="passphrase-", dir=state)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32))
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)
        os.unlink(partial)
    return path


def pulumi_variables(project: Path = PROJECT) -> dict[str, str]:
    """Return the variables that point Pulumi at the project's own backend, passphrase and home."""
    state = project / STATE_FOLDER
    passphrase = passphrase_file(state)
    (state / "state").mkdir(mode=0o700, exist_ok=True)
    moved = {"PYTHONPATH": python_path(project)} if moved_from(project) else {}
    return {
        "PULUMI_BACKEND_URL": f"file://{state / 'state'}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase),
        "PULUMI_HOME": str(state / HOME_FOLDER),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        **moved,
    }


def search_path(toolchain: Path, project: Path = PROJECT) -> str:
    """Return the folders that come first on PATH: the environment's programs, then Pulumi's."""
    return os.pathsep.join([str(project / ".venv" / "bin"), str(toolchain)])


def process_environment(toolchain: Path, project: Path = PROJECT) -> dict[str, str]:
    """Return the whole environment of a `pulumi` process that works on this project's stacks."""
    environment = {name: value for name, value in os.environ.items() if name not in CLEARED}
    environment |= pulumi_variables(project) | exemptions(os.environ)
    environment["PATH"] = search_path(toolchain, project) + os.pathsep + environment.get("PATH", os.defpath)
    return environment


def exports(toolchain: Path, project: Path = PROJECT) -> str:
    """Return shell text for `eval`; every value is quoted."""
    variables = pulumi_variables(project) | exemptions(os.environ)
    return "\n".join([f"unset {' '.join(CLEARED)}", _path(toolchain, project), *_exported(variables)])


def exports_for_tools(toolchain: Path, project: Path = PROJECT) -> str:
    """Return shell text that only names the programs: tests and benchmarks bring their own backends."""
    return "\n".join([_path(toolchain, project), *_exported(exemptions(os.environ))])


def _path(toolchain: Path, project: Path) -> str:
    return f'export PATH={shlex.quote(search_path(toolchain, project))}:"$PATH"'


def _exported(variables: Mapping[str, str]) -> list[str]:
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]


def _print() -> None:
    if sys.argv[1:] == ["--path"]:
        print(exports_for_tools(ensure_pulumi()))
        return
    toolchain = as_made()
    place_plugin(PROJECT / STATE_FOLDER / HOME_FOLDER)
    print(exports(toolchain))


def main() -> int:
    """Print the exports, or with `--path` only those that name programs; 1 with what to do next without a Pulumi."""
    return reported(_print)


if __name__ == "__main__":
    sys.exit(main())
