"""Text files as people's editors write them: the one place that decides which bytes are text, and what a line is.

A mark at the start (UTF-8, UTF-16, UTF-32), line ends of every system, blanks behind a line and empty lines at the end
are what an editor adds, and mean nothing. Without a mark a text is UTF-8.
"""

from __future__ import annotations

import codecs
from typing import Any

import yaml

MAX_LINE_CHARACTERS = 1000
"""Of a line that is a name: longer ones fit no table."""

SHOWN = 40
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class NotText(ValueError):
    """Bytes that are no text; the message names the line, and what they could be. It never names the file."""


def decoded(content: bytes) -> str:
    """The text, its lines ended by a line feed.

    Raises:
        NotText: bytes that are not of its encoding, or zero bytes.
    """
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise NotText(_undecodable(content, error, encoding)) from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if (place := text.find("\0")) >= 0:
        guess = "it looks like UTF-16 without a mark at its start" if _halves_empty(content) else "it is no text"
        raise NotText(f"line {text.count(chr(10), 0, place) + 1} holds a zero byte: {guess}. Save it as UTF-8")
    return text


def lines_of(content: bytes) -> tuple[str, ...]:
    """One name a line: without blanks around it, and without empty lines at the end.

    Raises:
        NotText: no text, a line that is empty in between, has characters that can't be shown, or is far too long.
    """
    lines = [line.strip() for line in decoded(content).split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, start=1):
        if not line:
            raise NotText(f"line {number} of {len(lines)} is empty")
        if len(line) > MAX_LINE_CHARACTERS:
            raise NotText(
                f"line {number} has {len(line):,} characters ({line[:SHOWN]}…); at most {MAX_LINE_CHARACTERS:,} are "
                "taken"
            )
        if strange := "".join(char for char in line if not char.isprintable() and char not in _SILENT):
            raise NotText(f"line {number} holds {strange[0]!r}, which can't be shown: take it out")
    return tuple(lines)


_SILENT = "\t\u200c\u200d\u200e\u200f\u00a0\u2060\u00ad\u3000"
"""Characters that scripts and emoji need, though they show nothing themselves."""


class _Loader(yaml.SafeLoader):
    """YAML in which a key that stands twice is a mistake, and not the last one's."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        for index, (key, _) in enumerate(node.value):
            if isinstance(key, yaml.ScalarNode) and key.value in keys[:index] and key.value != "<<":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return found


def parse_yaml(text: str) -> Any:
    """What a YAML file says; nothing is constructed but plain data.

    Raises:
        NotText: it is no YAML, or says one thing twice; the message names line and column.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise NotText(" ".join(str(error).replace('"<unicode string>", ', "").split())) from error


def _undecodable(content: bytes, error: UnicodeDecodeError, encoding: str) -> str:
    if encoding != "utf-8":
        return (
            f"it begins as {encoding.removesuffix('-sig').upper()} and is not: it is damaged or cut off; save it again"
        )
    before = content[: error.start].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    line, byte = before.count(b"\n") + 1, content[error.start]
    if _halves_empty(content):
        return f"line {line} is not UTF-8: it looks like UTF-16 without a mark at its start. Save the file as UTF-8"
    start = content.rfind(b"\n", 0, error.start) + 1
    end = content.find(b"\n", error.start)
    whole = content[start : end if end >= 0 else len(content)].decode("cp1252", "replace").strip()
    meant = f" In Latin-1 (Windows-1252) the line is {whole[:SHOWN]!r}." if whole.isprintable() else ""
    return f"line {line} is not UTF-8 (byte 0x{byte:02X}).{meant} Save the file as UTF-8"


def _halves_empty(content: bytes) -> bool:
    """Whether every other byte is zero, as in UTF-16 of western text."""
    start = content[:2000]
    return len(start) >= 4 and max(start[0::2].count(0), start[1::2].count(0)) > len(start) // 3
