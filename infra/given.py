"""What a stack sets, before it is read: names that are no settings, and secrets where none can be kept."""

from __future__ import annotations

from collections.abc import Collection

import pulumi
from pulumi.runtime.config import CONFIG, get_config_env, is_config_secret

from accelform.plans.spelling import unknown_settings


def unknown_names(config: pulumi.Config, known: Collection[str]) -> list[str]:
    """One sentence for each name that the stack sets and nobody reads."""
    return unknown_settings({*CONFIG.get(), *get_config_env()}, project=config.name, known=known)


def secret_problem(config: pulumi.Config, name: str) -> str:
    """Why a setting cannot be a secret as it was set; empty where it is set in clear."""
    if not is_config_secret(config.full_key(name)):
        return ""
    return (
        f"{name} is set as a secret, but it is shown: previews, the stack's state and the service's own files hold it "
        f"in clear. Set it without --secret; if it must not be seen, it does not belong here"
    )
