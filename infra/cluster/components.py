"""Two components: the device plugin of a pool, and the objects of a service. They only register manifests."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pulumi

from accelform.resources import ServiceAccess
from cluster import configuration, gateway, namespace, network, plugin, workload
from cluster.naming import Manifest, pull_name, service_metadata
from cluster.pod import grace_seconds
from cluster.registering import register
from settings import Settings


class DevicePlugin(pulumi.ComponentResource):
    """The device plugin on the nodes of the stack's pool, with its own namespace, identity and rights.

    `digest` is the identity of what runs on the nodes, by which `ComputeTarget` knows what to wait for.
    """

    digest: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        settings: Settings,
        owner: str,
        image: pulumi.Input[str],
        node_selector: Mapping[str, str],
        after: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Nothing of it is made before `after` is there."""
        super().__init__("accelform:kubernetes:DevicePlugin", name, None, opts)
        put = partial(register, parent=self, timeout_seconds=settings.provisioning_timeout_seconds)
        space = put(f"{name}-namespace", plugin.plugin_namespace(settings, owner=owner), depends_on=after)
        before = [
            put(f"{name}-{manifest['kind'].lower()}", manifest, depends_on=[space, *after])
            for manifest in (
                *plugin.plugin_identity(settings, owner=owner),
                plugin.plugin_policy(settings, owner=owner),
                *_plugin_pull_secret(settings, owner),
            )
        ]
        daemon_set = partial(plugin.daemon_set, settings, owner=owner, node_selector=node_selector)
        put(f"{name}-daemonset", daemon_set(image=image), depends_on=before)
        self.digest = pulumi.Output.from_input(image).apply(lambda known: _digest([daemon_set(image=known)]))
        self.register_outputs({"digest": self.digest})


class ServiceObjects(pulumi.ComponentResource):
    """The objects of one service; `digest` is their identity, by which `Webservice` knows that something changed, and
    `pods_digest` that of the pods, which are replaced by others when it is another one."""

    digest: pulumi.Output[str]
    pods_digest: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        settings: Settings,
        owner: str,
        image: pulumi.Output[str],
        access: ServiceAccess,
        node_selector: pulumi.Input[Mapping[str, str]],
        after: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Nothing of it is made before `after` is there."""
        super().__init__("accelform:kubernetes:ServiceObjects", name, None, opts)
        put = partial(
            register, parent=self, timeout_seconds=settings.deployment_timeout_seconds + grace_seconds(settings)
        )
        service_json = image.apply(lambda location: configuration.service_json(settings, image=location))
        deployment = workload.deployment(
            settings,
            owner=owner,
            image=image,
            config_digest=service_json.apply(configuration.digest),
            node_selector=node_selector,
        )
        config_map = configuration.config_map(settings, owner=owner, content=service_json)
        around = [
            namespace.service_account(settings, owner=owner),
            network.service(settings, owner=owner),
            network.network_policy(settings, owner=owner),
            workload.disruption_budget(settings, owner=owner),
        ]
        secrets = [configuration.access_secret(settings, owner=owner, files=_files(settings, access))]
        pull = service_metadata(settings, "pull", owner=owner)
        if settings.registry_pull_config is not None:
            secrets.append(configuration.pull_secret(pull, docker_config=_encoded(settings.registry_pull_config)))

        space: list[pulumi.Resource] = []
        if settings.create_namespace:
            manifest = namespace.namespace(settings.cluster_namespace, level="restricted", owner=owner)
            space = [put(f"{name}-namespace", manifest, depends_on=after)]
        before = [
            put(_logical_name(name, settings, manifest), manifest, depends_on=[*space, *after])
            for manifest in (config_map, *secrets, *around)
        ]
        started = put(f"{name}-deployment", deployment, depends_on=before)
        scaled = [workload.autoscaler(settings, owner=owner)] if settings.autoscale_enabled else []
        for manifest in scaled:
            put(_logical_name(name, settings, manifest), manifest, depends_on=[started])

        def described(given: list[Any]) -> tuple[str, str]:
            content = configuration.service_json(settings, image=given[0])
            pods = workload.deployment(
                settings,
                owner=owner,
                image=given[0],
                config_digest=configuration.digest(content),
                node_selector=given[1],
            )
            served = configuration.config_map(settings, owner=owner, content=content)
            return _digest([pods, served, *around, *scaled]), _digest([pods["spec"]["template"]])

        if settings.gateway:
            put(f"{name}-grpcroute", gateway.grpc_route(settings, owner=owner), depends_on=before)

        # Without the Secrets: other keys are told to the pods by their volumes, and a digest of them helps nobody.
        # Made of plain values at the end, because a manifest of outputs is an output for each of its hundred leaves.
        digests = pulumi.Output.all(image, node_selector).apply(described)
        self.digest = digests.apply(lambda pair: pair[0])
        self.pods_digest = digests.apply(lambda pair: pair[1])
        self.register_outputs({"digest": self.digest, "pods_digest": self.pods_digest})


def _digest(manifests: list[Manifest]) -> str:
    return hashlib.sha256(json.dumps(manifests).encode("utf-8")).hexdigest()


def _plugin_pull_secret(settings: Settings, owner: str) -> list[Manifest]:
    if settings.registry_pull_config is None:
        return []
    password = _encoded(settings.registry_pull_config)
    return [plugin.plugin_pull_secret(settings, owner=owner, docker_config=password)]


def _files(settings: Settings, access: ServiceAccess) -> dict[str, Any]:
    contents = {
        configuration.KEYS_FILE: access.keys_file,
        configuration.TOKEN_KEYS_FILE: access.token_keys_file,
        configuration.TLS_FILE: access.tls_file,
        configuration.CLIENT_CA_FILE: access.client_ca_file,
    }
    wanted = configuration.access_files(settings, contents)
    return {name: _encoded(content) for name, content in wanted.items()}


def _encoded(text: pulumi.Output[str]) -> pulumi.Output[str]:
    return text.apply(lambda content: base64.b64encode(content.encode("utf-8")).decode("ascii"))


def _logical_name(name: str, settings: Settings, manifest: Manifest) -> str:
    """`<component>-<kind>`, and what the object's name adds to the service's, for there are two Secrets."""
    suffix = "-pull" if manifest["metadata"]["name"] == pull_name(settings) else ""
    return f"{name}-{manifest['kind'].lower()}{suffix}"
