"""Settings as a stack file gives them, without an engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pulumi
import yaml

from settings import Settings

ROOT = Path(__file__).parents[3]
DECLARED: dict[str, Any] = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))["config"]
REGIONS = ("eastus", "westus2", "westeurope", "southeastasia")


class GivenConfig(pulumi.Config):
    """Pulumi's own Config over given values, as they stand in a stack file: everything is text."""

    def __init__(self, **changes: Any) -> None:
        super().__init__("accelform")
        self._secrets = {name: changes.pop(name) for name in ("registry_pull_config",) if name in changes}
        values = {name: row["default"] for name, row in DECLARED.items()} | changes
        self._texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}

    def get(self, key: str, default: str | None = None) -> str | None:
        return self._texts.get(key, default)

    def get_secret(self, key: str, default: str | None = None) -> Any:
        return self._secrets.get(key)


def stack_values(stack: str) -> dict[str, Any]:
    """What a stack's file sets, by the names of the settings."""
    content = yaml.safe_load((ROOT / "stacks" / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))
    return {name.removeprefix("accelform:"): value for name, value in content["config"].items()}


def stack_settings(stack: str = "westus2", **changes: Any) -> Settings:
    """The settings of a stack as it is in the tree, with `changes`; files that they name need not be there."""
    with mock.patch("foresight.problems", return_value=[]):
        return Settings.load(GivenConfig(**{**stack_values(stack), **changes}))
