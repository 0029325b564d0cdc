"""How given values become declared inputs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelform.plans.contract import UNKNOWN, Property, ResourceContract, contains_unknown

CONTRACT = ResourceContract(
    name="Thing",
    summary="A thing.",
    delete_before_replace=False,
    properties=(
        Property(name="name", kind="string", role="replace", required=True, description="its name"),
        Property(name="count", kind="integer", role="update", default=1, description="how many"),
        Property(name="ratio", kind="number", role="update", description="a share"),
        Property(name="enabled", kind="boolean", role="update", description="whether"),
        Property(name="tags", kind="map", role="update", description="tags"),
        Property(name="key", kind="string", role="update", secret=True, description="a key"),
        Property(name="digest", kind="string", role="replace", computed=True, description="identity"),
        Property(name="version", kind="integer", role="output", description="number"),
    ),
)


def test_numbers_arrive_as_floats() -> None:
    """The engine sends every number as a float; a count becomes a whole number again."""
    values, problems = CONTRACT.normalise({"name": "a", "count": 3.0, "ratio": 1})

    assert problems == []
    assert values == {"name": "a", "count": 3, "ratio": 1.0}
    assert isinstance(values["count"], int)


@pytest.mark.parametrize(
    ("given_values", "reason"),
    [
        ({"count": 1.5}, "count must be a whole number, not 1.5"),
        ({"count": True}, "count must be a whole number, not True"),
        ({"count": "3"}, "count must be a whole number, not '3'"),
        ({"enabled": "yes"}, "enabled must be true or false, not 'yes'"),
        ({"tags": ["a"]}, "tags must be a map of names to values, not ['a']"),
        ({"nmae": "a"}, "Thing has no input 'nmae'; it takes name, count, ratio, enabled, tags, key"),
    ],
)
def test_wrong_types_are_named(given_values: dict[str, object], reason: str) -> None:
    """A value of the wrong type is refused with what was expected and what came."""
    _, problems = CONTRACT.normalise({"name": "a", **given_values})

    assert [problem.reason for problem in problems] == [reason]


def test_all_problems_come_together() -> None:
    """One answer lists everything that is wrong."""
    _, problems = CONTRACT.normalise({"count": "x", "enabled": 1, "other": 2})

    assert len(problems) == 4


def test_a_wrong_secret_is_never_shown() -> None:
    """The message about a secret names no property and no value: the engine would print both in clear."""
    _, problems = CONTRACT.normalise({"name": "a", "key": 12345})

    assert [(problem.property, problem.reason) for problem in problems] == [("", "key must be a string")]


def test_unknown_values_pass() -> None:
    """A value that only the deployment will tell is neither checked nor changed."""
    values, problems = CONTRACT.normalise({"name": UNKNOWN, "tags": {"a": UNKNOWN}})

    assert problems == []
    assert values["name"] is UNKNOWN
    assert values["tags"]["a"] is UNKNOWN


def test_an_unknown_replace_key_replaces() -> None:
    """An identity that will only be known later must be shown as a replacement."""
    assert CONTRACT.replaced_by({"name": "a", "digest": "1"}, {"name": "a", "digest": UNKNOWN}) == ["digest"]
    assert CONTRACT.replaced_by({"name": "a", "digest": "1"}, {"name": "a", "digest": "1"}) == []
    assert CONTRACT.replaced_by({"name": "a", "digest": "1"}, {"name": "a"}) == []


@given(st.recursive(st.integers() | st.text(), lambda child: st.lists(child) | st.dictionaries(st.text(), child)))
def test_unknown_is_found_at_any_depth(value: object) -> None:
    """Known values hold no unknown; wrapping them with one is noticed."""
    assert not contains_unknown(value)
    assert contains_unknown({"a": [value, {"b": UNKNOWN}]})
