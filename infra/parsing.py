"""Values of a stack file as the types of the settings: everything arrives as text."""

from __future__ import annotations

import json
from typing import Any


def parse(type_name: str, text: str) -> Any:
    """`text` as the type that a field of the settings declares; raises ValueError with the expected form."""
    if type_name.startswith("str"):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if type_name.startswith("int"):
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise ValueError("a whole number")
    if type_name.startswith("float"):
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        raise ValueError("a number")
    if type_name.startswith("bool"):
        if isinstance(value, bool):
            return value
        raise ValueError("true or false")
    if type_name.startswith("list"):
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return value
        raise ValueError("a list of strings")
    if type_name.endswith("int]"):
        if isinstance(value, dict) and all(type(item) is int for item in value.values()):
            return value
        raise ValueError("a map of whole numbers")
    if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
        return value
    raise ValueError("a map of strings")
