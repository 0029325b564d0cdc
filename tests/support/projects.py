"""Projects for tests: copies of this one with the real program and the real engine, each on a backend of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from tests.support.ports import free_port
from tests.support.processes import kill_everything_below

ROOT = Path(__file__).parents[2]
STEP_TIMEOUT_SECONDS = 900
"""For what never comes: a busy machine takes its time."""


@dataclass
class Outcome:
    """What one `pulumi` command did: exit code, everything it printed, and the engine's events."""

    code: int
    text: str
    events: list[dict[str, Any]] = field(default_factory=list)

    def steps(self, event: str = "resOutputsEvent") -> list[tuple[str, str]]:
        """(operation, resource type) in the order in which they ended, unchanged resources left out."""
        found = []
        for row in self.events:
            if event in row:
                metadata = row[event]["metadata"]
                package, _, kind = metadata["type"].rpartition(":")
                if metadata["op"] not in ("same", "read") and package.endswith("dynamic/accel"):
                    found.append((metadata["op"], kind))
        return found


@dataclass
class Project:
    """A copy of the project with its own state, store, box and port."""

    folder: Path
    environment: dict[str, str]
    port: int
    stack: str = "edge"

    def pulumi(
        self, *arguments: str, check: bool = True, timeout_seconds: int = STEP_TIMEOUT_SECONDS, **environment: str
    ) -> Outcome:
        """Runs `pulumi` here; with `check`, a failure fails the test with everything that was printed.

        Without `check` there are no events: a command that fails while it writes them ends five seconds later.
        """
        log = self.folder / "events.jsonl"
        log.unlink(missing_ok=True)
        traced = check and arguments[0] in ("up", "preview", "destroy", "refresh")
        command = ["pulumi", *arguments, "-s", self.stack, "--non-interactive", "--color", "never"]
        if traced:
            command += ["--event-log", str(log)]
        process = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=timeout_seconds,
        )
        events = [json.loads(line) for line in log.read_text().splitlines()] if traced and log.exists() else []
        outcome = Outcome(process.returncode, process.stdout, events)
        assert not check or outcome.code == 0, f"{' '.join(command)} failed:\n{outcome.text}"
        return outcome

    def up(self, *arguments: str, **options: Any) -> Outcome:
        return self.pulumi("up", "--yes", "--skip-preview", *arguments, **options)

    def destroy(self, **options: Any) -> Outcome:
        return self.pulumi("destroy", "--yes", "--skip-preview", **options)

    def configure(self, **values: Any) -> None:
        """Writes values into the stack's file as `pulumi config set` would, which takes half a second for each.

        None takes one out.
        """
        path = self.folder / "stacks" / f"Pulumi.{self.stack}.yaml"
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        config = content.setdefault("config", {})
        for name, value in values.items():
            config[f"accelform:{name}"] = value if isinstance(value, str | dict | list) else json.dumps(value)
            if value is None:
                del config[f"accelform:{name}"]
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs, secrets in clear."""
        log = self.pulumi("stack", "output", "--json", "--show-secrets")
        return json.loads(log.text)

    def state(self) -> dict[str, Any]:
        """The stack's deployment as it is stored, secrets encrypted."""
        return json.loads(self.pulumi("stack", "export").text)["deployment"]

    def score(self, image: str = "digit-3.png") -> subprocess.CompletedProcess[str]:
        """Runs `accelform score --json` on one of the example's images."""
        return subprocess.run(
            ["accelform", "score", f"examples/digits/images/{image}", "--stack", self.stack, "--json"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=STEP_TIMEOUT_SECONDS,
        )

    @property
    def store(self) -> Path:
        return self.folder / ".accelform" / "store"

    @property
    def box(self) -> Path:
        return self.folder / ".accelform" / "edge" / "edge-box"


class Projects:
    """Makes projects below a folder, and takes them down without help from what is tested."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: list[Project] = []

    def __call__(self, name: str = "project", *, stack: str = "edge") -> Project:
        folder = self._folder / name
        folder.mkdir()
        shutil.copy(ROOT / "Pulumi.yaml", folder)
        for part in ("infra", "stacks"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "examples" / "digits", folder / "examples" / "digits")
        state = self._folder / "state" / name
        state.mkdir(parents=True)
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PULUMI_BACKEND_URL": state.as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "engine-tests",
            "PULUMI_HOME": str(self._folder / "pulumi-home"),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DEBUG_COMMANDS": "true",  # --event-log is hidden without it
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }
        for name_ in ("ACCELFORM_FAULT_POINT", "ACCELFORM_FAULT_ACTION", "PULUMI_CONFIG_PASSPHRASE_FILE"):
            environment.pop(name_, None)
        project = Project(folder, environment, free_port(), stack)
        project.pulumi("stack", "init")
        project.configure(port=project.port, calibration_images="")  # comparing formats takes seconds in each update
        self._made.append(project)
        return project

    def adopt(self, project: Project) -> None:
        """Takes a project down too that a test made of one of these by another name."""
        self._made.append(project)

    def close(self) -> None:
        """Kills what still runs in the projects and removes them."""
        for project in self._made:
            sockets = [json.loads(record.read_text()).get("socket") for record in project.folder.rglob("box.json")]
            kill_everything_below(project.folder)
            for socket_path in filter(None, sockets):  # a long folder name puts it below /tmp
                Path(socket_path).unlink(missing_ok=True)
            shutil.rmtree(project.folder, ignore_errors=True)  # a deployed stack is over half a gigabyte
