"""Where a cluster's images come from: the registry, and the runtime base image in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from accelform.plans.contract import Problem

GIVEN: Final = "given"
DOCKER: Final = "docker"
BASE_IMAGE_BUILDERS: Final = (GIVEN, DOCKER)
"""Where the base image comes from: it is there already, or a Docker engine builds it during the deployment."""

_BY_DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
_REPOSITORY = re.compile(r"[a-z0-9.-]+(:\d+)?(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")


def image_problem(name: str, image: str) -> str | None:
    """What is wrong with `image`, the value of the setting `name`, as an image that can't change unseen."""
    if _BY_DIGEST.fullmatch(image):
        return None
    return f"{name} {image!r} must name an image by its digest, REGISTRY/REPOSITORY@sha256:…; a tag can move"


def problems(inputs: Mapping[str, Any]) -> list[Problem]:
    """Everything wrong with a stack's registry and base image; `inputs` holds the settings that are set."""
    found: list[tuple[str, str | None]] = []
    registry, base, builder = (inputs.get(name) for name in ("registry", "base_image", "base_image_builder"))
    if not registry:
        found.append(("registry", "registry is needed, HOST/REPOSITORY that the cluster pulls images from"))
    elif not _REPOSITORY.fullmatch(registry):
        found.append(("registry", f"registry {registry!r} must be HOST[:PORT]/REPOSITORY in lower case, without https"))
    if builder is not None and builder not in BASE_IMAGE_BUILDERS:
        reason = f"base_image_builder must be one of {', '.join(BASE_IMAGE_BUILDERS)}, not {builder!r}"
        found.append(("base_image_builder", reason))
    elif builder == DOCKER:
        if base:
            found.append(("base_image", "base_image is given but base_image_builder is docker; drop one of the two"))
        if not inputs.get("base_image_rootfs"):
            reason = "base_image_builder docker needs base_image_rootfs, an image by digest with Python 3.11 in it"
            found.append(("base_image_rootfs", reason))
        else:
            found.append(("base_image_rootfs", image_problem("base_image_rootfs", inputs["base_image_rootfs"])))
    elif not base:
        found.append(("base_image", "base_image is needed; `accelform base-image build --push` makes and names one"))
    else:
        found.append(("base_image", image_problem("base_image", base)))
    if inputs.get("device_plugin_image"):
        found.append(("device_plugin_image", image_problem("device_plugin_image", inputs["device_plugin_image"])))
    return [Problem(property=name, reason=reason) for name, reason in found if reason]
