"""What the command line says of mistakes: in words, with the nearest name, and all there is to choose from."""

from __future__ import annotations

import pytest

from accelform.cli.main import COMMANDS, main


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said of the arguments, which have to be refused with exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_nothing_asked_shows_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`accelform` alone is the list of commands, and exit code 2."""
    assert main([]) == 2

    shown = capsys.readouterr().err
    assert all(f"    {name}" in shown for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["scor", "image.png"], "did you mean score?"),
        (["estimates"], "did you mean estimate?"),
        (["edge", "strat", "box"], "did you mean start?"),
        (["base-image", "bild"], "did you mean build?"),
        (["score", "image.png", "--jsn"], "did you mean --json?"),
        (["score", "image.png", "--adress=127.0.0.1:1"], "did you mean --address?"),
        (["report", "m", "--output", "p", "--order", "RBG"], "did you mean"),
    ],
)
def test_a_misspelt_word(arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The nearest name of a command, an action, an option or a choice is told."""
    assert meant in refusal(capsys, *arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["score", "i", "--top", "0"], "--top: '0' is no whole number of 1 or more"),
        (["score", "i", "--top", "many"], "--top: 'many' is no whole number of 1 or more"),
        (["score", "i", "--threshold", "1.5"], "--threshold: '1.5' is no number from 0 to 1"),
        (["score", "i", "--nms", "nan"], "--nms: 'nan' is no number from 0 to 1"),
        (["score", "i", "--timeout", "-1"], "--timeout: '-1' is no number above 0"),
        (["edge", "start", "b", "--timeout", "soon"], "--timeout: 'soon' is no number above 0"),
        (["sweep", "m", "--images", "d", "--mantissa-bits", "x"], "'x' is no whole number of 1 or more"),
        (["sweep", "m", "--images", "d", "--block-size", "8,,16"], "'8,,16' has an empty place"),
        (["fidelity", "m", "--images", "d", "--limit-db", "inf"], "--limit-db: 'inf' is no number"),
        (["fidelity", "m", "--images", "d", "--limit", "0"], "--limit: '0' is no whole number of 1 or more"),
        (["report", "m", "--output", "p", "--factor", "x"], "--factor: 'x' is no number"),
        (["token", "--lifetime", "2d"], "'2d' is no time up to a day"),
    ],
)
def test_a_value_that_cannot_be(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The refusal says what would be taken, and never the name of a function of ours."""
    said = refusal(capsys, *arguments)

    assert words in said
    assert "invalid _" not in said


def test_an_abbreviated_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """It would work today and mean another option tomorrow."""
    assert "unrecognized arguments: --addr" in refusal(capsys, "score", "i", "--addr", "127.0.0.1:1")
