"""A stack's outputs, read through the Pulumi CLI; secrets pass through pipes only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from accelform import project
from accelform.errors import PulumiMissing, StackUnreadable

DEFAULT_STACK: Final = "edge"
TIMEOUT_SECONDS: Final = 60
_BACKEND: Final = "PULUMI_BACKEND_URL"
_COMMAND: Final = ("pulumi", "stack", "output", "--json", "--show-secrets", "--non-interactive", "--color", "never")
_HINT: Final = (
    'run `make up`, or `pulumi login` and `pulumi up -s {stack}`; `eval "$(make -s env)"` selects what make made'
)


def read_outputs(
    stack: str, *, root: Path | None = None, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The outputs of `stack`, secrets in clear, from the project around the current folder.

    The environment is used as it is, unless it names no backend and `make up` made this stack: then the exports of
    `make env` apply. Raises PulumiMissing or StackUnreadable.
    """
    folder = root or project.root()
    env = dict(os.environ if environment is None else environment)
    exports = _exports(folder) if _BACKEND not in env and _made_by_make(folder, stack) else ""
    if not exports and not shutil.which("pulumi", path=env.get("PATH")):
        raise PulumiMissing(f"cannot read stack {stack!r}: pulumi is not on PATH; " + _HINT.format(stack=stack))
    command = ["sh", "-c", 'eval "$1"; shift; exec "$@"', "sh", exports, *_COMMAND, "--stack", stack]
    try:
        answer = subprocess.run(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StackUnreadable(f"pulumi did not tell the outputs of stack {stack!r} in {TIMEOUT_SECONDS} s") from error
    if answer.returncode:
        reason = " ".join(answer.stderr.split()) or f"exit code {answer.returncode}"
        raise StackUnreadable(f"pulumi cannot read stack {stack!r}: {reason}; " + _HINT.format(stack=stack))
    try:
        outputs = json.loads(answer.stdout)
    except ValueError as error:
        raise StackUnreadable(f"pulumi answered something else than JSON for stack {stack!r}") from error
    if not isinstance(outputs, dict) or not outputs.get("scoring_uri"):
        raise StackUnreadable(
            f"stack {stack!r} has no scoring_uri, so nothing is deployed; " + _HINT.format(stack=stack)
        )
    return outputs


def _made_by_make(folder: Path, stack: str) -> bool:
    stacks = folder / ".accelform" / "state" / ".pulumi" / "stacks"
    return (folder / "tools" / "env.py").is_file() and any(stacks.glob(f"*/{stack}.json"))


def _exports(folder: Path) -> str:
    answer = subprocess.run(
        [sys.executable, "-m", "tools.env"], cwd=folder, stdout=subprocess.PIPE, text=True, check=False
    )
    if answer.returncode:
        raise PulumiMissing("the project's own Pulumi cannot be set up; see above, then run `make up` again")
    return answer.stdout
