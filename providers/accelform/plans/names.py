"""Azure ML's rules for names, each with its sentence (azureml-core 1.61)."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NameRule:
    """A pattern a name must match as a whole, and the sentence that states it."""

    pattern: str
    sentence: str

    def problem(self, name: str) -> str | None:
        """What is wrong with `name`, with the rule and, where there is one, a name that would do."""
        if re.fullmatch(self.pattern, name):
            return None
        lowered = name.lower()
        hint = f"; {lowered!r} would do" if lowered != name and re.fullmatch(self.pattern, lowered) else ""
        return f"{name!r} is not a valid name: {self.sentence}{hint}"


MODEL = NameRule(
    pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}",
    sentence="1 to 255 letters, digits, '-', '.' or '_', starting with a letter or digit",
)
IMAGE = NameRule(
    pattern=r"[a-z0-9][a-z0-9.-]{1,30}[a-z0-9]",
    sentence="3 to 32 lower case letters, digits, '-' or '.', starting and ending with a letter or digit",
)
SERVICE = NameRule(
    pattern=r"[a-z][a-z0-9-]{1,30}[a-z0-9]",
    sentence="3 to 32 lower case letters, digits or '-', starting with a letter, ending with a letter or digit",
)
COMPUTE = NameRule(
    pattern=r"[a-zA-Z][a-zA-Z0-9-]{1,14}[a-zA-Z0-9]",
    sentence="3 to 16 letters, digits or '-', starting with a letter, ending with a letter or digit",
)
WORKSPACE = NameRule(
    pattern=r"[a-zA-Z0-9][a-zA-Z0-9_-]{1,31}",
    sentence="2 to 32 letters, digits, '-' or '_', starting with a letter or digit",
)
RESERVED_COMPUTE = ("amlcompute", "local", "containerinstance")


def converted_model_name(model_name: str, version: int) -> str:
    """`<model>.<version>.accelonnx`, the model's part cut so that the whole fits 32 characters.

    >>> converted_model_name("resnet50", 3)
    'resnet50.3.accelonnx'
    """
    tail = f".{version}.accelonnx"
    return model_name[: 32 - len(tail)] + tail
