"""What Image does with a registry beside pushing: rules that a preview checks, and what killed creates left there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accelform import project
from accelform.plans.contract import Problem, all_known
from accelform.resources import common

if TYPE_CHECKING:
    from accelform.resources.base import Values
    from accelform.store import Store

IN_A_REGISTRY = ("registry", "base_image")
"""Inputs that are set for an image in a registry only."""


def remove_half_pushed(store: Store, *, owner_prefix: str, keep: str = "", values: Mapping[str, Any]) -> None:
    """Removes from registries what killed creates of these owners pushed, but for the content `keep`.

    Raises the registries' errors.
    """
    from accelform.images import registry_image
    from accelform.store import versions

    for row in versions.unfinished(store, owner_prefix=owner_prefix):
        place = registry_image.read_place(store, row.name, row.version) if row.digest != keep else None
        if place is not None:
            common.note(f"removing {place.location}, which an interrupted run pushed")
            registry_image.withdraw(place, ca_file=ca_file_of(values) or place.ca_file, progress=common.note)


def registry_problems(inputs: Values) -> list[Problem]:
    """What is wrong with where it shall be pushed, as far as can be told without asking the registry."""
    from accelform.errors import ReferenceInvalid
    from accelform.registry.reference import parse, parse_pinned, split_prefix

    problems = []
    if not all_known(inputs, ("name", *IN_A_REGISTRY, "registry_ca_file")):
        return []
    registry, base_image = inputs.get("registry"), inputs.get("base_image")
    try:
        if registry:
            split_prefix(registry)
            parse(f"{registry}/{inputs['name']}", what="place for the image")
    except ReferenceInvalid as error:
        problems.append(Problem(property="registry", reason=str(error)))
    try:
        if base_image:
            parse_pinned(base_image, what="base_image")
    except ReferenceInvalid as error:
        problems.append(Problem(property="base_image", reason=str(error)))
    if registry and not base_image:
        reason = "base_image is needed with registry: an image with Python by digest (`accelform base-image build`)"
        problems.append(Problem(property="base_image", reason=reason))
    for name in ("base_image", "registry_ca_file"):
        if inputs.get(name) and not registry:
            problems.append(Problem(property=name, reason=f"{name} means nothing without registry"))
    if inputs.get("registry_ca_file") and not project.resolve(inputs["registry_ca_file"]).is_file():
        reason = f"there is no file {inputs['registry_ca_file']!r}"
        problems.append(Problem(property="registry_ca_file", reason=reason))
    return problems


def base_image_problems(inputs: Values, stored: Mapping[str, Any]) -> list[Problem]:
    """A base image that its registry does not have; asked where it is another one than is deployed."""
    from accelform.images.presence import missing

    if not all_known(inputs, (*IN_A_REGISTRY, "registry_ca_file")) or not inputs.get("base_image"):
        return []
    if inputs["base_image"] == stored.get("base_image"):
        return []
    advice = "push it there (`accelform base-image build --push`), or correct base_image"
    reason = missing(inputs["base_image"], what="base_image", ca_file=ca_file_of(inputs), advice=advice)
    return [Problem(property="base_image", reason=reason)] if reason else []


def ca_file_of(values: Mapping[str, Any]) -> str:
    """The absolute path of registry_ca_file, empty where it is not set."""
    given = values.get("registry_ca_file")
    return str(project.resolve(given)) if given else ""
