"""Where everything of one test cluster lies and which addresses it has: everything follows from a folder and a number.

Addresses, for number K (201–239), all inside network namespaces of their own except the first:

    10.K.0.1          this machine's end of the cable, interface accelformK
    10.K.0.2          control plane: API server 6443, registry 5000, registry with TLS and password 5443
    10.K.0.10+n       node n
    10.K.64+n.0/24    pods of node n
    10.K.128.0/18     services; the first one is the API server's
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

NUMBERS = range(201, 240)
MAX_NODES = 60
CONTEXT = "accelform-test"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One cluster's folder, addresses and sizes; written to `cluster.json` in its folder."""

    folder: Path
    number: int
    node_count: int
    registry_port: int
    bin_folder: Path

    @classmethod
    def load(cls, folder: Path) -> Layout | None:
        """Return what `save` wrote, or None when there is no (readable) file: the start was ended before it."""
        try:
            values = json.loads((folder / "cluster.json").read_text(encoding="utf-8"))
            return cls(**values | {"folder": folder, "bin_folder": Path(values["bin_folder"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def save(self) -> None:
        """Write `cluster.json`, whole or not at all."""
        values = asdict(self) | {"folder": str(self.folder), "bin_folder": str(self.bin_folder)}
        partial = self.folder / "cluster.json.new"
        partial.write_text(json.dumps(values, indent=1), encoding="utf-8")
        partial.rename(self.folder / "cluster.json")

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes."""
        return tuple(f"node-{index}" for index in range(1, self.node_count + 1))

    def address(self, host: int) -> str:
        """Return an address in the network between this machine, the control plane and the nodes."""
        return f"10.{self.number}.0.{host}"

    @property
    def gateway(self) -> str:
        """This machine, as the nodes see it."""
        return self.address(1)

    @property
    def control(self) -> str:
        """The control plane's address."""
        return self.address(2)

    def node_address(self, node: str) -> str:
        """Return a node's address: InternalIP, and where its NodePorts answer."""
        return self.address(10 + self._index(node))

    def pod_subnet(self, node: str) -> str:
        """Return the network of a node's pods."""
        return f"10.{self.number}.{64 + self._index(node)}.0/24"

    def _index(self, node: str) -> int:
        return self.nodes.index(node) + 1

    @property
    def pod_range(self) -> str:
        """All pods' addresses."""
        return f"10.{self.number}.64.0/18"

    @property
    def service_range(self) -> str:
        """All services' addresses."""
        return f"10.{self.number}.128.0/18"

    @property
    def api_service(self) -> str:
        """The address of the service `kubernetes`: the first of its range."""
        return f"10.{self.number}.128.1"

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{self.control}:6443"

    @property
    def registry(self) -> str:
        """The registry as image references name it, here and on every node: loopback, so plain HTTP is fine."""
        return f"127.0.0.1:{self.registry_port}"

    @property
    def tls_registry(self) -> str:
        """The same registry behind TLS and a password, as image references name it."""
        return f"{self.control}:5443"

    @property
    def interface(self) -> str:
        """The one network interface that the cluster adds to this machine's own."""
        return f"accelform{self.number}"

    @property
    def cgroup(self) -> str:
        """The cgroup below which all pods run, in every hierarchy."""
        return f"accelform-{self.number}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; it holds its certificates and may be copied."""
        return self.folder / "kubeconfig"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.folder / "pki"

    @property
    def logs(self) -> Path:
        """One file per program."""
        return self.folder / "log"

    @property
    def programs(self) -> Path:
        """One file per program that shall run."""
        return self.folder / "programs"

    @property
    def registries(self) -> Path:
        """containerd's registry hosts, one folder per host; read at each pull."""
        return self.folder / "registries"

    def node_folder(self, node: str) -> Path:
        """Return the folder that holds a node's disk."""
        return self.folder / "nodes" / node

    def host_path(self, node: str, path: str) -> Path:
        """Return where a `hostPath` of a node lies on this machine; only paths that every node has of its own."""
        for inside, outside in NODE_FOLDERS.items():
            if Path(path).is_relative_to(inside):
                return self.node_folder(node) / outside / Path(path).relative_to(inside)
        raise ValueError(f"{path} is not a node's own: {', '.join(NODE_FOLDERS)} are")

    def program(self, name: str) -> str:
        """Return the path of a Kubernetes program."""
        return str(self.bin_folder / name)


# Path on a node -> folder in the node's folder here.
NODE_FOLDERS = {"/var/lib/kubelet": "kubelet", "/var/lib/accelform": "accelform", "/var/lib/cni": "cni-state"}
