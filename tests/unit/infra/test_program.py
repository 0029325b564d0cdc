"""The whole program on Pulumi's mock monitor: which resources a stack registers, and what goes from one to the next."""

from __future__ import annotations

import asyncio
import json
import runpy
from pathlib import Path
from typing import Any

import pulumi
import pytest
from tests.unit.infra.given import DECLARED, ROOT, stack_values

_LOOPS: list[asyncio.AbstractEventLoop] = []
"""Loops that Pulumi worked on: it never closes them, and one that is collected open fails whichever test runs then."""
BUILT = "registry.example.com/accelform/runtime@sha256:" + "b" * 64
SIX = ("Workspace", "Model", "ConvertedModel", "Image", "ComputeTarget", "Webservice")


class Recorder(pulumi.runtime.Mocks):
    """Notes what is registered and answers with the inputs and what a deployment would tell."""

    def __init__(self) -> None:
        self.registered: dict[str, dict[str, Any]] = {}

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        self.registered[f"{args.typ}::{args.name}"] = args.inputs
        told = {
            "digest": "sha256:1",
            "fingerprint": "sha256:2",
            "workspace_id": "/w",
            "fpga_capacity": 1,
            "pool_selector": {"accelform.dev/pool": "westus2"},
            "image_location": "registry.example.com/accelform/net@sha256:" + "1" * 64,
            "repoDigest": BUILT,
            "service_keys": {"primary": "p", "secondary": "s"},
            "keys_file": "hashes",
        }
        return args.name, {**args.inputs, **told}

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], None]:
        return {}, None

    def of(self, kind: str, name: str | None = None) -> dict[str, Any]:
        """The inputs of the one resource whose type ends so."""
        found = [
            inputs
            for key, inputs in self.registered.items()
            if key.split("::")[0].endswith(f":{kind}") and (name is None or key.endswith(f"::{name}"))
        ]
        assert len(found) == 1, f"{len(found)} × {kind}"
        return found[0]


def run_program(monkeypatch: pytest.MonkeyPatch, stack: str, **changes: Any) -> Recorder:
    """Runs infra/__main__.py for a stack as it is in the tree, with `changes` to its settings."""
    try:
        _LOOPS.append(asyncio.get_event_loop())
    except RuntimeError:
        _LOOPS.append(asyncio.new_event_loop())
        asyncio.set_event_loop(_LOOPS[-1])
    values = {name: row["default"] for name, row in DECLARED.items()} | stack_values(stack) | changes
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    recorder = Recorder()
    pulumi.runtime.set_mocks(recorder, project="accelform", stack=stack, preview=False)
    pulumi.runtime.set_all_config({f"accelform:{name}": text for name, text in texts.items()})
    monkeypatch.chdir(ROOT / "infra")

    @pulumi.runtime.test
    def declare() -> None:
        runpy.run_path(str(ROOT / "infra" / "__main__.py"), run_name="__main__")

    try:
        declare()
    finally:
        pulumi.runtime.set_all_config({})
    return recorder


