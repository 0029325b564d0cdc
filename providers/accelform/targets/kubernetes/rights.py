"""What the kubeconfig's user may do: asked before anything is changed, so one message lists all that is missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from accelform.errors import ClusterDenied
from accelform.targets.kubernetes import failures
from accelform.targets.kubernetes.client import Cluster
from accelform.targets.kubernetes.kinds import ACCESS_REVIEWS, Kind


@dataclass(frozen=True, kw_only=True)
class Right:
    """A verb on a kind; `namespace` is empty for all of them."""

    verb: str
    kind: Kind
    namespace: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        resource = "/".join(filter(None, (self.kind.plural, self.subresource)))
        group = f".{self.kind.group}" if self.kind.group else ""
        where = "at cluster scope"
        if self.kind.namespaced:
            where = f"in namespace {self.namespace!r}" if self.namespace else "in all namespaces"
        return f"{self.verb} {resource}{group} {where}"


def missing(cluster: Cluster, rights: Iterable[Right]) -> list[Right]:
    """Those of `rights` that the user lacks, asked of the API server one by one (SelfSubjectAccessReview).

    Empty also where the user may not even ask: then the request itself will tell.
    """
    return [right for right in rights if not _allowed(cluster, right)]


def require(cluster: Cluster, rights: Iterable[Right]) -> None:
    """Raises ClusterDenied with every missing right in one message."""
    lacking = missing(cluster, rights)
    if lacking:
        raise failures.no_rights(str(cluster), [str(right) for right in lacking])


def _allowed(cluster: Cluster, right: Right) -> bool:
    attributes = {
        "verb": right.verb,
        "group": right.kind.group,
        "version": right.kind.version,
        "resource": right.kind.plural,
        "subresource": right.subresource,
        "namespace": right.namespace,
    }
    review = {
        "apiVersion": ACCESS_REVIEWS.api_version,
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }
    try:
        return bool(cluster.create(ACCESS_REVIEWS, review)["status"].get("allowed"))
    except ClusterDenied as error:
        if "may not create selfsubjectaccessreviews" in str(error):
            return True
        raise
