"""The files that a configuration names, looked at before the front relies on them."""

from __future__ import annotations

import os
from pathlib import Path

from accelform_runtime.errors import ConfigInvalid, KeyFileInvalid, TokenKeysInvalid, UserError
from accelform_runtime.front.build import PROGRAM
from accelform_runtime.keys import KeyFile
from accelform_runtime.server.config import ServiceConfig


def problem(config: ServiceConfig) -> UserError | None:
    """The first reason why a service with this configuration cannot start; None: none of the files is one."""
    return front_problem() or key_problem(config) or token_problem(config) or tls_problem(config)


def front_problem() -> UserError | None:
    """Whether the front's program is there."""
    if os.access(PROGRAM, os.X_OK):
        return None
    return ConfigInvalid(
        "the front's program was not built (there was no Go when this runtime was installed); install Go and run "
        "`python -m accelform_runtime.front.build`"
    )


def key_problem(config: ServiceConfig) -> UserError | None:
    """Whether the key file holds keys."""
    if not config.auth_enabled:
        return None
    try:
        KeyFile(Path(config.keys_file))
    except KeyFileInvalid as error:
        return error
    return None


def token_problem(config: ServiceConfig) -> UserError | None:
    """Whether the file holds public keys that tokens can be checked with."""
    if not config.token_auth_enabled:
        return None
    from accelform_runtime.tokens import read_token_keys_file

    try:
        read_token_keys_file(Path(config.token_keys_file))
    except TokenKeysInvalid as error:
        return error
    return None


def tls_problem(config: ServiceConfig) -> UserError | None:
    """Whether certificate, private key and client authorities can be used together."""
    if not config.ssl_cert_pem_file:
        return None
    from accelform_runtime.server import tls_files

    found = tls_files.check(
        Path(config.ssl_cert_pem_file),
        Path(config.ssl_key_pem_file),
        Path(config.ssl_client_ca_pem_file) if config.ssl_client_ca_pem_file else None,
    )
    return ConfigInvalid("TLS: " + "; ".join(found)) if found else None
