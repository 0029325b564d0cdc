"""A node: containerd, kubelet and kube-proxy, with namespaces, a disk, an address and a pod network of its own."""

from __future__ import annotations

import json

from tools.cluster.layout import NODE_FOLDERS, Layout
from tools.cluster.program import Program, flags

CNI_PROGRAMS = "/usr/lib/cni"
PAUSE_IMAGE = "accelform/pause:1"
SOCKET = "/run/containerd/containerd.sock"
# Hidden on a node, so that nothing is written to this machine's own.
HIDDEN = ("/run", "/var/lib", "/var/log")


def write_node(layout: Layout, node: str) -> None:
    """Write a node's folder and the configuration of its programs."""
    folder = layout.node_folder(node)
    for name in (*NODE_FOLDERS.values(), "containerd", "cni", "pod-logs", "opt", "volume-plugins"):
        (folder / name).mkdir(parents=True)
    (folder / "resolv.conf").write_text("", encoding="ascii")
    (folder / "cni" / "10-accelform.conflist").write_text(json.dumps(_cni(layout, node), indent=1), encoding="utf-8")
    (folder / "containerd.toml").write_text(_containerd(layout, node), encoding="utf-8")
    (folder / "kubelet.json").write_text(json.dumps(_kubelet(layout, node), indent=1), encoding="utf-8")


def mount_script(layout: Layout, node: str) -> str:
    """Return the shell commands that give a node's mount namespace its disk; nothing of it reaches this machine."""
    lines = ["mount --make-rprivate /"]
    lines += [f"mount -t tmpfs -o mode=755 accelform {path}" for path in HIDDEN]
    lines += ["mkdir -p /run/lock /var/log/pods"]
    for inside, outside in NODE_FOLDERS.items():
        lines += [f"mkdir -p {inside}", f"mount --bind '{layout.node_folder(node)}/{outside}' {inside}"]
    # Kubelet and containerd hand mounts on to containers: within the node they are shared.
    lines += ["mount --make-rshared /", f"hostname {node}"]
    return "\n".join(lines)


def node_programs(layout: Layout, node: str) -> tuple[Program, ...]:
    """Return a node's three programs."""
    folder = layout.node_folder(node)
    kubelet = flags(
        config=f"{folder}/kubelet.json",
        kubeconfig=f"{layout.pki}/{node}.kubeconfig",
        cert_dir="/var/lib/kubelet/pki",
        hostname_override=node,
        node_ip=layout.node_address(node),
        housekeeping_interval="30s",
    )
    proxy = flags(
        kubeconfig=f"{layout.pki}/kube-proxy.kubeconfig",
        hostname_override=node,
        proxy_mode="iptables",
        cluster_cidr=layout.pod_range,
        # These limits belong to the machine, not to a network namespace.
        conntrack_max_per_core=0,
        conntrack_min=0,
        oom_score_adj=0,
        iptables_min_sync_period="100ms",
    )
    return (
        Program(name=f"containerd@{node}", place=node, arguments=("containerd", "-c", f"{folder}/containerd.toml")),
        Program(name=f"kubelet@{node}", place=node, arguments=(layout.program("kubelet"), *kubelet)),
        Program(name=f"proxy@{node}", place=node, arguments=(layout.program("kube-proxy"), *proxy)),
    )


def _cni(layout: Layout, node: str) -> dict[str, object]:
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,  # a pod may reach itself through its service
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": layout.pod_subnet(node)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "accelform", "plugins": [bridge, ports]}


def _containerd(layout: Layout, node: str) -> str:
    folder = layout.node_folder(node)
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE runc cannot lower a sandbox's oom_score_adj and ends with
    # "can't get final child's PID from pipe: EOF".
    return f"""version = 2
root = "{folder}/containerd"
state = "/run/containerd"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{layout.registry}/{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PROGRAMS}"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{layout.registries}"
"""


def _kubelet(layout: Layout, node: str) -> dict[str, object]:
    folder = layout.node_folder(node)
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.cgroup}/{node}",
        "failSwapOn": False,
        "failCgroupV1": False,
        "nodeStatusUpdateFrequency": "2s",  # by itself 10 s, which everybody who asks for an FPGA would wait for
        "oomScoreAdj": 0,
        "enforceNodeAllocatable": [],
        "evictionHard": {"memory.available": "100Mi"},
        "imageGCHighThresholdPercent": 100,
        "nodeLeaseDurationSeconds": 20,
        "podLogsDir": f"{folder}/pod-logs",
        "resolvConf": f"{folder}/resolv.conf",
        "volumePluginDir": f"{folder}/volume-plugins",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{layout.pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
    }
