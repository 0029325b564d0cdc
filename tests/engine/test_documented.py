"""The commands of README.md that need a stack, typed as they are printed there."""

from __future__ import annotations

import shlex
import shutil
from typing import Any

from tests.support.ports import free_port

COMMANDS = """
pulumi config set accelform:model_path my-network/model.yaml
pulumi preview
pulumi config set accelform:port 50061
"""


def test_readme_commands(project: Any) -> None:
    """A network of one's own shows up in the preview, with its forecast; the port moves the address."""
    shutil.copytree(project.folder / "examples" / "digits", project.folder / "my-network")
    printed = ""
    for command in COMMANDS.strip().splitlines():
        # The documented port may be taken on this machine.
        arguments = shlex.split(command.replace("50061", str(free_port())))
        printed += project.pulumi(*arguments[1:]).text

    assert "predicted_latency_ms   : 1.78834" in printed
    assert "my-network" in project.pulumi("preview", "--diff").text
