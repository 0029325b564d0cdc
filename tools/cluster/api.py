"""The little that starting a cluster asks its API server, with nothing but the standard library."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 10.0
NOT_READY = "node.kubernetes.io/not-ready"
"""The taint that the control plane takes off a while after a node became Ready."""


class Api:
    """A client of one API server, as the user of a kubeconfig that `tools.cluster` wrote."""

    def __init__(self, kubeconfig: Path) -> None:
        """Read the kubeconfig; nothing is sent yet."""
        content = json.loads(kubeconfig.read_text(encoding="utf-8"))
        cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
        self.server = cluster["server"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as file:
            for name in ("client-certificate-data", "client-key-data"):
                file.write(base64.b64decode(user[name]))
            file.flush()
            context.load_cert_chain(file.name)
        handlers = (urllib.request.HTTPSHandler(context=context), urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def ready(self) -> bool:
        """Tell whether the server answers and says that it is ready."""
        try:
            with self._opener.open(f"{self.server}/readyz", timeout=TIMEOUT_SECONDS) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def get(self, path: str) -> Any:
        """Return an object or a list; raises OSError (404 as urllib's HTTPError)."""
        return self.send("GET", path)

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None, kind: str = "json") -> Any:
        """Send a request with a body in JSON (`kind` is a patch's, such as `merge-patch+json`), return the answer."""
        request = urllib.request.Request(
            self.server + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": f"application/{kind}"},
        )
        with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
            return json.loads(response.read())

    def exists(self, path: str) -> bool:
        """Tell whether there is such an object."""
        try:
            self.get(path)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return False
            raise
        return True

    def ready_nodes(self) -> set[str]:
        """Return the names of the nodes that take pods: condition Ready is True, and the taint of before is gone."""
        return {
            node["metadata"]["name"]
            for node in self.get("/api/v1/nodes")["items"]
            for condition in node["status"].get("conditions", [])
            if (condition["type"], condition["status"]) == ("Ready", "True")
            and NOT_READY not in {taint["key"] for taint in node["spec"].get("taints", [])}
        }
