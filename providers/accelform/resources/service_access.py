"""ServiceAccess: who may call a web service, made before the objects of a cluster that carry it.

On an edge box `Webservice` makes keys and writes them to the box itself. In a cluster they lie in a Secret, which has
to be there before the pods; so they are a resource of their own, and it lives in the stack's state alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from accelform.plans import names, serving
from accelform.plans.contract import UNKNOWN, Planned, Problem, Property, ResourceContract, all_known
from accelform.plans.spelling import refuse_unknown
from accelform.resources import common, webservice_access, webservice_properties
from accelform.resources.base import AccelProvider, AccelResource, Values
from accelform_runtime.settings import Encryption, Keys, names_of

if TYPE_CHECKING:
    from pulumi import Input, Output, ResourceOptions

    from accelform.resources.service_settings import AccessSettings

SETTINGS = ("auth_enabled", "token_auth_enabled", *names_of(Keys), *names_of(Encryption))
"""What a user says of who may call; on an edge box it is Webservice that takes it."""
_FROM_WEBSERVICE = (
    *SETTINGS,
    "ssl_cert_digest",
    "ssl_cert_expires",
    "ssl_client_ca_digest",
    "service_keys",
    "token_signing_key",
    "token_public_keys",
    "ssl_certificate",
)
_SECRET_OUTPUTS = {
    "keys_file": "content of keys.json: salted hashes of the keys; empty where calls need none",
    "token_keys_file": "content of token_keys.pem; empty without token_auth_enabled",
    "tls_file": "content of tls.pem: private key, certificate and chain; empty without TLS",
    "client_ca_file": "content of client_ca.pem; empty where clients need no certificate",
    "probe_file": "the deployment's own client certificate and key, to ask for health with; empty without client_ca",
}

CONTRACT = ResourceContract(
    name="ServiceAccess",
    summary="Keys, token keys and TLS files of a service in a cluster; made before the objects that carry them.",
    delete_before_replace=False,
    properties=(
        Property(name="name", kind="string", role="replace", required=True, description="name of the service"),
        *(row for row in webservice_properties.CONTRACT.properties if row.name in _FROM_WEBSERVICE),
        common.OWNER,
        *(
            Property(name=name, kind="string", role="output", secret=True, description=description)
            for name, description in _SECRET_OUTPUTS.items()
        ),
    ),
)


class ServiceAccessProvider(AccelProvider):
    """Makes keys once, and again when their generation is another one."""

    contract = CONTRACT

    def plan(self, inputs: Values, *, stored: Mapping[str, Any]) -> Planned:
        known = {key: value for key, value in inputs.items() if all_known(inputs, (key,))}
        problems: list[Problem] = []
        if "name" in known and (reason := names.SERVICE.problem(known["name"])):
            problems.append(Problem(property="name", reason=reason))
        problems.extend(serving.problems(known, pending=inputs.keys() - known.keys()))
        given: Values = {key: UNKNOWN for key in ("primary_key", "secondary_key") if key in inputs}
        problems.extend(serving.key_problems({**known, **given}))
        foretold, unusable = webservice_access.plan_tls(inputs)
        return Planned(computed=foretold, problems=(*problems, *unusable))

    def make(self, inputs: Values) -> tuple[str, Values]:
        return inputs["name"], self.change(inputs["name"], {}, inputs)

    def look(self, id_: str, values: Values) -> Values | None:
        return values

    def change(self, id_: str, stored: Values, inputs: Values) -> Values:
        keys = webservice_access.service_keys(inputs, stored)
        tokens = webservice_access.token_keys(inputs, stored)
        tls = webservice_access.tls_files(inputs)
        # Salts are random: the same keys keep their file, or each update would change the Secret.
        same = bool(stored) and stored.get("service_keys") == keys
        keys_file = stored["keys_file"] if same else _keys_file(keys)
        probe = _probe_file(stored) if tls and tls.client_ca else ""
        return {
            "service_keys": keys,
            "token_signing_key": tokens.signing_key,
            "token_public_keys": list(tokens.public_keys),
            "ssl_certificate": tls.certificate.decode("ascii", "replace") if tls else "",
            "keys_file": keys_file,
            "token_keys_file": _token_keys_file(tokens.public_keys),
            "tls_file": (tls.private_key + tls.certificate).decode("ascii") if tls else "",
            "client_ca_file": _client_ca_file(tls.client_ca, probe) if tls and tls.client_ca else "",
            "probe_file": probe,
        }

    def remove(self, id_: str, stored: Values) -> None:
        """Nothing is anywhere but in the state."""


def _keys_file(keys: Mapping[str, str]) -> str:
    from accelform_runtime.keys import write_key_file

    if not keys:
        return ""
    with tempfile.TemporaryDirectory(prefix="accelform-keys-") as folder:
        path = Path(folder) / "keys.json"
        write_key_file(path, list(keys.values()))
        return path.read_text(encoding="ascii")


def _token_keys_file(public_keys: tuple[str, ...]) -> str:
    return "".join(key if key.endswith("\n") else f"{key}\n" for key in public_keys)


def _probe_file(stored: Mapping[str, Any]) -> str:
    from accelform.targets.edge import probe

    return stored.get("probe_file") or probe.generate().decode("ascii")


def _client_ca_file(authorities: bytes, probe: str) -> str:
    from accelform.plans import certificates

    return (authorities + certificates.only_certificates(probe.encode("ascii"))).decode("ascii")


class ServiceAccess(AccelResource, module="accel", name="ServiceAccess"):
    """The keys and TLS files of a service in a cluster; all but certificates and public keys are secrets."""

    contract = CONTRACT

    name: Output[str]
    service_keys: Output[Mapping[str, str]]
    token_signing_key: Output[str]
    token_public_keys: Output[list[str]]
    ssl_certificate: Output[str]
    ssl_cert_expires: Output[str]
    keys_file: Output[str]
    token_keys_file: Output[str]
    tls_file: Output[str]
    client_ca_file: Output[str]
    probe_file: Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        name: Input[str],
        opts: ResourceOptions | None = None,
        **settings: Unpack[AccessSettings],
    ) -> None:
        refuse_unknown(f"ServiceAccess {resource_name!r}", settings, SETTINGS)
        inputs = {"name": name, **settings}
        super().__init__(ServiceAccessProvider(), resource_name, inputs, opts)
