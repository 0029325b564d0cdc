"""What a call is read against: the resident model, its names, and the service's rules."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

from accelform_runtime.device.bundle import Bundle
from accelform_runtime.errors import InvalidRequest, UnknownModel, UserError
from accelform_runtime.protocol import model_pb2

DEFAULT_SIGNATURE: Final = "serving_default"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Served:
    """The resident model as a service offers it."""

    bundle: Bundle
    service: str
    """Name of the service; calls may use it as model name."""
    strict_model_spec: bool = False
    """Calls must name the model."""
    tensor_content_replies: bool = False
    """Replies carry tensor_content instead of typed lists."""
    version_labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Versions by the labels that calls may use for them."""

    def check(self, spec: model_pb2.ModelSpec, *, unknown_signature: type[UserError] = InvalidRequest) -> None:
        """Raises InvalidRequest, UnknownModel or `unknown_signature` where `spec` does not mean the resident model."""
        bundle = self.bundle
        if not spec.name and self.strict_model_spec:
            raise InvalidRequest(f"model_spec has no name specified; this service holds {bundle.name!r}")
        if not self.means_resident(spec.name):
            raise UnknownModel(f"model {spec.name!r} is not resident here; this service holds {bundle.name!r}")
        version = spec.version.value if spec.HasField("version") else bundle.version
        if spec.HasField("version_label"):
            version = self._labelled(spec.version_label)
        if version != bundle.version:
            raise UnknownModel(f"version {version} of {bundle.name!r} is not resident; {bundle.version} is")
        if spec.signature_name not in ("", DEFAULT_SIGNATURE):
            raise unknown_signature(f"the model has no signature {spec.signature_name!r}; it has {DEFAULT_SIGNATURE!r}")

    def described(self) -> Served:
        """The same for another process, which has no use for the bundle's files."""
        return dataclasses.replace(
            self, bundle=dataclasses.replace(self.bundle, files={}), version_labels=dict(self.version_labels)
        )

    def means_resident(self, name: str) -> bool:
        """Whether a model name, also none at all, stands for the resident model."""
        return name in ("", self.bundle.name, self.service)

    def effective(self) -> model_pb2.ModelSpec:
        """What an answer says it was computed by."""
        return model_pb2.ModelSpec(
            name=self.bundle.name, version={"value": self.bundle.version}, signature_name=DEFAULT_SIGNATURE
        )

    def _labelled(self, label: str) -> int:
        if label not in self.version_labels:
            known = ", ".join(sorted(self.version_labels)) or "none"
            raise InvalidRequest(
                f"version label {label!r} is not known; known: {known}. Name version {self.bundle.version} or none"
            )
        return self.version_labels[label]
