"""The kubelet's API in Python, from the .proto files that Kubernetes publishes in the module that the plugin uses."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc
from tools.sources import PROJECT
from tools.toolchain.gobuild import run_go

FILES = {"devices": "deviceplugin/v1beta1/api.proto", "pods": "podresources/v1/api.proto"}


def _messages() -> dict[str, Any]:
    """For each file a namespace of its messages' classes."""
    question = ["list", "-m", "-f", "{{.Dir}}", "k8s.io/kubelet"]
    module = Path(run_go(question, PROJECT / "runtime" / "front").strip())
    with tempfile.TemporaryDirectory() as folder:
        described = Path(folder) / "described"
        command = ["protoc", f"--proto_path={module / 'pkg' / 'apis'}", f"--descriptor_set_out={described}"]
        if protoc.main([*command, *FILES.values()]) != 0:
            raise RuntimeError(f"protoc does not take the kubelet's API in {module}; its words are above")
        content = descriptor_pb2.FileDescriptorSet.FromString(described.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in content.file:
        pool.Add(file)
    return {
        name: SimpleNamespace(
            **{
                key: message_factory.GetMessageClass(message)
                for key, message in pool.FindFileByName(path).message_types_by_name.items()
            }
        )
        for name, path in FILES.items()
    }


_FOUND = _messages()
devices: Any = _FOUND["devices"]
"""Of the device plugin API, version v1beta1."""
pods: Any = _FOUND["pods"]
"""Of the API of pods' resources, version v1."""
