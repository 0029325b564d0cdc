"""Tables and lists that fit the terminal they are shown on, and are whole in a file."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelform.cli import printing
from accelform.cli.main import COMMANDS, main


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """80 columns, whatever runs the tests."""
    monkeypatch.setattr(printing, "terminal_columns", lambda: 80)


@pytest.mark.parametrize("family", ["resnet50", "resnet152", "densenet121", "vgg16", "ssd_vgg"])
@pytest.mark.usefixtures("terminal")
def test_layers_fit_80_columns(family: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No line of a layer is longer, and every layer keeps a name of its own."""
    assert main(["estimate", family, "--layers"]) == 0
    text = capsys.readouterr().out
    _, table = text.split("\nconvolution")
    rows = table.split("\n\nWhere")[0].splitlines()[1:]

    assert all(len(line) <= 80 for line in text.splitlines() if not line.startswith(("latency", "weights")))
    assert len({row.split()[0] for row in rows}) == len(rows) > 10


@pytest.mark.parametrize("arguments", [["estimate"], ["quota"]])
@pytest.mark.usefixtures("terminal")
def test_overviews_fit_80_columns(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Tables of families and regions, with every name whole."""
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()

    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)


def test_a_file_gets_whole_names(capsys: pytest.CaptureFixture[str]) -> None:
    """What a program reads is not cut."""
    assert main(["estimate", "resnet152", "--layers"]) == 0

    assert "resnet_v1_152/block3/unit_36/bottleneck_v1/conv2" in capsys.readouterr().out


PARTS = st.sampled_from(["net", "unit_1", "unit_2", "block", "conv1", "conv2"])
NAMES = st.lists(st.lists(PARTS, min_size=1, max_size=5).map("/".join), min_size=1, max_size=8, unique=True)


@given(NAMES, st.integers(8, 40))
def test_shortened_names(names: list[str], width: int) -> None:
    """They fit; and while none had to be cut they are as different as before."""
    short = printing.shortened(names, width)

    assert all(len(name) <= width for name in short)
    if not any("…" in name for name in short):
        assert len(set(short)) == len(names)


def test_named_texts_are_broken_below_each_other(terminal: None) -> None:
    """A long text goes on under its beginning, so that names stay alone in their column."""
    text = printing.named([("a", "word " * 40), ("longer", "short")])

    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line[:8].strip() for line in lines if line[:8].strip()] == ["a", "longer"]
    assert all(line.startswith(" " * 10) for _, line in pairwise(lines) if not line[:8].strip())


def test_every_command_has_help_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command's help ends with code 0."""
    monkeypatch.setenv("COLUMNS", "80")
    for name in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
