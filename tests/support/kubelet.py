"""A kubelet's side of the device plugin API, as far as a plugin can see it, and a cluster's API server beside it."""

from __future__ import annotations

import contextlib
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import trustme
from tests.support.kubelet_api import devices, pods

PLUGIN = "/v1beta1.DevicePlugin"


def _unary(answer: Any, request: Any, reply: Any) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(
        lambda message, context: answer(message, context),
        request_deserializer=request.FromString,
        response_serializer=reply.SerializeToString,
    )


def _serve(socket: Path, service: str, methods: dict[str, grpc.RpcMethodHandler]) -> grpc.Server:
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    assert server.add_insecure_port(f"unix:{socket}")
    server.start()
    return server


class Watch:
    """The lists that a plugin sends, until it ends the stream."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.lists: list[dict[str, str]] = []
        """Health by id, oldest first."""
        self.ended = threading.Event()
        self._call = channel.unary_stream(
            f"{PLUGIN}/ListAndWatch",
            request_serializer=devices.Empty.SerializeToString,
            response_deserializer=devices.ListAndWatchResponse.FromString,
        )(devices.Empty())
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def now(self) -> dict[str, str]:
        """The newest list; empty before the first."""
        return self.lists[-1] if self.lists else {}

    def end(self) -> None:
        """Stops to watch."""
        self._call.cancel()

    def _read(self) -> None:
        with contextlib.suppress(grpc.RpcError):
            for answer in self._call:
                self.lists.append({each.ID: each.health for each in answer.devices})
        self.ended.set()


class Kubelet:
    """A kubelet's registry in a folder of its own. It calls each plugin back that registers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registered: list[Any] = []
        self.watch: Watch | None = None
        self.refusal = ""
        """Set: registrations are refused with this."""
        self._server: grpc.Server | None = None
        self._channel: grpc.Channel | None = None

    def start(self) -> None:
        """Starts anew: removes all sockets, as a kubelet does, and knows of no plugin."""
        for path in self.folder.iterdir():
            path.unlink()
        method = _unary(self._register, devices.RegisterRequest, devices.Empty)
        self._server = _serve(self.folder / "kubelet.sock", "v1beta1.Registration", {"Register": method})

    def stop(self) -> None:
        """Ends; sockets stay."""
        if self._channel:
            self._channel.close()
        if self._server:
            self._server.stop(0).wait(5)
        self._server = self._channel = self.watch = None

    def allocate(self, *containers: list[str]) -> Any:
        """Allocate for each container's ids. Raises grpc.RpcError."""
        request = devices.AllocateRequest(
            container_requests=[devices.ContainerAllocateRequest(devices_ids=ids) for ids in containers]
        )
        return self.call("Allocate", request, devices.AllocateResponse)

    def call(self, method: str, request: Any, reply: Any) -> Any:
        """Any unary method of the plugin."""
        assert self._channel, "no plugin has registered"
        return self._channel.unary_unary(
            f"{PLUGIN}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=reply.FromString,
        )(request, timeout=20)

    def _register(self, request: Any, context: grpc.ServicerContext) -> Any:
        if self.refusal:
            context.abort(grpc.StatusCode.UNKNOWN, self.refusal)
        # Before it answers, a kubelet may already call: the plugin has to serve by now.
        self._channel = grpc.insecure_channel(
            f"unix:{self.folder / request.endpoint}", options=[("grpc.use_local_subchannel_pool", 1)]
        )
        grpc.channel_ready_future(self._channel).result(timeout=5)
        self.watch = Watch(self._channel)
        self.registered.append(request)
        return devices.Empty()


class PodResources:
    """The kubelet's API of pods' resources: who holds what."""

    def __init__(self, socket: Path) -> None:
        self.holders: dict[tuple[str, str], tuple[str, list[str]]] = {}
        """(namespace, pod): (resource, ids)."""
        method = _unary(self._list, pods.ListPodResourcesRequest, pods.ListPodResourcesResponse)
        self._server = _serve(socket, "v1.PodResourcesLister", {"List": method})

    def stop(self) -> None:
        """Ends it."""
        self._server.stop(0).wait(5)

    def _list(self, *_: Any) -> Any:
        answer = pods.ListPodResourcesResponse()
        for (namespace, name), (resource, ids) in self.holders.items():
            container = answer.pod_resources.add(namespace=namespace, name=name).containers.add(name="server")
            container.devices.add(resource_name=resource, device_ids=ids)
        return answer


@dataclass
class ApiServer:
    """The two calls of a cluster's API that a plugin makes, over TLS and with a token."""

    port: int
    token: str
    allocatable: dict[str, str]
    """What the one node shows."""
    node: str = "node-1"
    forbidden: set[str] = field(default_factory=set)
    """Verbs that the plugin may not use."""
    deleted: list[str] = field(default_factory=list)
    """`namespace/pod`, in order."""
    seen: list[str] = field(default_factory=list)
    """`VERB path status`."""


@contextlib.contextmanager
def api_server(account: Path, **settings: Any) -> Iterator[ApiServer]:
    """Serves; `account` becomes a service account's folder, with token and authority."""
    authority = trustme.CA()
    account.mkdir(exist_ok=True)
    (account / "ca.crt").write_bytes(authority.cert_pem.bytes())
    (account / "token").write_text("token-of-the-plugin\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    state = ApiServer(0, "token-of-the-plugin", {}, **settings)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_DELETE(self) -> None:
            _, _, _, namespaces, namespace, kind, name = self.path.split("/")
            assert (namespaces, kind) == ("namespaces", "pods")
            if self._refused("delete"):
                return
            if f"{namespace}/{name}" in state.deleted:
                self._answer(404, {"kind": "Status", "code": 404})
                return
            state.deleted.append(f"{namespace}/{name}")
            self._answer(200, {"kind": "Pod", "metadata": {"name": name, "uid": f"uid-of-{name}"}})

        def do_GET(self) -> None:
            if self._refused("get"):
                return
            if self.path != f"/api/v1/nodes/{state.node}":
                self._answer(404, {"kind": "Status", "code": 404})
                return
            self._answer(200, {"kind": "Node", "status": {"allocatable": state.allocatable}})

        def _refused(self, verb: str) -> bool:
            code = 401 if self.headers["Authorization"] != f"Bearer {state.token}" else 403
            if code == 403 and verb not in state.forbidden:
                return False
            self._answer(code, {"kind": "Status", "code": code})
            return True

        def _answer(self, code: int, content: Any) -> None:
            state.seen.append(f"{self.command} {self.path} {code}")
            body = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
