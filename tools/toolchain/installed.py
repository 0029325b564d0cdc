"""A Pulumi that the user already has: used as it is when its version fits and a Python language host is beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tools.progress import say
from tools.toolchain.pins import Version, fits

VERSION_TIMEOUT_SECONDS = 20


def engine_version(executable: Path) -> Version | None:
    """Ask a `pulumi` executable for its version; None when it does not answer sensibly."""
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"PULUMI_SKIP_UPDATE_CHECK": "true", "PULUMI_HOME": home}
        try:
            answer = subprocess.run(
                [executable, "version"],
                env=environment,
                capture_output=True,
                text=True,
                timeout=VERSION_TIMEOUT_SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None
    return Version.find(answer.stdout)


def find_installed(*, sdk: Version, search_path: str, cache_root: Path) -> Path | None:
    """Return the folder of the first `pulumi` on a search path when it fits, else None and say why it does not.

    Folders below the cache are passed over: what lies there is chosen by its key, not by being on PATH.
    """
    entries = [entry for entry in search_path.split(os.pathsep) if entry and not Path(entry).is_relative_to(cache_root)]
    outside = os.pathsep.join(entries)
    found = shutil.which("pulumi", path=outside)
    if found is None:
        return None
    executable = Path(found)
    version = engine_version(executable)
    if version is None:
        say(f"  {executable} does not answer `pulumi version`; not used")
        return None
    if not fits(version, sdk=sdk):
        say(f"  {executable} is {version}; the SDK here is {sdk} and needs {sdk.major}.{sdk.minor} or newer; not used")
        return None
    if shutil.which("pulumi-language-python", path=os.pathsep.join([str(executable.parent), outside])) is None:
        say(f"  {executable} is {version}, but no pulumi-language-python is beside it; not used")
        return None
    return executable.parent
