"""The runtime base image: one that is there already, or one that a Docker engine builds while the stack is deployed.

Docker 5's `Image` builds a folder that `accelform base-image context` wrote (Containerfile and runtime layer), so that
what docker, buildah and the command itself build has the same bytes in it.
"""

from __future__ import annotations

import pulumi

from accelform import project
from accelform.plans import cluster_images
from settings import Settings

REPOSITORY = "runtime"


def base_image(settings: Settings) -> pulumi.Input[str] | None:
    """The base image by digest; None where no registry is used."""
    if not settings.in_cluster:
        return None
    if settings.base_image_builder != cluster_images.DOCKER:
        return settings.base_image
    import pulumi_docker

    context = project.resolve(settings.base_image_context)
    built = pulumi_docker.Image(
        "base-image",
        image_name=f"{settings.registry}/{REPOSITORY}",
        build=pulumi_docker.DockerBuildArgs(
            context=str(context),
            dockerfile=str(context / "Containerfile"),
            platform="linux/amd64",
            args={"ROOTFS": settings.base_image_rootfs},
        ),
    )
    return built.repo_digest
