"""What a setting is: a typed field with its default, bounds, unit and sentence beside it.

A group of settings is a frozen dataclass whose fields are made by `setting`. Whoever needs to know more of them than
their values (contracts, stack files, documents, checks) reads `settings_of(group)`, and repeats nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal["string", "integer", "number", "boolean", "map", "list"]

EDGE: Final = "edge"
KUBERNETES: Final = "kubernetes"
TARGETS: Final = (EDGE, KUBERNETES)
"""Kinds of targets that a service runs on."""

A_KIND: Final[Mapping[str, str]] = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "map": "a map of names to values",
    "list": "a list",
}
"""What a value of each kind is called in a message."""

_KINDS: Final[Mapping[str, Kind]] = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_ROW: Final = "setting"
REQUIRED: Final = dataclasses.MISSING
"""The default of a setting that has to be given."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One declared setting.

    `annotation` is its Python type as it is written. `default` is None where it is required, or leaving it out means
    "not set". `least` and `most` are inclusive; with `above`, a value must be greater than that. `form` gives what is
    wrong with a text, as a phrase after its name, "" where nothing is. `targets` are the kinds that obey it. `is_late`
    marks those that states of earlier versions lack: left out, they are as if they had their default.
    """

    name: str
    kind: Kind
    annotation: str
    default: Any
    sentence: str
    unit: str = ""
    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    choices: tuple[str, ...] = ()
    form: Callable[[str], str] | None = None
    required: bool = False
    secret: bool = False
    targets: tuple[str, ...] = TARGETS
    is_late: bool = False

    @property
    def is_empty_by_default(self) -> bool:
        """Whether leaving it out and setting it to nothing are the same."""
        return self.default is None or (isinstance(self.default, str | Mapping | list | tuple) and not self.default)

    @property
    def bounds(self) -> str:
        """What `value` must be, as a phrase after "must be"; empty where any value of its kind will do."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.above > -math.inf:
            return f"above {self.above:g}" + (f" and at most {_plain(self.most)}" if self.most < math.inf else "")
        if self.least > -math.inf and self.most < math.inf:
            return f"between {_plain(self.least)} and {_plain(self.most)}"
        if self.least > -math.inf:
            return f"at least {_plain(self.least)}"
        return f"at most {_plain(self.most)}" if self.most < math.inf else ""

    def problem(self, value: Any) -> str:
        """Why `value`, of the right kind, cannot be; "" where it can."""
        if self.form is not None:
            reason = self.form(value)
            return f"{self.name} {reason}" if reason else ""
        if self.choices:
            allowed = value in self.choices
        elif self.kind in ("integer", "number"):
            allowed = self.least <= value <= self.most and value > self.above
        else:
            allowed = not self.required or bool(value)
        if allowed:
            return ""
        return (
            f"{self.name} must be {self.bounds}, not {_shown(value)}"
            if self.bounds
            else f"{self.name} must not be empty"
        )

    def fits(self, value: Any) -> bool:
        """Whether `value` is of the setting's kind; a whole number is a number too."""
        if self.kind == "boolean" or isinstance(value, bool):
            return self.kind == "boolean" and isinstance(value, bool)
        if self.kind == "string":
            return isinstance(value, str)
        if self.kind == "map":
            return isinstance(value, Mapping)
        if self.kind == "list":
            return isinstance(value, list | tuple)
        return isinstance(value, int) if self.kind == "integer" else isinstance(value, int | float)


def setting(default: Any, sentence: str, **rules: Any) -> Any:
    """A field of a group of settings: its default, what it means, and by name what else `Setting` knows of it."""
    row = {_ROW: {"sentence": sentence, **rules}}
    if default is REQUIRED:
        return dataclasses.field(metadata=row)
    if isinstance(default, dict | list):
        return dataclasses.field(default_factory=default.copy, metadata=row)
    return dataclasses.field(default=default, metadata=row)


def again(group: type, name: str, **changes: Any) -> Any:
    """A setting of `group` in another one, with what it has there but for `changes`."""
    field = next(row for row in dataclasses.fields(group) if row.name == name)
    return setting(field.default, **{**field.metadata[_ROW], **changes})


def settings_of(group: type) -> tuple[Setting, ...]:
    """The settings of a dataclass in the order they are declared in, those of the groups that it is made of first.

    A field that a group declares again has the place of the first and the meaning of the last.
    """
    return _settings_of(group)  # a cache takes what is hashable, which mypy does not see of a dataclass's own type


@functools.cache
def _settings_of(group: Hashable) -> tuple[Setting, ...]:
    assert isinstance(group, type)
    found: dict[str, Setting] = {}
    for base in group.__bases__:
        found |= {row.name: row for row in settings_of(base)}
    for field in dataclasses.fields(group) if dataclasses.is_dataclass(group) else ():
        inherited = any(field is getattr(base, "__dataclass_fields__", {}).get(field.name) for base in group.__bases__)
        if _ROW in field.metadata and not inherited:
            found[field.name] = _row(field)
    return tuple(found.values())


def names_of(group: type) -> tuple[str, ...]:
    """The names of a group's settings."""
    return tuple(row.name for row in settings_of(group))


def values_of(group: type, source: Mapping[str, Any]) -> dict[str, Any]:
    """Of `source`, by name, the values that are settings of `group` and are set."""
    return {name: source[name] for name in names_of(group) if source.get(name) is not None}


def problems(rows: Iterable[Setting], values: Mapping[str, Any]) -> dict[str, str]:
    """By name, what is wrong with each of `values` taken alone; values that are not set are not looked at."""
    found = {}
    for row in rows:
        value = values.get(row.name)
        if value is not None and (reason := row.problem(value)):
            found[row.name] = reason
    return found


def _row(field: dataclasses.Field[Any]) -> Setting:
    kind = str(field.type).removesuffix(" | None")
    required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    default = None if required else field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    return Setting(
        name=field.name,
        annotation=str(field.type),
        kind=_KINDS.get(kind) or ("list" if kind.startswith("list") else "map"),
        default=default,
        required=required,
        **field.metadata[_ROW],
    )


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{number:g}"


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)
