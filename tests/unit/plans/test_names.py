"""Azure ML's name rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelform.plans import names


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (names.MODEL, ["a", "resnet50", "A.b_c-9", "x" * 255], ["", "-a", "a b", "x" * 256, "ü"]),
        (names.IMAGE, ["abc", "resnet50-image", "a.b"], ["ab", "Image", "-ab", "ab-", "x" * 33, "a_b"]),
        (names.SERVICE, ["abc", "my-aks-service"], ["ab", "9abc", "a.b", "ab-", "ABC", "x" * 33]),
        (names.WORKSPACE, ["ab", "my_ws"], ["a", "no spaces", "x" * 33]),
    ],
)
def test_rules(rule: names.NameRule, good: list[str], bad: list[str]) -> None:
    """Each rule accepts what Azure ML accepts, and its message states the rule."""
    assert [rule.problem(name) for name in good] == [None] * len(good)
    assert all(rule.sentence in (rule.problem(name) or "") for name in bad)


def test_upper_case_gets_a_suggestion() -> None:
    """A name that is only too loud comes back in a form that would do."""
    assert (names.IMAGE.problem("ResNet50") or "").endswith("'resnet50' would do")


@given(st.from_regex(names.MODEL.pattern, fullmatch=True), st.integers(1, 10**9))
def test_converted_names_fit(model_name: str, version: int) -> None:
    """A converted model's name is at most 32 characters, keeps its version and its ending, and is a model name."""
    name = names.converted_model_name(model_name, version)

    assert len(name) <= 32
    assert name.endswith(f".{version}.accelonnx")
    assert names.MODEL.problem(name) is None
