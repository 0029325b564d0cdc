"""What a server obeys, as tests say it: keys are asked for unless they are not."""

from __future__ import annotations

from typing import Any

from accelform_runtime.settings import Serving, names_of


def serving_of(changes: dict[str, Any], **given: Any) -> Serving:
    """Takes the settings of a server out of `changes`; `given` stand in where these say nothing."""
    obeyed = {name: changes.pop(name) for name in names_of(Serving) if name in changes}
    return Serving(**{"auth_enabled": True, **given, **obeyed})
