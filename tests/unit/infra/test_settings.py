"""A stack's configuration as one object."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from settings import Settings, SettingsInvalid

ROOT = Path(__file__).parents[3]
DECLARED: dict[str, Any] = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))["config"]


class GivenConfig(pulumi.Config):
    """Pulumi's own Config over given values, as they stand in a stack file: everything is text."""

    def __init__(self, **changes: Any) -> None:
        super().__init__("accelform")
        values = {name: row["default"] for name, row in DECLARED.items()} | changes
        self._texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        return self._texts.get(key, default)

    def get_secret(self, key: str, default: str | None = None) -> None:
        return None


def test_defaults_are_enough() -> None:
    """Pulumi.yaml's defaults make a whole configuration, in the right types."""
    loaded = Settings.load(GivenConfig())

    assert (loaded.target, loaded.agent_count, loaded.token_auth_enabled) == ("edge", 1, False)
    assert (loaded.num_replicas, loaded.auth_enabled) == (None, None)
    assert loaded.model_tags == {}


def test_every_declared_key_is_a_field() -> None:
    """A key of Pulumi.yaml that no one reads, or a required field that it does not declare, would mislead."""
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    required = {name for name, field in fields.items() if field.default is dataclasses.MISSING}

    assert set(DECLARED) == required
    assert all(row["description"] for row in DECLARED.values())


def test_everything_wrong_is_told_at_once() -> None:
    """Wrong types come first and together; then wrong values, together too."""
    with pytest.raises(SettingsInvalid) as types:
        Settings.load(GivenConfig(num_replicas="two", agent_count="1.5", model_tags=["a"]))
    with pytest.raises(SettingsInvalid) as values:
        Settings.load(GivenConfig(image_name="Loud", location="mars", agent_count=0))

    with pytest.raises(SettingsInvalid) as together:
        Settings.load(GivenConfig(auth_enabled=True, token_auth_enabled=True, ssl_enabled=True, engine="fast"))

    assert "4 problem(s)" in str(together.value)
    assert "auth_enabled (keys) and token_auth_enabled exclude each other" in str(together.value)
    assert "ssl_enabled needs ssl_key_pem_file" in str(together.value)
    assert "3 problem(s)" in str(types.value)
    assert "num_replicas must be a whole number, not 'two'" in str(types.value)
    assert "3 problem(s)" in str(values.value)
    assert all(
        word in str(values.value) for word in ("'loud' would do", "region 'mars'", "agent_count must be above 0")
    )
