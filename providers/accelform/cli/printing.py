"""What commands print: tables that fit a terminal, progress, and an output that fails in one line.

A result goes to standard output, everything else to standard error. Where a terminal can't show a character, its
escape stands there instead.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

CLOSED_PIPE: Final = 141
"""The exit code of a program whose reader has gone, as a shell tells it: 128 and SIGPIPE."""
_CUT: Final = "…"


class OutputUnwritable(Exception):
    """Standard output takes no more; `code` is the exit code, the text empty where nobody is left to read it."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


@contextmanager
def guarded_output() -> Iterator[None]:
    """Writes out all that was printed, also by what ends with SystemExit.

    Raises OutputUnwritable where that fails: a full disk, a reader that has gone.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        if not _is_of_output(error):
            raise
        _forget_output()
        if error.errno == errno.EPIPE:
            raise OutputUnwritable("", CLOSED_PIPE) from error
        raise OutputUnwritable(f"cannot write the result to standard output: {error.strerror}", 1) from error


def _is_of_output(error: OSError) -> bool:
    """Whether it is of a write to an open stream: those name no file."""
    return error.filename is None and error.errno in (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT)


def _forget_output() -> None:
    """What is still in the buffer would fail once more when Python ends, and be told as a traceback."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def say(text: str) -> None:
    """Progress, apart from the result."""
    print(text, file=sys.stderr, flush=True)


def terminal_columns() -> int | None:
    """The width of the terminal that shows the result, or None where a file or a program takes it."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = True) -> str:
    """Columns side by side, the first to the left, the others to the right where they are numbers.

    On a terminal names in the first column are shortened to fit; a file gets them whole.
    """
    columns = terminal_columns()
    if columns is not None and rows:
        others = sum(2 + max(map(len, column)) for column in list(zip(head, *rows, strict=True))[1:])
        names = shortened([row[0] for row in rows], max(columns - others, len(head[0])))
        rows = [(name, *row[1:]) for name, row in zip(names, rows, strict=True)]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if index and numbers else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (head, *rows)
    )


def named(rows: Sequence[tuple[str, str]], *, indent: str = "  ") -> str:
    """Names with a text each; on a terminal the texts are broken, each line below the first."""
    width = max(len(name) for name, _ in rows)
    columns = terminal_columns()
    lines = []
    for name, text in rows:
        lead = f"{indent}{name:<{width}}  "
        room = max(columns - len(lead), 20) if columns else sys.maxsize
        broken = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
        lines += [lead + broken[0], *(" " * len(lead) + line for line in broken[1:])]
    return "\n".join(line.rstrip() for line in lines)


def shortened(names: Sequence[str], width: int) -> list[str]:
    """The names in `width` columns: without parts of their paths that tell none from another, then cut in the middle.

    >>> shortened(["net/unit_1/block/conv1", "net/unit_2/block/conv1"], 12)
    ['unit_1/conv1', 'unit_2/conv1']
    """
    paths = [name.split("/") for name in names]
    parts = Counter(part for path in paths for part in set(path))
    ends = {path[-1] for path in paths}
    for part, _ in sorted(parts.items(), key=lambda item: (item[0] in ends, -item[1] * len(item[0]), item[0])):
        if max(len("/".join(path)) for path in paths) <= width:
            break
        without = [[step for step in path if step != part] or path for path in paths]
        if len({tuple(path) for path in without}) == len({tuple(path) for path in paths}):
            paths = without
    return [_cut("/".join(path), width) for path in paths]


def _cut(name: str, width: int) -> str:
    if len(name) <= width:
        return name
    kept = max(width - len(_CUT), 2)
    return name[: kept // 2] + _CUT + name[len(name) - (kept - kept // 2) :]
