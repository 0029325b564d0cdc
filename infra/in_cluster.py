"""What a stack has in a cluster besides the six resources: a device plugin, access, the service's objects.

On an edge box there is none of it, and pulumi-kubernetes, which takes seconds to load, is not loaded.
"""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi import ResourceOptions

import inputs
from accelform import project
from accelform.resources import ClusterClaim, ComputeTarget, Image, ServiceAccess
from accelform.resources.base import owner_of
from settings import Settings, SettingsInvalid

TARGET = "target"
"""Logical name of the stack's compute target."""


class InCluster:
    """The parts that stand between the six resources; on an edge box each of them is nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._options = ResourceOptions()
        self._claim: list[pulumi.Resource] = []
        if settings.in_cluster:
            from cluster import claimed, registering

            self._options = ResourceOptions(providers=[registering.provider(settings)])
            given = inputs.for_claim(settings)
            self._claim = [
                ClusterClaim("cluster-claim", pool_resource=TARGET, objects=claimed.names(settings), **given)
            ]

    def pool(self, image: Image, base_image: pulumi.Input[str] | None) -> dict[str, Any]:
        """What the compute target is given: where the stack brings the pool's device plugin, it is registered here.

        No pod of it is made before `image` is there, and so the base image.
        """
        settings = self._settings
        after = [image, *self._claim]
        plugin_image = settings.device_plugin_image or base_image
        if not settings.own_device_plugin or plugin_image is None:
            return {"opts": ResourceOptions(depends_on=after)}
        from cluster.components import DevicePlugin
        from cluster.naming import pool_selector

        if settings.device_plugin_image:
            self._require_there(settings.device_plugin_image, what="device_plugin_image")
        name = "device-plugin"
        plugin = DevicePlugin(
            name,
            settings=settings,
            owner=owner_of(name),
            image=plugin_image,
            node_selector=pool_selector(settings),
            after=after,
            opts=self._options,
        )
        return {"device_plugin_digest": plugin.digest, "opts": ResourceOptions(depends_on=[*after, plugin])}

    def service(self, webservice: str, *, image: Image, target: ComputeTarget) -> dict[str, Any]:
        """What `webservice`, the gate, is given of the service's objects; they are registered here."""
        settings = self._settings
        if not settings.in_cluster:
            return {}
        from cluster.components import ServiceObjects

        access = ServiceAccess("access", name=settings.service_name, **inputs.for_access(settings))
        objects = ServiceObjects(
            "service",
            settings=settings,
            owner=owner_of(webservice),
            image=image.image_location.apply(self._still_there),
            access=access,
            node_selector=target.pool_selector,
            after=self._claim,
            opts=ResourceOptions.merge(self._options, ResourceOptions(depends_on=[target])),
        )
        return {
            "access": access,
            "objects_digest": objects.digest,
            "pods_digest": objects.pods_digest,
            "opts": ResourceOptions(depends_on=[objects]),
        }

    def _still_there(self, location: str) -> str:
        """`location`; raises SettingsInvalid where the image was pushed and has gone since."""
        self._require_there(location, what="image", advice="`pulumi up --refresh` pushes it again")
        return location

    def _require_there(self, image: str, *, what: str, advice: str = "") -> None:
        """Raises SettingsInvalid where the registry says that it does not have the image."""
        from accelform.images.presence import missing

        ca_file = self._settings.registry_ca_file
        path = str(project.resolve(ca_file)) if ca_file else ""
        if problem := missing(image, what=what, ca_file=path, advice=advice):
            raise SettingsInvalid(problem)
