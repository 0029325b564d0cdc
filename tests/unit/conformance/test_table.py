"""The conformance and speed tables of docs/numerics.md are the measured ones, and say why values differ."""

from __future__ import annotations

import json

import pytest
from benchmarks import numerics_doc

from accelform_runtime.numerics import load_profile


@pytest.fixture(scope="module")
def measured() -> dict:
    return json.loads((numerics_doc.RESULTS / "conformance.json").read_text(encoding="utf-8"))["conformance"]


@pytest.mark.parametrize(("name", "render"), [("conformance", numerics_doc.conformance), ("peers", numerics_doc.peers)])
def test_the_document_holds_the_measured_tables(name, render):
    """What docs/numerics.md says is what benchmarks/results/ says; `make bench` writes both."""
    text = numerics_doc.DOCUMENT.read_text(encoding="utf-8")

    assert numerics_doc.replaced(text, name, render()) == text


def test_every_difference_has_a_reason(measured):
    """A cell that differs says why, and no reason is left over for a cell where all is equal."""
    for column in measured["columns"]:
        reasons = numerics_doc.REASONS[column["key"]]
        for case, row in column["cases"].items():
            differs = not row.get("refused") and row["same_bits"] < row["values"]
            assert bool(reasons.get(case)) == differs, (column["key"], case)
            if differs and row["same_but_sign_of_zero"]:
                assert "zero" in reasons[case] or case == "subnormal", (column["key"], case)


def test_two_public_tools_agree_on_ordinary_values(measured):
    """Two tools of other hands give the same bits as the definition on normal values and on what a ReLU leaves."""
    agreeing = {
        column["tool"]
        for column in measured["columns"]
        if all(column["cases"][case]["same_bits"] == column["cases"][case]["values"] for case in ("normal", "relu"))
    }

    assert agreeing >= {"amd-quark", "qtorch"}


def test_the_closest_tool_agrees_everywhere_that_matters(measured):
    """amd-quark's half-even kernel is ours bit for bit on every finite, normal value but negative zero."""
    (column,) = [column for column in measured["columns"] if column["key"] == "quark-even"]

    differing = {
        case for case, row in column["cases"].items() if not row.get("refused") and row["same_bits"] < row["values"]
    }

    assert differing == {"negative-zeros", "subnormal"}
    assert (column["mantissa_bits"], column["block_size"]) == (5, 128)
    fmt = load_profile("bw-a10-cnn")
    assert (fmt.mantissa_bits, fmt.block_size, fmt.rounding) == (5, 128, column["rounding"])


def test_not_a_number_is_refused_by_ours_alone(measured):
    """Ours refuses NaN and infinity; each tool passes something on."""
    for column in measured["columns"]:
        assert column["cases"]["not-finite"]["refused"], column["key"]
