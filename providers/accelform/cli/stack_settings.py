"""A stack's settings as its file and Pulumi.yaml's defaults say, read without the Pulumi CLI and without secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelform import project
from accelform.errors import StackUnreadable
from accelform.plans.spelling import unknown_settings

SCHEMA_FILE = "schema.json"
"""Written beside the stacks' files by `make generate`."""


@dataclass(frozen=True, kw_only=True)
class StackSettings:
    """The settings of `<project>/<stack>` by their plain names; encrypted ones are left out."""

    project: str
    stack: str
    values: Mapping[str, Any]

    @property
    def owner(self) -> str:
        """How the owners of the stack's objects begin."""
        return f"{self.project}/{self.stack}"

    def text(self, name: str) -> str:
        return str(self.values.get(name) or "")

    def boolean(self, name: str) -> bool:
        return str(self.values.get(name)).lower() == "true"

    def integer(self, name: str) -> int | None:
        """A whole number, however the file spells it; None where it is not set. Raises StackUnreadable."""
        value = self.values.get(name)
        if value is None or value == "":
            return None
        try:
            return int(json.loads(str(value)))
        except ValueError as error:
            raise StackUnreadable(f"stack {self.stack!r}: {name} must be a whole number, not {value!r}") from error


def read(stack: str, *, root: Path | None = None) -> StackSettings:
    """The settings of `stack` in the project around the current folder. Raises StackUnreadable."""
    folder = root or project.root()
    head = _yaml(folder / "Pulumi.yaml")
    name, place = str(head.get("name")), folder / str(head.get("stackConfigDir") or ".")
    path = place / f"Pulumi.{stack}.yaml"
    if not path.is_file():
        there = sorted(file.name.split(".")[1] for file in place.glob("Pulumi.*.yaml"))
        raise StackUnreadable(f"there is no stack {stack!r} in {place}; it has {', '.join(there) or 'none'}")
    declared = head.get("config") or {}
    values = {key: row["default"] for key, row in declared.items() if isinstance(row, Mapping) and "default" in row}
    given = _yaml(path).get("config") or {}
    known = _known(place) or {str(key).rpartition(":")[2] for key in given}
    if strange := unknown_settings(map(str, given), project=name, known=known):
        raise StackUnreadable(f"stack {stack!r}: {'; '.join(strange)}")
    for key, value in given.items():
        scope, _, plain = str(key).rpartition(":")
        if scope in ("", name) and not (isinstance(value, Mapping) and "secure" in value):
            values[plain] = value
    return StackSettings(project=name, stack=stack, values=values)


def _known(place: Path) -> set[str]:
    """The settings that the schema beside the stacks' files declares, as an editor reads it; none without one."""
    try:
        schema = json.loads((place / SCHEMA_FILE).read_text(encoding="utf-8"))
        return {key.partition(":")[2] for key in schema["properties"]["config"]["properties"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _yaml(path: Path) -> Mapping[str, Any]:
    from accelform import texts

    try:
        content = texts.parse_yaml(texts.decoded(path.read_bytes()))
    except (OSError, texts.NotText) as error:
        raise StackUnreadable(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping | None):
        raise StackUnreadable(f"{path} is not a map of settings")
    return content or {}
