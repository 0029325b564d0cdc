"""The names of everything that a stack makes in its cluster, known before anything of it is made."""

from __future__ import annotations

from accelform.plans.cluster_objects import Named
from cluster import configuration, gateway, namespace, network, plugin, workload
from cluster.naming import Manifest, service_metadata
from settings import Settings


def names(settings: Settings) -> list[str]:
    """Each object as ClusterClaim takes it, in the order in which they are made."""
    return [str(_named(manifest)) for manifest in (*_of_plugin(settings), *_of_service(settings))]


def _of_plugin(settings: Settings) -> list[Manifest]:
    if not settings.own_device_plugin:
        return []
    found = [
        plugin.plugin_namespace(settings, owner=""),
        *plugin.plugin_identity(settings, owner=""),
        plugin.plugin_policy(settings, owner=""),
    ]
    if settings.registry_pull_config is not None:
        found.append(plugin.plugin_pull_secret(settings, owner="", docker_config=""))
    return [*found, plugin.daemon_set(settings, owner="", image="", node_selector={})]


def _of_service(settings: Settings) -> list[Manifest]:
    found = []
    if settings.create_namespace:
        found.append(namespace.namespace(settings.cluster_namespace, level="restricted", owner=""))
    found += [
        configuration.config_map(settings, owner="", content=""),
        configuration.access_secret(settings, owner="", files={}),
        namespace.service_account(settings, owner=""),
        network.service(settings, owner=""),
        network.network_policy(settings, owner=""),
        workload.disruption_budget(settings, owner=""),
    ]
    if settings.registry_pull_config is not None:
        found.append(configuration.pull_secret(service_metadata(settings, "pull", owner=""), docker_config=""))
    found.append(workload.deployment(settings, owner="", image="", config_digest="", node_selector={}))
    if settings.autoscale_enabled:
        found.append(workload.autoscaler(settings, owner=""))
    if settings.gateway:
        found.append(gateway.grpc_route(settings, owner=""))
    return found


def _named(manifest: Manifest) -> Named:
    metadata = manifest["metadata"]
    return Named(
        api_version=manifest["apiVersion"],
        kind=manifest["kind"],
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
    )
