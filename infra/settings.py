"""The stack's configuration as one frozen object, with everything wrong in it reported at once."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

import pulumi

import foresight
import given
from accelform.errors import UserError
from accelform.plans import cluster_images, names, pods, pools, regions, scaling, serving, traffic
from accelform.plans.cluster_names import FPGA_RESOURCE
from accelform_runtime.settings import (
    LOAD_BALANCER_TYPES,
    TARGETS,
    Address,
    Encryption,
    Generations,
    OwnKeys,
    Pods,
    Rollout,
    Scaling,
    Serving,
    again,
    problems,
    setting,
    settings_of,
)
from parsing import parse


class SettingsInvalid(UserError, pulumi.RunError):
    """The stack's configuration cannot be deployed; as a RunError it is shown without a traceback."""


@dataclass(frozen=True, kw_only=True)
class Storing:
    """The workspace: where models, images and their versions live."""

    workspace_name: str = setting("accelform", "Azure ML workspace name")
    resource_group: str = setting("accelform", "Azure resource group the workspace belongs to")
    subscription_id: str = setting("00000000-0000-0000-0000-000000000000", "Azure subscription id")
    location: str = setting("eastus", "region: eastus, southeastasia, westeurope or westus2")
    storage_url: str = setting(
        ".accelform/store", "workspace store: a folder (relative to this file) or a file://, az://, s3:// URL"
    )


@dataclass(frozen=True, kw_only=True)
class Converting:
    """The model and what the FPGA makes of it."""

    model_name: str = setting("resnet50-digits", "name the model is registered under")
    model_path: str = setting("examples/digits/model.yaml", "model file or folder, relative to this file")
    model_tags: Mapping[str, str] = setting({}, "tags on the registered model")
    number_format: str = setting("bw-a10-cnn", "number format of the FPGA part; float32 switches quantisation off")
    require_fpga_conversion: bool = setting(
        True, "refuse a network that no FPGA topology matches; false runs it in emulation"
    )
    calibration_images: str = setting(
        "examples/digits/images", "folder of images to compare the formats on; empty measures nothing"
    )
    input_tensors: list[str] = setting([], "inputs to convert from; empty means the model's own")
    output_tensors: list[str] = setting([], "outputs to convert to; empty means the model's own")


@dataclass(frozen=True, kw_only=True)
class Placing:
    """The image and where it runs."""

    image_name: str = setting("resnet50-digits", "image name in lower case")
    target: str = setting("edge", "compute target: edge or kubernetes", choices=TARGETS)
    target_name: str = setting("edge-box", "name of the compute target")
    vm_size: str = setting("Standard_PB6s", "machine size; one FPGA each")
    agent_count: int = setting(1, "machines in the target", above=0)
    edge_root: str = setting(".accelform/edge", "folder of the edge box, relative to this file")


@dataclass(frozen=True, kw_only=True)
class InCluster:
    """The cluster (target kubernetes)."""

    kubeconfig: str = setting(
        "", "kubeconfig file, relative to this file; empty means $KUBECONFIG, else ~/.kube/config"
    )
    kube_context: str = setting("", "context of the kubeconfig; needed, so that no other cluster is changed by mistake")
    namespace: str = setting("", "namespace of the service; empty means accelform-<target_name>")
    create_namespace: bool = setting(True, "whether the stack owns the namespace; false uses one that is there")
    registry: str = setting("", "HOST[:PORT]/REPOSITORY that images are pushed to and the cluster pulls from")
    registry_ca_file: str = setting(
        "", "certificate authority of the registry, relative to this file; empty means the system's"
    )
    base_image: str = setting("", "runtime base image by digest, as `accelform base-image build --push` prints it")
    base_image_builder: str = setting("given", "given: base_image is there; docker: a Docker engine builds it")
    base_image_rootfs: str = setting("", "image by digest with Python 3.11 that docker builds the base image on")
    base_image_context: str = setting(
        ".accelform/base-image",
        "build context for docker, from `accelform base-image context`, relative to this file",
    )
    device_plugin: str = setting(
        "emulated", "emulated: the stack brings the device plugin; external: the cluster has one"
    )
    device_plugin_image: str = setting("", "image by digest with the device plugin; empty means base_image")
    resource_name: str = setting(FPGA_RESOURCE, "extended resource that stands for one FPGA")
    is_attached: bool = setting(False, "use an existing pool of nodes and change nothing on it")
    node_selector: Mapping[str, str] = setting({}, "labels of the nodes to claim from, or of the attached pool")
    node_vcpus: int | None = setting(
        None, "processors that a node must have to be claimed; empty means those of vm_size"
    )
    quota_vcpus: int | None = setting(
        None, 'limit of "Standard PBS Family vCPUs" in the region; empty means that of a new subscription'
    )
    cluster_purpose: str = setting("DevTest", "DevTest, or FastProd or DenseProd, which need 12 vCPUs")
    provisioning_timeout_seconds: int = setting(
        pools.PROVISIONING_TIMEOUT_SECONDS, "longest time to wait for the pool's FPGAs", unit="s", above=0
    )
    load_balancer_subnet: str = setting("", "subnet of an InternalLoadBalancer on Azure; empty lets the cluster choose")
    service_annotations: Mapping[str, str] = setting({}, "annotations of the Service, for the cloud's load balancer")
    gateway: str = setting("", "NAMESPACE/NAME of a Gateway (Gateway API) that shares calls out between versions")
    traffic_percentiles: Mapping[str, int] = setting(
        {}, "services behind the gateway, and the percent of the calls for each"
    )
    prestop_seconds: int = setting(
        5, "time in which a stopping pod still takes calls until no proxy sends it any", unit="s", least=0, most=120
    )


