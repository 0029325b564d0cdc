"""A cluster as its API shows it: plain objects (dicts as in YAML), a timeout on every request, Accelform's errors.

The official client does credentials, TLS and transport. Its typed models are left out: they lose fields that a newer
API server sends, and what is compared here has to be complete.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from accelform.errors import ClusterObjectMissing, ClusterRefused
from accelform.targets.kubernetes import failures, kubeconfig
from accelform.targets.kubernetes.failures import Request
from accelform.targets.kubernetes.kinds import NAMESPACES, PODS, Kind

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

Object = dict[str, Any]

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 30.0
PAGE: Final = 500
FIELD_MANAGER: Final = "accelform"


class Cluster:
    """One context's cluster. Not shared between threads; use as a context manager, so that its sockets are closed.

    Every method may raise ClusterUnreachable, ClusterDenied (401, or 403 naming verb and resource) and ClusterRefused
    (an object that the API server or an admission rule does not accept).
    """

    def __init__(self, api: ApiClient, context: str, *, connect_seconds: float, read_seconds: float) -> None:
        self.context = context
        self._api = api
        self._timeout = (connect_seconds, read_seconds)

    @classmethod
    def connect(
        cls,
        kubeconfig_path: str = "",
        context: str = "",
        *,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
    ) -> Self:
        """Reads the kubeconfig; sends nothing yet.

        An empty path means $KUBECONFIG or ~/.kube/config, an empty context the current one. Raises KubeconfigUnusable,
        ContextUnknown.
        """
        api, chosen = kubeconfig.client(kubeconfig_path, context)
        return cls(api, chosen, connect_seconds=connect_seconds, read_seconds=read_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._api.rest_client.close()

    @property
    def server(self) -> str:
        """The API server's URL, without credentials."""
        return str(self._api.configuration.host)

    @property
    def fqdn(self) -> str:
        """The API server's host name or address."""
        return urlsplit(self.server).hostname or ""

    def __str__(self) -> str:
        return f"cluster {self.context!r}"

    def uid(self) -> str:
        """What tells this cluster from every other: the uid of its namespace `kube-system`."""
        found = self.get(NAMESPACES, "kube-system")
        return str(found["metadata"]["uid"]) if found else ""

    def get(self, kind: Kind, name: str, *, namespace: str = "") -> Object | None:
        """The object, or None where there is none of that name."""
        try:
            return self._ask("GET", "get", kind, namespace=namespace, name=name)
        except ClusterObjectMissing:
            return None

    def list(
        self, kind: Kind, *, namespace: str = "", label_selector: str = "", field_selector: str = ""
    ) -> list[Object]:
        """Every object of that kind, in one namespace or (empty) in all, in the API's order; fetched in pages."""
        found: list[Object] = []
        query = {"labelSelector": label_selector, "fieldSelector": field_selector, "limit": str(PAGE)}
        while True:
            page = self._ask("GET", "list", kind, namespace=namespace, query=query)
            found.extend(page.get("items") or [])
            following = page.get("metadata", {}).get("continue")
            if not following:
                return found
            query = {**query, "continue": following}

    def create(
        self, kind: Kind, body: Mapping[str, Any], *, namespace: str = "", name: str = "", subresource: str = ""
    ) -> Object:
        """Creates the object, or a subresource of the object `name`. Raises ClusterConflict where it is there."""
        shown = name or str(body.get("metadata", {}).get("name", ""))
        return self._ask(
            "POST", "create", kind, namespace=namespace, name=name, subresource=subresource, body=body, shown=shown
        )

    def patch(
        self, kind: Kind, name: str, patch: Mapping[str, Any], *, namespace: str = "", subresource: str = ""
    ) -> Object:
        """Lays a JSON merge patch over the object (None removes a key, a list is replaced); the object afterwards.

        With `metadata.resourceVersion` in it the patch is optimistic: ClusterConflict where the object has changed
        since. Raises ClusterObjectMissing.
        """
        return self._ask("PATCH", "patch", kind, namespace=namespace, name=name, subresource=subresource, body=patch)

    def delete(self, kind: Kind, name: str, *, namespace: str = "") -> bool:
        """Deletes the object, what belongs to it in the background; False where it was gone."""
        try:
            self._ask("DELETE", "delete", kind, namespace=namespace, name=name)
        except ClusterObjectMissing:
            return False
        return True

    def log(
        self, pod: str, *, namespace: str, container: str = "", previous: bool = False, lines: int = 50
    ) -> Sequence[str]:
        """The last lines of a container's log, oldest first; empty where there is none (yet)."""
        query = {"container": container, "previous": "true" if previous else "", "tailLines": str(lines)}
        try:
            raw = self._send("GET", "get", PODS, namespace=namespace, name=pod, subresource="log", query=query)
        except (ClusterObjectMissing, ClusterRefused):  # 400: the container has not started, or has no earlier run
            return []
        return raw.decode("utf-8", "replace").splitlines()

    def _ask(self, method: str, verb: str, kind: Kind, **parts: Any) -> Object:
        raw = self._send(method, verb, kind, **parts)
        answer = json.loads(raw) if raw else {}
        return answer if isinstance(answer, dict) else {}

    def _send(
        self,
        method: str,
        verb: str,
        kind: Kind,
        *,
        namespace: str = "",
        name: str = "",
        subresource: str = "",
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        shown: str = "",
    ) -> bytes:
        import urllib3
        from kubernetes.client import ApiException

        shown = name or shown
        what = "/".join(filter(None, (kind.plural, subresource)))
        what += (f" {shown!r}" if shown else "") + (f" in namespace {namespace!r}" if namespace else "")
        request = Request(cluster=str(self), verb=verb, what=what)
        headers = {"Accept": "application/json", "User-Agent": FIELD_MANAGER}
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json" if method == "PATCH" else "application/json"
        asked = {key: value for key, value in (query or {}).items() if value}
        if method in ("POST", "PATCH"):
            asked["fieldManager"] = FIELD_MANAGER
        prepared = self._api.param_serialize(
            method=method,
            resource_path=kind.path(namespace=namespace, name=name, subresource=subresource),
            query_params=list(asked.items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = self._api.call_api(*prepared, _request_timeout=self._timeout)
            raw = bytes(answer.read() or b"")
        except (urllib3.exceptions.HTTPError, ApiException, OSError) as error:
            raise failures.of_silence(request, server=self.server, error=error) from error
        if answer.status >= 400:
            raise failures.of_answer(request, status=answer.status, body=raw)
        return raw
