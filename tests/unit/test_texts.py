"""Text files from other systems: read as they are meant, or refused by line."""

from __future__ import annotations

import pytest

from accelform.texts import NotText, decoded, lines_of, parse_yaml


@pytest.mark.parametrize(
    "content",
    [
        b"caf\xc3\xa9\nzwei\n",
        b"caf\xc3\xa9\nzwei",
        b"caf\xc3\xa9 \t\nzwei  \n\n \n",
        b"caf\xc3\xa9\r\nzwei\r\n",
        b"caf\xc3\xa9\rzwei\r",
        b"\xef\xbb\xbfcaf\xc3\xa9\r\nzwei\r\n",
        "café\r\nzwei\r\n".encode("utf-16"),
        b"\xff\xfe" + "café\nzwei".encode("utf-16-le"),
        b"\xfe\xff" + "café\nzwei".encode("utf-16-be"),
        "café\nzwei\n".encode("utf-32"),
    ],
)
def test_what_an_editor_adds_means_nothing(content: bytes) -> None:
    """Marks at the start, line ends of every system, blanks behind, empty lines at the end."""
    assert lines_of(content) == ("café", "zwei")


def test_only_line_ends_end_a_line() -> None:
    """Form feeds and separators of other standards would shift every label behind them."""
    assert lines_of("a\u00a0b\nz\u200dz".encode()) == ("a\u00a0b", "z\u200dz")
    with pytest.raises(NotText, match=r"line 1 holds '\\x0c'"):
        lines_of(b"a\x0cb\nc")
    with pytest.raises(NotText, match=r"line 2 holds '.u2028'"):
        lines_of("a\nb\u2028c".encode())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"eins\nzwei\ncaf\xe9\n", "line 3 is not UTF-8 .byte 0xE9.. In Latin-1 .Windows-1252. the line is 'café'"),
        (b"eins\r\ncaf\xe9\r\n", "line 2 is not UTF-8"),
        (b"eins\rcaf\xe9", "line 2 is not UTF-8"),
        (b"eins\nzw\0ei\n", "line 2 holds a zero byte"),
        ("eins\nzwei\n".encode("utf-16-le"), "looks like UTF-16 without a mark"),
        (b"\xff\xfee\0i\0n", "begins as UTF-16 and is not"),
        (b"eins\n\nzwei\n", "line 2 of 3 is empty"),
        (b"eins\n" + b"x" * 1_000_000, "line 2 has 1,000,000 characters .x{40}…."),
    ],
)
def test_what_is_no_text_is_refused_by_line(content: bytes, words: str) -> None:
    """With what the bytes could have been, and never at length."""
    with pytest.raises(NotText, match=words) as raised:
        lines_of(content)

    assert len(str(raised.value)) < 200


def test_yaml_that_says_one_thing_twice() -> None:
    """The last would win in silence."""
    assert parse_yaml(decoded(b"\xef\xbb\xbfa: 1\r\nb: {a: 2}\r\n")) == {"a": 1, "b": {"a": 2}}
    with pytest.raises(NotText, match=r"'a' stands twice.*line 3"):
        parse_yaml("a: 1\nb: 2\na: 3\n")
