"""A provider ends with its engine, however that ended: nobody else would end it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.contract.providers.conftest import Plugin

from accelform.resources.workspace import WorkspaceProvider

WAIT_SECONDS = 60
INPUTS = {"name": "w", "storage_url": "store", "owner": "accelform/edge/w"}


def test_a_provider_whose_engine_was_killed_ends(project: Path) -> None:
    """When nobody reads any more what the plugin prints, it ends by itself, whatever shell started it; before that it
    serves one call after the other."""
    shell = subprocess.Popen(
        ["sh", "-c", f"echo $$; {sys.executable} -u -m pulumi.dynamic; exit $?"],
        cwd=project / "infra",
        stdout=subprocess.PIPE,
        text=True,
    )
    assert shell.stdout is not None
    try:
        shell.stdout.readline()
        plugin = Plugin(int(shell.stdout.readline()))
        for _ in range(2):
            plugin.check(WorkspaceProvider(), INPUTS)
        assert shell.poll() is None

        shell.stdout.close()

        assert shell.wait(timeout=WAIT_SECONDS) == 128 + signal.SIGTERM
    finally:
        shell.kill()
        shell.wait()
