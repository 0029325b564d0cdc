"""README.md's numbers are the measured ones."""

from __future__ import annotations

from benchmarks import readme


def test_readme_holds_the_measured_table() -> None:
    """What README.md says is what benchmarks/results/ says; `make bench` writes both."""
    assert readme.BEGIN + readme.render() + readme.END in (readme.ROOT / "README.md").read_text(encoding="utf-8")


def test_accuracy_in_prose_is_the_measured_one() -> None:
    """The accuracy that README.md states in a sentence is the measured one too, and keeps what the example promises."""
    accuracy = readme._result("accuracy")
    text = (readme.ROOT / "README.md").read_text(encoding="utf-8")

    assert (
        f"{accuracy['float32_percent']} % in float32, {accuracy['bw-a10-cnn_percent']} % in the FPGA's format" in text
    )
    assert accuracy["float32_percent"] >= 95
    assert accuracy["points_lost"] <= 1
