"""How every command reads its arguments: the parser, and types whose refusals are in words.

argparse tells the name of a type's function where one raises ValueError; these raise ArgumentTypeError, whose text it
passes on.
"""

from __future__ import annotations

import argparse
import difflib
import math
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NoReturn

_CHOICES: Final = re.compile(r"invalid choice: '(?P<given>.*)' \(choose from (?P<known>.*)\)$", re.DOTALL)
_UNKNOWN: Final = re.compile(r"unrecognized arguments: (?P<given>.*)$", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """A parser that shows what there is where nothing was said, and names what was perhaps meant."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # An abbreviation that works today is another option's name tomorrow.
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        """Ends with exit code 2, the usage, what is wrong and the nearest names."""
        if found := _CHOICES.search(message):
            known = re.findall(r"'([^']+)'", found["known"]) or [name.strip() for name in found["known"].split(",")]
            message += nearest(found["given"], known)
        elif found := _UNKNOWN.match(message):
            known = [option for action in self._actions for option in action.option_strings]
            message += nearest(found["given"].split()[0].partition("=")[0], known)
        super().error(message)

    def _print_message(self, message: str, file: Any = None) -> None:
        """As argparse's, which takes no notice of a disk that is full."""
        stream = file or sys.stderr
        if message and stream is not None:
            stream.write(message)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, but what a command doesn't know is told by that command, with its own usage."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            parser = self._chosen(parsed)
            parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed

    def _chosen(self, parsed: argparse.Namespace) -> Parser:
        """The parser of the command, and of its action, that was given."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                chosen = action.choices.get(str(getattr(parsed, action.dest, "")))
                if isinstance(chosen, Parser):
                    return chosen._chosen(parsed)
        return self


def nearest(given: str, known: Iterable[str]) -> str:
    """`; did you mean …?` with the known name that is like the given one; empty where none is."""
    close = difflib.get_close_matches(given, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def whole(minimum: int = 1) -> Callable[[str], int]:
    """A type: a whole number, `minimum` at least."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of {minimum} or more")
        return value

    return read


def number(*, above: float = -math.inf, least: float = -math.inf, most: float = math.inf) -> Callable[[str], float]:
    """A type: a finite number above `above`, from `least` to `most`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and above < value and least <= value <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is no number{_range(above, least, most)}")
        return value

    return read


def several(kind: Callable[[str], Any], *, known: Callable[[], Sequence[str]] | None = None) -> Callable[[str], Any]:
    """A type: values of that type with commas between, as a tuple; of `known` names only, where these are given."""

    def read(text: str) -> tuple[Any, ...]:
        parts = [part.strip() for part in text.split(",")]
        if not all(parts):
            raise argparse.ArgumentTypeError(f"{text!r} has an empty place; write values with a comma between them")
        names = known() if known else ()
        for part in parts if known else ():
            if part not in names:
                raise argparse.ArgumentTypeError(f"{part!r} is none of {', '.join(names)}{nearest(part, names)}")
        return tuple(kind(part) for part in parts)

    return read


def _range(above: float, least: float, most: float) -> str:
    if math.isfinite(least) and math.isfinite(most):
        return f" from {least:g} to {most:g}"
    if math.isfinite(above):
        return f" above {above:g}"
    return f" of {least:g} or more" if math.isfinite(least) else ""
