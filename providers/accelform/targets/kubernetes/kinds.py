"""The kinds of Kubernetes objects that Accelform reads or writes, by their place in the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind by its plural, such as `nodes`; `group` is empty for the core API."""

    plural: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, *, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, of one object, or of one object's subresource.

        >>> Kind(plural="deployments", group="apps").path(namespace="vision", name="digits")
        '/apis/apps/v1/namespaces/vision/deployments/digits'
        """
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"
        place = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return "/".join(filter(None, (root + place, self.plural, name, subresource)))

    @classmethod
    def of(cls, api_version: str, name: str, *, namespaced: bool = True) -> Kind:
        """The kind that manifests of `api_version` call `name`.

        >>> Kind.of("networking.k8s.io/v1", "NetworkPolicy").plural
        'networkpolicies'
        """
        group, _, version = api_version.rpartition("/")
        plural = name.lower()
        plural = f"{plural[:-1]}ies" if plural.endswith("y") else f"{plural}s"
        return cls(plural=plural, group=group, version=version, namespaced=namespaced)


NODES: Final = Kind(plural="nodes", namespaced=False)
NAMESPACES: Final = Kind(plural="namespaces", namespaced=False)
PODS: Final = Kind(plural="pods")
SERVICES: Final = Kind(plural="services")
EVENTS: Final = Kind(plural="events")
SECRETS: Final = Kind(plural="secrets")
CONFIG_MAPS: Final = Kind(plural="configmaps")
DEPLOYMENTS: Final = Kind(plural="deployments", group="apps")
REPLICA_SETS: Final = Kind(plural="replicasets", group="apps")
DAEMON_SETS: Final = Kind(plural="daemonsets", group="apps")
AUTOSCALERS: Final = Kind(plural="horizontalpodautoscalers", group="autoscaling", version="v2")
ENDPOINT_SLICES: Final = Kind(plural="endpointslices", group="discovery.k8s.io")
ACCESS_REVIEWS: Final = Kind(plural="selfsubjectaccessreviews", group="authorization.k8s.io", namespaced=False)
