"""Webservice: an image on a compute target, answering TensorFlow Serving's gRPC API.

What every service has in common is here; what its kind of target makes of it is in `webservice_edge` and
`webservice_kubernetes`, which offer the same functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, Unpack

import pulumi
from pulumi.dynamic import ReadResult

from accelform import faults
from accelform.plans import names, scaling, serving
from accelform.plans.contract import UNKNOWN, Planned, Problem, all_known
from accelform.plans.spelling import refuse_unknown
from accelform.resources import common, webservice_edge, webservice_kubernetes
from accelform.resources.base import AccelProvider, AccelResource, Values
from accelform.resources.webservice_properties import CONTRACT, SETTINGS
from accelform_runtime.settings import Scaling, names_of

if TYPE_CHECKING:
    from pulumi import Input, Output, ResourceOptions

    from accelform.resources.compute_target import ComputeTarget
    from accelform.resources.image import Image
    from accelform.resources.service_access import ServiceAccess
    from accelform.resources.service_settings import ServiceSettings


class _Backend(Protocol):
    """What a kind of target offers; the functions of a module."""

    UNFORESEEN: tuple[str, ...]
    """What is foretold on other kinds of targets and on this one only the deployment tells, so it is no input."""

    def foretold(self, inputs: Values) -> tuple[Values, list[Problem]]:
        """What follows from the inputs, and everything wrong with files that they name."""

    def problems(self, inputs: Values) -> list[Problem]:
        """What is wrong with the inputs on this kind of target; some may be UNKNOWN."""

    def target_problems(self, inputs: Values) -> list[Problem]:
        """What the target says against this service."""

    def announcements(self, inputs: Values, stored: Mapping[str, Any]) -> list[str]:
        """What clients will notice of the change from `stored`, told by a preview; empty where that is nothing."""

    def deploy(self, inputs: Values, stored: Values) -> Values:
        """Makes the service serve; returns its outputs."""

    def ailing(self, values: Values) -> str:
        """Why the service does not serve, where that can be seen at once; "" where it does, or nobody looks."""

    def look(self, values: Values) -> Values | None:
        """The live values, or None where the service is gone."""

    def remove(self, stored: Values) -> None:
        """Removes what `deploy` made."""


_BACKENDS: Mapping[str, _Backend] = {"edge": webservice_edge, "kubernetes": webservice_kubernetes}


class WebserviceProvider(AccelProvider):
    """Deploys an image on a compute target and keeps it there."""

    contract = CONTRACT

    def modules(self, values: Mapping[str, Any], *, offline: bool) -> tuple[str, ...]:
        return common.CLUSTER_MODULES if values.get("target_kind") == "kubernetes" and not offline else ()

    def plan(self, inputs: Values, *, stored: Mapping[str, Any]) -> Planned:
        known = {key: value for key, value in inputs.items() if all_known(inputs, (key,))}
        problems = common.property_problems(inputs, stored)
        if "name" in known and (reason := names.SERVICE.problem(known["name"])):
            problems.append(Problem(property="name", reason=reason))
        problems.extend(scaling.problems(known))
        problems.extend(serving.problems(known, pending=inputs.keys() - known.keys()))
        # A key counts as given also where its value is not known yet.
        given: Values = {key: UNKNOWN for key in ("primary_key", "secondary_key") if key in inputs}
        problems.extend(serving.key_problems({**known, **given}))
        auth = all_known(inputs, ("auth_enabled", "token_auth_enabled"))
        computed: Values = {"auth_enabled": serving.keys_wanted(inputs) if auth else UNKNOWN}
        if "target_kind" not in known:
            return Planned(computed=computed, problems=tuple(problems))
        backend = _BACKENDS.get(known["target_kind"])
        if backend is None:
            reason = f"a web service runs on {' or '.join(_BACKENDS)}, not on {known['target_kind']!r}"
            problems.append(Problem(property="target_kind", reason=reason))
            return Planned(computed=computed, problems=tuple(problems))
        problems.extend(backend.problems(inputs))
        foretold, unusable = backend.foretold(inputs)
        problems.extend(unusable)
        if not problems:
            # Until a renamed stack is updated, what it has on the target bears its former name.
            problems.extend(backend.target_problems({**inputs, "owner": stored.get("owner") or inputs["owner"]}))
        if not problems:
            for line in backend.announcements(inputs, stored):
                common.note(line)
        return Planned(computed={**computed, **foretold}, problems=tuple(problems))

    def make(self, inputs: Values) -> tuple[str, Values]:
        outputs = _backend(inputs).deploy(inputs, {})
        faults.fault_point("webservice:after-deploy")
        return inputs["name"], outputs

    def look(self, id_: str, values: Values) -> Values | None:
        return _backend(values).look(values)

    def ailing(self, values: Values) -> str:
        return _backend(values).ailing(values)

    def change(self, id_: str, stored: Values, inputs: Values) -> Values:
        outputs = _backend(inputs).deploy(inputs, stored)
        return {**outputs, "created_time": stored["created_time"]}

    def remove(self, id_: str, stored: Values) -> None:
        _backend(stored).remove(stored)

    def read(self, id_: str, props: Values) -> ReadResult:
        answer = super().read(id_, props)
        if answer.inputs:
            unforeseen = _backend(answer.inputs).UNFORESEEN
            answer.inputs = {key: value for key, value in answer.inputs.items() if key not in unforeseen}
        return answer


def _backend(values: Values) -> _Backend:
    return _BACKENDS[values["target_kind"]]


class Webservice(AccelResource, module="accel", name="Webservice"):
    """A web service on `target`, like Azure ML's `AksWebservice`; keys are secrets."""

    contract = CONTRACT

    name: Output[str]
    scoring_uri: Output[str]
    state: Output[str]
    image_digest: Output[str]
    service_keys: Output[Mapping[str, str]]
    token_signing_key: Output[str]
    token_public_keys: Output[list[str]]
    http_uri: Output[str]
    ssl_certificate: Output[str]
    ssl_cert_expires: Output[str]
    created_time: Output[str]

    def __init__(
        self,
        logical_name: str,
        /,
        *,
        name: Input[str],
        image: Image,
        target: ComputeTarget,
        access: ServiceAccess | None = None,
        namespace: Input[str] | None = None,
        objects_digest: Input[str] | None = None,
        pods_digest: Input[str] | None = None,
        tags: Input[Mapping[str, str]] | None = None,
        properties: Input[Mapping[str, str]] | None = None,
        description: Input[str] | None = None,
        opts: ResourceOptions | None = None,
        **settings: Unpack[ServiceSettings],
    ) -> None:
        """`settings` are those of accelform_runtime.settings.

        On a cluster, `access` and the digests tell what was made there; `opts` must depend on the objects.
        """
        refuse_unknown(f"Webservice {logical_name!r}", settings, SETTINGS)
        told = {
            "name": name,
            "namespace": namespace,
            "objects_digest": objects_digest,
            "pods_digest": pods_digest,
            "tags": tags,
            "properties": properties,
            "description": description,
        }
        # An output that a target does not have is unknown in every preview: only its own are taken.
        place = target.place
        scale = {key: settings.get(key) for key in names_of(Scaling)}
        replicas = pulumi.Output.all(target.fpga_capacity, scale).apply(lambda pair: _most_replicas(*pair))
        inputs = {
            **place,
            **_access_inputs(access),
            **{key: value for key, value in {**told, **settings}.items() if value is not None},
            "target_kind": target.kind,
            "target_name": target.name,
            "target_fpgas": target.fpga_capacity,
            "target_claims": target.claim(str(name), replicas),
            "storage_url": image.storage_url,
            "image_name": image.name,
            "image_fingerprint": image.fingerprint,
            "image_owner": image.owner,
        }
        super().__init__(WebserviceProvider(), logical_name, inputs, opts)

    @property
    def primary_key(self) -> Output[str]:
        """The first key; a secret."""
        return self.service_keys.apply(lambda keys: keys.get("primary", ""))

    @property
    def secondary_key(self) -> Output[str]:
        """The second key; a secret."""
        return self.service_keys.apply(lambda keys: keys.get("secondary", ""))


def _access_inputs(access: ServiceAccess | None) -> dict[str, Any]:
    if access is None:
        return {}
    return {
        "access_keys": access.service_keys,
        "access_token_signing_key": access.token_signing_key,
        "access_token_public_keys": access.token_public_keys,
        "access_probe_file": access.probe_file,
        "access_certificate": access.ssl_certificate,
    }


def _most_replicas(fpgas: int, settings: Mapping[str, Any]) -> int:
    return scaling.replica_range(settings, int(fpgas))[1]