def test_an_edge_stack_has_the_six_resources(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded default registers nothing of Kubernetes or Docker."""
    recorder = run_program(monkeypatch, "edge")

    kinds = {key.split("::")[0] for key in recorder.registered}
    assert kinds == {f"pulumi-python:dynamic/accel:{kind}" for kind in SIX}


def test_a_region_puts_objects_between_target_and_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Image, keys and pool reach the pods; the gate gets the identity of what was registered."""
    recorder = run_program(monkeypatch, "westus2")

    pod = recorder.of("Deployment")["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"].startswith("registry.example.com/accelform/net@sha256:")
    assert pod["nodeSelector"] == {"accelform.dev/pool": "westus2"}
    assert recorder.of("Secret")["data"]["value"] == {"keys.json": "aGFzaGVz"}, "the engine was not told it is secret"
    assert (
        recorder.of("DaemonSet")["spec"]["template"]["spec"]["containers"][0]["image"]
        == (stack_values("westus2")["base_image"])
    )
    gate = recorder.of("Webservice")
    assert len(gate["objects_digest"]) == 64
    assert gate["namespace"] == "accelform-westus2"
    provider = recorder.of("kubernetes")
    assert provider["context"] == provider["clusterIdentifier"] == "accelform-westus2"
    assert recorder.of("Image")["base_image"] == stack_values("westus2")["base_image"]


def test_only_what_has_pods_waits_for_the_garbage_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """A destroy deletes everything else at once: a cluster's garbage collector looks at a few objects a second."""
    recorder = run_program(monkeypatch, "westus2", autoscale_enabled=True)

    policies = {
        key.split("::")[0].rpartition(":")[2]: inputs["metadata"]["annotations"].get(
            "pulumi.com/deletionPropagationPolicy", "foreground"
        )
        for key, inputs in recorder.registered.items()
        if key.startswith("kubernetes:")
    }
    assert {kind for kind, policy in policies.items() if policy == "foreground"} == {"Deployment", "DaemonSet"}
    assert policies["Secret"] == policies["HorizontalPodAutoscaler"] == "background"


def test_objects_are_taken_back_and_nothing_waits_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every object is the stack's again after somebody edited it, and what has pods the stack itself waits for."""
    recorder = run_program(monkeypatch, "westus2", autoscale_enabled=True)

    found = {key: inputs for key, inputs in recorder.registered.items() if key.startswith("kubernetes:")}
    marks = {key: inputs["metadata"]["annotations"] for key, inputs in found.items()}
    assert {words["pulumi.com/patchForce"] for words in marks.values()} == {"true"}
    with_pods = [key for key in marks if key.split("::")[0].endswith((":Deployment", ":DaemonSet", ":Service"))]
    assert len(with_pods) == 3
    assert {marks[key].get("pulumi.com/skipAwait") for key in with_pods} == {"true"}


def test_everything_in_a_cluster_is_claimed_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim is registered before any object, with the name of each and the owner that nodes are marked with."""
    recorder = run_program(monkeypatch, "westus2")

    order = [key.split("::")[0].rpartition(":")[2] for key in recorder.registered]
    claim = recorder.of("ClusterClaim")
    objects = [key for key in recorder.registered if key.startswith("kubernetes:")]
    assert order.index("ClusterClaim") < min(list(recorder.registered).index(key) for key in objects)
    assert len(claim["objects"]) == len(objects)
    assert claim["pool_owner"] == recorder.of("ComputeTarget")["owner"]
    assert len(recorder.of("ComputeTarget")["device_plugin_digest"]) == 64


def test_docker_builds_the_base_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a Docker engine builds it, the image by digest that it pushed is what everything stands on."""
    rootfs = "docker.io/library/python@sha256:" + "a" * 64
    recorder = run_program(monkeypatch, "westus2", base_image="", base_image_builder="docker", base_image_rootfs=rootfs)

    docker = recorder.of("Image", "base-image")
    assert docker["imageName"] == "registry.example.com/accelform/westus2/runtime"
    assert docker["build"]["args"] == {"ROOTFS": rootfs}
    assert Path(docker["build"]["context"]) == ROOT / ".accelform" / "base-image"
    assert recorder.of("Image", "image")["base_image"] == BUILT
    assert recorder.of("DaemonSet")["spec"]["template"]["spec"]["containers"][0]["image"] == BUILT


def test_an_external_plugin_is_left_to_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a plugin of the cluster's own none is registered, nor a namespace for it."""
    recorder = run_program(monkeypatch, "westus2", device_plugin="external", create_namespace=False)

    kinds = {key.split("::")[0].rpartition(":")[2] for key in recorder.registered}
    assert not kinds & {"DaemonSet", "ClusterRole", "Namespace", "DevicePlugin"}
