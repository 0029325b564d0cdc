"""What a resource accepts and gives, as data: the provider, its tests and docs/reference all read it from here.

A `ResourceContract` lists `Property` rows. Each row has one role:

    replace    an input; another value means another object
    update     an input; another value is applied in place
    output     known once the object exists

`computed=True` marks inputs that no one writes: they follow from the others before anything is deployed, so a preview
shows them and the resources that depend on them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from accelform_runtime.settings.declaring import A_KIND, EDGE, TARGETS, Kind, Setting, settings_of

Role = Literal["replace", "update", "output"]


class _Unknown:
    """Stands for a value that only the deployment will tell."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()


@dataclass(frozen=True, kw_only=True)
class Property:
    """One property of a resource.

    `kind` is the JSON type, `unit` its unit if it has one; `default` is None where leaving it out means "not set".
    `otherwise`, for people, is what it is then taken for.
    """

    name: str
    kind: Kind
    role: Role
    description: str
    required: bool = False
    default: Any = None
    computed: bool = False
    secret: bool = False
    unit: str = ""
    otherwise: Any = None

    @property
    def is_input(self) -> bool:
        return self.role != "output"


def declared(*groups: type, without: Collection[str] = ()) -> tuple[Property, ...]:
    """The settings of `groups` as inputs that are updated in place.

    A default is filled in only where every kind of target has it, and states have always had it: anything else would
    be a change that nobody made in the first preview after this library was updated.
    """
    return tuple(_property(row) for group in groups for row in settings_of(group) if row.name not in without)


def _property(row: Setting) -> Property:
    filled_in = not (row.is_empty_by_default or row.is_late or row.targets != TARGETS)
    where = "" if row.targets == TARGETS else "; on an edge box" if row.targets == (EDGE,) else "; in a cluster"
    limits = f"; {row.bounds}" if row.bounds.startswith("between") else ""
    return Property(
        name=row.name,
        kind=row.kind,
        role="update",
        description=f"{row.sentence}{limits}{where}",
        default=row.default if filled_in else None,
        otherwise=None if filled_in or row.is_empty_by_default else row.default,
        secret=row.secret,
        unit=row.unit,
    )


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing wrong with one property; `property` is empty where naming it would show a secret."""

    property: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What follows from known inputs: computed properties, and everything wrong at once."""

    computed: Mapping[str, Any]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ResourceContract:
    """The declared surface of one resource.

    `delete_before_replace` is set where the user fixes the physical name, so old and new cannot stand side by side.
    """

    name: str
    summary: str
    delete_before_replace: bool
    properties: tuple[Property, ...]

    @property
    def token(self) -> str:
        """The type token stored in stack states; a change of it orphans them."""
        return f"pulumi-python:dynamic/accel:{self.name}"

    def names(self, *, role: Role | None = None, computed: bool | None = None) -> tuple[str, ...]:
        """Property names in declaration order, filtered by role and by `computed`."""
        return tuple(
            row.name
            for row in self.properties
            if (role is None or row.role == role) and (computed is None or row.computed is computed)
        )

    @property
    def inputs(self) -> tuple[Property, ...]:
        return tuple(row for row in self.properties if row.is_input)

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.names(role="output")

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(row.name for row in self.properties if row.secret)

    def normalise(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
        """Coerces `given` to the declared types, fills defaults and reports every problem.

        Values may be `UNKNOWN`, also inside maps and lists; those pass unchanged. Unset properties stay absent.
        """
        rows = {row.name: row for row in self.inputs}
        values: dict[str, Any] = {}
        problems = [
            Problem(property=name, reason=f"{self.name} has no input {name!r}; it takes {', '.join(self._writable())}")
            for name in given
            if name not in rows
        ]
        for row in rows.values():
            value = given.get(row.name)
            if value is None:
                value = row.default
            if value is None:
                if row.required:
                    problems.append(Problem(property=row.name, reason=f"{row.name} is required: {row.description}"))
                continue
            coerced = _coerce(row.kind, value)
            if coerced is None:
                shown = "" if row.secret else f", not {value!r}"
                problems.append(
                    Problem(
                        property="" if row.secret else row.name, reason=f"{row.name} must be {A_KIND[row.kind]}{shown}"
                    )
                )
            else:
                values[row.name] = coerced
        return values, problems

    def replaced_by(self, olds: Mapping[str, Any], news: Mapping[str, Any]) -> list[str]:
        """The replace keys whose value differs; dropping an optional one is no replacement by itself."""
        return [
            name
            for name in self.names(role="replace")
            if name in news and (contains_unknown(news[name]) or news[name] != olds.get(name))
        ]

    def pick_inputs(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Only the inputs, computed ones included, that are set in `values`."""
        return {row.name: values[row.name] for row in self.inputs if values.get(row.name) is not None}

    def pick_outputs(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Only the outputs that are set in `values`, in their declared types."""
        return {
            row.name: _coerce(row.kind, values[row.name])
            for row in self.properties
            if not row.is_input and values.get(row.name) is not None
        }

    def _writable(self) -> list[str]:
        return [row.name for row in self.inputs if not row.computed]


def contains_unknown(value: Any) -> bool:
    """Whether `value` is `UNKNOWN` or holds it at any depth."""
    if isinstance(value, Mapping):
        return any(contains_unknown(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(contains_unknown(item) for item in value)
    return value is UNKNOWN


def all_known(values: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Whether every one of `names` that is set in `values` is fully known."""
    return not any(contains_unknown(values.get(name)) for name in names)


def _coerce(kind: Kind, value: Any) -> Any:
    """`value` as `kind`, or None where it cannot be; every number arrives from the engine as a float."""
    if contains_unknown(value):
        return value
    if kind == "string":
        return value if isinstance(value, str) else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if kind == "map":
        return dict(value) if isinstance(value, Mapping) else None
    if kind == "list":
        return list(value) if isinstance(value, list | tuple) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if kind == "integer":
        return int(value) if value == int(value) else None
    return float(value)
