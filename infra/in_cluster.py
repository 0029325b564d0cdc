"""What a stack has in a cluster besides the six resources: a device plugin, access, the service's objects.

On an edge box there is none of it, and pulumi-kubernetes, which takes seconds to load, is not loaded.
"""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi import ResourceOptions

import inputs
from accelform.resources import ComputeTarget, Image, ServiceAccess
from accelform.resources.base import owner_of
from settings import Settings


class InCluster:
    """The parts that stand between the six resources; on an edge box each of them is nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._options = ResourceOptions()
        if settings.in_cluster:
            from cluster import registering

            self._options = ResourceOptions(providers=[registering.provider(settings)])

    def device_plugin(self, base_image: pulumi.Input[str] | None) -> list[pulumi.Resource]:
        """What has to be there before nodes become a pool: their device plugin, where the stack brings it."""
        settings = self._settings
        image = settings.device_plugin_image or base_image
        if not settings.own_device_plugin or image is None:
            return []
        from cluster.components import DevicePlugin
        from cluster.naming import pool_selector

        name = "device-plugin"
        return [
            DevicePlugin(
                name,
                settings=settings,
                owner=owner_of(name),
                image=image,
                node_selector=pool_selector(settings),
                opts=self._options,
            )
        ]

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
            image=image.image_location,
            access=access,
            node_selector=target.pool_selector,
            opts=ResourceOptions.merge(self._options, ResourceOptions(depends_on=[target])),
        )
        return {
            "access": access,
            "objects_digest": objects.digest,
            "opts": ResourceOptions(depends_on=[objects]),
        }
