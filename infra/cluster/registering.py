"""From a manifest to a resource of pulumi-kubernetes, and the one provider that all of a stack's objects use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from accelform import project
from cluster.naming import Manifest
from settings import Settings

REQUESTS_PER_SECOND = 200
"""Of the plugin, which would keep to 50; API servers bound what is too much for them ("API Priority and Fairness")."""

HAVE_PODS = ("Deployment", "DaemonSet")
"""Kinds that are gone only when their pods are."""

AT_ONCE = {"pulumi.com/deletionPropagationPolicy": "background"}
"""For all other kinds. The plugin's own way is `foreground`: an object stays until the garbage collector has looked for
what depends on it, which it does for a few objects a second (kube-controller-manager's `--kube-api-qps`)."""

TAKEN_BACK = {"pulumi.com/patchForce": "true"}
"""What somebody else wrote into an object of the stack is the stack's again with the next update, where the plugin
would otherwise stop at a conflict of field managers. It forces creation as well; that no object of another's is taken
so, ClusterClaim has seen to before."""


def provider(settings: Settings) -> kubernetes.Provider:
    """The cluster of the stack's context, and no other.

    The context's name is the cluster's identity: another path to the same kubeconfig replaces nothing. Content of
    ConfigMaps and Secrets changes in place, or a new key would take the Secret away from running pods.
    """
    return kubernetes.Provider(
        "cluster",
        # Empty leaves it to the plugin (KUBECONFIG, ~/.kube/config); None would write the caller's path into the state.
        kubeconfig=str(project.resolve(settings.kubeconfig)) if settings.kubeconfig else "",
        context=settings.kube_context,
        cluster_identifier=settings.kube_context,
        enable_config_map_mutable=True,
        enable_secret_mutable=True,
        kube_client_settings=kubernetes.KubeClientSettingsArgs(qps=REQUESTS_PER_SECOND, burst=2 * REQUESTS_PER_SECOND),
    )


def register(
    name: str,
    manifest: Manifest,
    *,
    parent: pulumi.Resource,
    timeout_seconds: int,
    depends_on: Sequence[pulumi.Resource] = (),
) -> pulumi.Resource:
    """Registers the object of `manifest` below `parent`, whose provider it uses.

    `timeout_seconds` bounds whatever the plugin waits for by itself, such as the end of a namespace.
    """
    fields = {_snake(key): value for key, value in _annotated(manifest).items()}
    longest = f"{timeout_seconds}s"
    options = pulumi.ResourceOptions(
        parent=parent,
        depends_on=list(depends_on),
        custom_timeouts=pulumi.CustomTimeouts(create=longest, update=longest, delete=longest),
    )
    made: pulumi.Resource = _class(manifest)(name, opts=options, **fields)
    return made


def _annotated(manifest: Manifest) -> Manifest:
    words = TAKEN_BACK if manifest["kind"] in HAVE_PODS else {**TAKEN_BACK, **AT_ONCE}
    metadata = manifest["metadata"]
    return {**manifest, "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), **words}}}


def _class(manifest: Manifest) -> Any:
    """pulumi-kubernetes' class for the manifest's kind: its modules are the API groups without their domain."""
    group, _, version = manifest["apiVersion"].rpartition("/")
    module = getattr(kubernetes, group.split(".")[0] or "core", None)
    if module is None:
        return kubernetes.apiextensions.CustomResource
    return getattr(getattr(module, version), manifest["kind"])


def _snake(key: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", key).lower()
