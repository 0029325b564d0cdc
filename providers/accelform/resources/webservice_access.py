"""Who may call a web service: its keys, the keys that its tokens are signed with, its TLS files.

What is secret lies in outputs that the engine encrypts, or, like a certificate's private key, in no state at all: the
state knows the path and the identity of the certificate, which follows the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelform import project, texts
from accelform.errors import TlsFileUnusable
from accelform.plans import serving
from accelform.plans.contract import UNKNOWN, Problem, all_known

if TYPE_CHECKING:
    from accelform.targets.edge import TlsFiles

Values = dict[str, Any]

_KEYS = ("primary", "secondary")
_FILES = (*serving.SSL_FILES, "ssl_client_ca_pem_file")
_FORETOLD = ("ssl_cert_digest", "ssl_cert_expires", "ssl_client_ca_digest")


@dataclass(frozen=True, kw_only=True)
class TokenKeys:
    """The private key that tokens are signed with, and the public keys whose tokens are valid, the newest first."""

    signing_key: str = field(default="", repr=False)
    public_keys: tuple[str, ...] = ()


def service_keys(inputs: Values, stored: Mapping[str, Any]) -> dict[str, str]:
    """The service's two keys: the user's, else the ones it has, else new ones; none where calls need none.

    `stored` holds the last deployment's inputs and outputs. A key whose generation is another one is made anew.
    """
    from accelform_runtime.keys import generate_key

    if not serving.keys_wanted(inputs):
        return {}
    known = stored.get("service_keys") or {}
    kept = {name: key for name, key in known.items() if not _is_another(f"{name}_key_generation", inputs, stored)}
    return {name: inputs.get(f"{name}_key") or kept.get(name) or generate_key() for name in _KEYS}


def token_keys(inputs: Values, stored: Mapping[str, Any]) -> TokenKeys:
    """The keys of tokens: the ones it has, else new ones; none where calls need no token.

    The next generation signs with a new key, and tokens of the one before stay valid until they expire. Any other step
    leaves no earlier key in force.
    """
    from accelform_runtime.tokens import generate_signing_key

    if not inputs.get("token_auth_enabled"):
        return TokenKeys()
    signing_key = stored.get("token_signing_key") or ""
    public_keys = tuple(stored.get("token_public_keys") or ())
    if signing_key and public_keys and not _is_another("token_key_generation", inputs, stored):
        return TokenKeys(signing_key=signing_key, public_keys=public_keys)
    step = inputs["token_key_generation"] - stored.get("token_key_generation", 1)
    fresh = generate_signing_key()
    kept = public_keys[:1] if step == 1 else ()
    return TokenKeys(signing_key=fresh.private_pem, public_keys=(fresh.public_pem, *kept))


def plan_tls(inputs: Values) -> tuple[Values, list[Problem]]:
    """What the TLS files foretell, and everything wrong with them; unknown where a path is not known yet."""
    from accelform.plans import certificates

    nothing = dict.fromkeys(_FORETOLD, "")
    if not all_known(inputs, ("ssl_enabled", "ssl_cname", *_FILES)):
        return dict.fromkeys(_FORETOLD, UNKNOWN), []
    if not inputs.get("ssl_enabled") or not all(inputs.get(name) for name in serving.SSL_FILES):
        return nothing, []
    contents: dict[str, bytes] = {}
    found: list[Problem] = []
    for name in _FILES:
        if inputs.get(name):
            try:
                contents[name] = _read(name, inputs[name])
            except TlsFileUnusable as error:
                found.append(Problem(property=name, reason=str(error)))
    certificate, key, authorities = (contents.get(name) for name in _FILES)
    reasons: dict[str, str | None] = {}
    if certificate is not None:
        reasons["ssl_cert_pem_file"] = certificates.certificate_problem(certificate, host=serving.host(inputs))
    if certificate is not None and key is not None:
        reasons["ssl_key_pem_file"] = certificates.key_problem(key, certificate_pem=certificate)
    if authorities is not None:
        reasons["ssl_client_ca_pem_file"] = certificates.authorities_problem(authorities)
    found += [
        Problem(property=name, reason=f"{name} {inputs[name]} cannot be used: {reason}")
        for name, reason in reasons.items()
        if reason
    ]
    if found or certificate is None:
        return nothing, found
    return {
        "ssl_cert_digest": certificates.digest(certificate),
        "ssl_cert_expires": certificates.read(certificate).expires_text,
        "ssl_client_ca_digest": certificates.digest(authorities) if authorities is not None else "",
    }, []


def tls_files(inputs: Values) -> TlsFiles | None:
    """The content of the TLS files; None without TLS.

    Raises TlsFileUnusable where one can no longer be read, or is not the one that was checked.
    """
    from accelform.plans import certificates
    from accelform.targets.edge import TlsFiles

    if not inputs.get("ssl_enabled"):
        return None
    foretold, problems = plan_tls(inputs)
    if problems or any(foretold[name] != inputs[name] for name in _FORETOLD):
        why = problems[0].reason if problems else f"ssl_cert_pem_file {inputs['ssl_cert_pem_file']} is another one"
        raise TlsFileUnusable(f"the TLS files changed since they were checked: {why}; run the same command again")
    certificate, key = (_read(name, inputs[name]) for name in serving.SSL_FILES)
    path = inputs.get("ssl_client_ca_pem_file")
    return TlsFiles(
        certificate=certificates.only_certificates(certificate),
        private_key=certificates.only_key(key),
        client_ca=certificates.only_certificates(_read("ssl_client_ca_pem_file", path)) if path else b"",
    )


def _is_another(name: str, inputs: Values, stored: Mapping[str, Any]) -> bool:
    return bool(stored) and inputs[name] != stored.get(name, 1)


def _read(name: str, path: str) -> bytes:
    where: Path = project.resolve(path)
    try:
        content = where.read_bytes()
    except OSError as error:
        raise TlsFileUnusable(
            f"{name} {path} cannot be read: {error.strerror}; name a file on the machine that runs pulumi"
        ) from error
    try:
        return texts.decoded(content).encode("utf-8")
    except texts.NotText:
        return content  # whoever reads it as PEM says what it is not
