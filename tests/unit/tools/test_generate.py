"""Files that are made from declarations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tools import generate

ROOT = Path(__file__).parents[3]


def test_nothing_is_stale() -> None:
    """Go's settings, Pulumi.yaml, the schemas and the tables are what is declared; `make generate` writes them."""
    assert generate.stale() == {}


@pytest.mark.parametrize("path", sorted((ROOT / "stacks").glob("Pulumi.*.yaml")), ids=lambda path: path.name)
def test_the_schema_knows_what_stacks_set(path: Path) -> None:
    """An editor that reads the schema marks nothing in the stacks that are here."""
    declared = json.loads((ROOT / "stacks" / "schema.json").read_text(encoding="utf-8"))["properties"]["config"]

    given = yaml.safe_load(path.read_text(encoding="utf-8"))["config"]

    assert {key for key in given if key.startswith("accelform:")} <= set(declared["properties"])
    assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=schema.json\n")
