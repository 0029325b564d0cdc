"""What the documentation tells people to type is typed somewhere by a machine.

Each command of a `bash` block in README.md and docs/ is one of these: written in `.ci/run`; written in the file that a
comment before the block names (`<!-- run by tests/engine/test_x.py -->`); or run here, which is for commands that are
quick, offline and change nothing. A `python` block is executed here, unless such a comment names where it is. Other
blocks are pictures.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TIMEOUT_SECONDS = 120
FENCE = re.compile(
    r"(?:<!-- run by (?P<elsewhere>\S+) -->\n+)?^(?P<indent> *)```(?P<language>bash|sh|console|python)\n"
    r"(?P<text>.*?)^ *```",
    re.MULTILINE | re.DOTALL,
)
# Read-only commands by how they begin; what else is quick, offline and harmless is added here.
RUN_HERE = ("make help", "make -n ", "accelform --help", "accelform score -h", "accelform estimate ")
# Getting the tree itself cannot be tried from inside it.
PRECONDITIONS = re.compile(r"git clone \S+( \S+)?|cd \S+")


@dataclass(frozen=True)
class Block:
    """One fenced block of a document."""

    document: Path
    line: int
    language: str
    elsewhere: str | None
    text: str

    @property
    def place(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"

    def commands(self) -> list[str]:
        joined = self.text.replace("\\\n", " ")
        lines = (re.sub(r"\s+#\s.*$", "", line).removeprefix("$ ").strip() for line in joined.splitlines())
        return [" ".join(line.split()) for line in lines if line and not line.startswith("#")]


def blocks() -> Iterator[Block]:
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = document.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            indent = len(match["indent"])
            body = "".join(line[indent:] + "\n" for line in match["text"].splitlines())
            line = text.count("\n", 0, match.start("language")) + 1
            yield Block(document, line, match["language"], match["elsewhere"], body)


def written_commands(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [" ".join(line.split()) for line in lines if not line.lstrip().startswith("#")]


def is_written_in(command: str, path: Path) -> bool:
    """A shell script must hold the command as a line of its own; a test may hold it anywhere in a line."""
    if path.suffix == ".py":
        return any(command in line for line in written_commands(path))
    return command in written_commands(path)


def shell_problem(command: str) -> str | None:
    """Run a command the way a reader would, in a shell at the root; returns what went wrong."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    outcome = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    return f"exit code {outcome.returncode}: {outcome.stderr.strip()[-500:]}" if outcome.returncode else None


def command_problem(command: str, block: Block) -> str | None:
    if PRECONDITIONS.fullmatch(command) or is_written_in(command, ROOT / ".ci" / "run"):
        return None
    if block.elsewhere:
        path = ROOT / block.elsewhere
        if not path.is_file():
            return f"{block.elsewhere}, which is said to run it, does not exist"
        return None if is_written_in(command, path) else f"{block.elsewhere} does not hold it"
    if command.startswith(RUN_HERE) and "&&" not in command and ";" not in command:
        return shell_problem(command)
    return "nothing runs it: not .ci/run, no test named before the block, and it is not one that is run here"


def test_every_documented_command_is_run() -> None:
    """No command in the documentation is there on trust."""
    problems = [
        f"{block.place}: `{command}`: {problem}"
        for block in blocks()
        if block.language != "python"
        for command in block.commands()
        if (problem := command_problem(command, block))
    ]
    assert not problems, "\n".join(problems)


def test_every_python_block_runs(tmp_path: Path) -> None:
    """A Python block works as it is printed, in a process of its own."""
    problems = []
    for block in blocks():
        if block.language != "python":
            continue
        if block.elsewhere:
            if not (ROOT / block.elsewhere).is_file():
                problems.append(f"{block.place}: {block.elsewhere}, which is said to run it, does not exist")
            continue
        outcome = subprocess.run(
            [sys.executable, "-c", block.text],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        if outcome.returncode:
            problems.append(f"{block.place}: {outcome.stderr.strip()[-500:]}")
    assert not problems, "\n".join(problems)


def test_ci_runs_what_the_readme_starts_with() -> None:
    """CI types the README's own commands, in the order in which a newcomer does."""
    typed = written_commands(ROOT / ".ci" / "run")
    commands = [command for block in blocks() if block.document.name == "README.md" for command in block.commands()]
    for command in ("make up", "make down", "make test"):
        assert command in commands, f"README.md does not show `{command}`"
        assert command in typed, f".ci/run does not type `{command}`"
    assert typed.index("make up") < typed.index("make down") < typed.index("make test")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```bash\nmake up   # everything\nmake help\n```\n", None),
        ("```bash\nmake everything\n```\n", "nothing runs it"),
        ("<!-- run by tests/engine/no_such_test.py -->\n```bash\npulumi up\n```\n", "does not exist"),
        ("```bash\nmake -n nothing\n```\n", "exit code 2"),
    ],
)
def test_the_rule_itself(text: str, complaint: str | None) -> None:
    """A command that nothing runs, a named test that is not there, and one that fails are each complained about."""
    match = FENCE.search(text)
    assert match is not None
    block = Block(ROOT / "README.md", 1, match["language"], match["elsewhere"], match["text"])
    problems = [problem for command in block.commands() if (problem := command_problem(command, block))]
    if complaint is None:
        assert problems == []
    else:
        assert complaint in problems[0]
