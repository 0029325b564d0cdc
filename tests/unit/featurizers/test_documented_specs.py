"""The featurizer specifications that the documentation shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from accelform.featurizers.families import FAMILIES
from accelform.featurizers.spec import parse_spec

ROOT = Path(__file__).parents[3]
BLOCKS = [
    pytest.param(match, id=f"{document.name}-{number}")
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for number, match in enumerate(re.findall(r"```yaml\n(featurizer: .*?)```", document.read_text(), re.DOTALL))
]


@pytest.mark.parametrize("text", BLOCKS)
def test_a_documented_specification_is_valid(text: str) -> None:
    """What people copy works."""
    assert parse_spec(text, origin="documentation").featurizer in FAMILIES


def test_the_documentation_shows_some() -> None:
    """README.md and docs/models.md each show one."""
    assert len(BLOCKS) >= 2
