"""One network as many services of a cluster: one image, one pool, and all that a service has, once for each."""

from __future__ import annotations

import dataclasses
from typing import Any

import pulumi
from pulumi import ResourceOptions

import inputs
from accelform.resources import ComputeTarget, ConvertedModel, Image, Model, ServiceAccess, Webservice, Workspace
from accelform.resources.base import owner_of
from cluster import namespace, registering
from cluster.components import ServiceObjects
from settings import Settings

config = pulumi.Config()
settings = dataclasses.replace(Settings.load(config), create_namespace=False)
in_cluster = ResourceOptions(providers=[registering.provider(settings)])

workspace = Workspace(
    "workspace",
    name=settings.workspace_name,
    resource_group=settings.resource_group,
    subscription_id=settings.subscription_id,
    location=settings.location,
    storage_url=settings.storage_url,
)
model = Model("model", workspace=workspace, model_name=settings.model_name, model_path=settings.model_path)
converted = ConvertedModel("converted-model", model=model, number_format=settings.number_format)
image = Image("image", name=settings.image_name, model=converted, **inputs.for_image(settings, settings.base_image))
target = ComputeTarget(
    "target",
    kind=settings.target,
    name=settings.target_name,
    vm_size=settings.vm_size,
    agent_count=settings.agent_count,
    location=settings.location,
    **inputs.for_target(settings),
    opts=ResourceOptions(depends_on=[image]),
)


class Space(pulumi.ComponentResource):
    """The one namespace that all services share."""

    def __init__(self) -> None:
        super().__init__("accelform:benchmark:Space", "space", None, in_cluster)
        manifest = namespace.namespace(settings.cluster_namespace, level="restricted", owner=owner_of("space"))
        self.namespace = registering.register(
            "namespace", manifest, parent=self, timeout_seconds=settings.deployment_timeout_seconds
        )
        self.register_outputs({})


def declare(number: int, space: Space) -> Webservice:
    """One service with all that belongs to it."""
    name = f"service-{number}"
    own = dataclasses.replace(settings, service_name=name)
    access = ServiceAccess(f"{name}-access", name=name, **inputs.for_access(own))
    objects = ServiceObjects(
        f"{name}-objects",
        settings=own,
        owner=owner_of(name),
        image=image.image_location,
        access=access,
        node_selector=target.pool_selector,
        opts=ResourceOptions.merge(in_cluster, ResourceOptions(depends_on=[target, space.namespace])),
    )
    return Webservice(
        name,
        name=name,
        image=image,
        target=target,
        access=access,
        objects_digest=objects.digest,
        **inputs.for_webservice(own),
        opts=ResourceOptions(depends_on=[objects]),
    )


async def main() -> dict[str, Any]:
    """Declares the services and returns once the engine has them all.

    A program that ends before that has the SDK look at every open output each time one of them comes: with a hundred
    services this takes longer than everything else.
    """
    space = Space()
    services = [declare(number, space) for number in range(config.require_int("services"))]
    for service in services:
        await service.urn.future()
    return {"services": len(services)}


pulumi.run(main)
