"""A node's emulated FPGAs in Kubernetes: the device plugin, which is a part of the front's program, and faults."""

from __future__ import annotations

from typing import Final

COMMANDS: Final = ("fault", "heal", "list")
"""Words that make the plugin's program do something else than to be the plugin."""