@dataclass(frozen=True, kw_only=True)
class Settings(
    Storing, Converting, Placing, InCluster, Address, Pods, Scaling, Serving, Generations, Encryption, Rollout
):
    """What a stack chooses; the settings of a service are declared in accelform_runtime.settings.

    Pulumi.yaml, where `pulumi` checks them first, is written from here by `make generate`.
    """

    service_name: str = setting("resnet50-digits", "web service name")
    load_balancer_type: str = setting(
        LOAD_BALANCER_TYPES[0],
        f"{', '.join(LOAD_BALANCER_TYPES[:-1])} or {LOAD_BALANCER_TYPES[-1]}",
        choices=LOAD_BALANCER_TYPES,
    )
    primary_key: pulumi.Output[str] | None = again(OwnKeys, "primary_key")
    secondary_key: pulumi.Output[str] | None = again(OwnKeys, "secondary_key")
    registry_pull_config: pulumi.Output[str] | None = setting(
        None, "a Docker config.json with which the cluster's nodes pull images", secret=True
    )

    @classmethod
    def load(cls, config: pulumi.Config) -> Self:
        """Reads every field from the stack's configuration.

        Raises SettingsInvalid with all that is wrong: names, types, values, and then also what the settings lead to.
        """
        rows = settings_of(cls)
        told = given.unknown_names(config, [row.name for row in rows])
        values: dict[str, Any] = {}
        broken: dict[str, str] = {}
        for row in rows:
            if row.secret:
                values[row.name] = config.get_secret(row.name)
                continue
            text = config.get(row.name)
            if problem := given.secret_problem(config, row.name):
                broken[row.name] = problem
            elif text is not None:
                try:
                    values[row.name] = parse(row.annotation, text)
                except ValueError as error:
                    broken[row.name] = f"{row.name} must be {error}, not {text!r}"
        # What cannot be read does not hide the rest: its default stands in, and nothing is said that names it.
        settings = cls(**values)
        told += broken.values()
        told += [row for row in settings.problems() if not _names_one_of(broken, row)]
        told += [row for row in foresight.problems(settings, certain=bool(told)) if not _is_told(row, told)]
        if told:
            listed = "".join(f"\n  - {problem}" for problem in told)
            raise SettingsInvalid(
                f"stack {pulumi.get_stack()!r} has {len(told)} problem(s) in its settings:{listed}\n"
                "Set each with `pulumi config set accelform:<name> <value>`; Pulumi.yaml describes them."
            )
        return settings

    @property
    def in_cluster(self) -> bool:
        """Whether the service runs in a Kubernetes cluster, and not on an edge box."""
        return self.target == "kubernetes"

    @property
    def own_device_plugin(self) -> bool:
        """Whether the stack brings the device plugin of its pool."""
        return self.in_cluster and self.device_plugin == "emulated"

    @property
    def cluster_namespace(self) -> str:
        """The namespace of the service's objects: the one that was chosen, else one named after the target."""
        return self.namespace or f"accelform-{self.target_name}".lower()

    def problems(self) -> list[str]:
        """Everything that the resources would refuse one after the other, told at once."""
        found = {
            "workspace_name": names.WORKSPACE.problem(self.workspace_name),
            "location": regions.region_problem(self.location),
            "vm_size": regions.vm_size_problem(self.vm_size),
            "model_name": names.MODEL.problem(self.model_name),
            "image_name": names.IMAGE.problem(self.image_name),
            "target_name": names.COMPUTE.problem(self.target_name),
            "service_name": names.SERVICE.problem(self.service_name),
        }
        values = {name: value for name, value in vars(self).items() if value is not None}
        values["target_kind"] = self.target
        rows = [*scaling.problems(values), *serving.problems(values)]
        if self.in_cluster:
            rows += [*cluster_images.problems(values), *pools.problems(values)]
            rows += traffic.problems(values)
            rows += pods.problems({**values, "namespace": self.cluster_namespace})
        told = [f"{name}: {problem}" for name, problem in found.items() if problem]
        told += problems(settings_of(type(self)), values).values()
        return list(dict.fromkeys([*told, *(row.reason for row in rows)]))


def _names_one_of(names: Collection[str], sentence: str) -> bool:
    return not set(names).isdisjoint(re.findall(r"\w+", sentence))


def _is_told(sentence: str, told: Collection[str]) -> bool:
    return any(sentence in row or row in sentence for row in told)
