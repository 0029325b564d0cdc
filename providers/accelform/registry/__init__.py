"""Registries: an OCI distribution client (distribution-spec 1.1) that sends a blob only where it is not there yet.

On requests, and not on oras-py (0.2.43): that waits up to two minutes before it says that a registry does not answer,
has no timeouts, keeps one token for all repositories, reads `~/.docker` only and holds a whole blob in memory; mounts
between repositories, identity tokens and referrers are missing there.
"""

from accelform.registry.blobs import Blob
from accelform.registry.connection import Connection
from accelform.registry.reference import Reference, parse
from accelform.registry.repository import Manifest, Repository

__all__ = ["Blob", "Connection", "Manifest", "Reference", "Repository", "parse"]
