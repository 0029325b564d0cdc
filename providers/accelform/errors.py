"""Accelform's errors.

    AccelformError
    ├── UserError            the person who declares the stack can fix it
    └── InternalError        Accelform or its surroundings failed

Every message says what failed, on which object, why, and what to do next.
"""

from __future__ import annotations


class AccelformError(Exception):
    """The base of everything this package raises on purpose."""


class UserError(AccelformError):
    """The input, the configuration or the environment has to change; trying again unchanged fails again."""


class InternalError(AccelformError):
    """The input was fine; Accelform, the store or the target failed. Trying again may help."""
