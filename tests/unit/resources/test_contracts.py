"""The public surface of the resources: what is stored in stack states and written in people's programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import accelform.resources
from accelform.resources import reference
from accelform.resources.base import AccelProvider
from accelform.resources.reference import CONTRACTS
from accelform.resources.versioned import VersionedProvider

ROOT = Path(__file__).parents[3]

REPLACE_KEYS = {
    "Workspace": ("name", "resource_group", "subscription_id", "location", "storage_url", "workspace_id"),
    "Model": (
        "workspace_id",
        "storage_url",
        "model_name",
        "digest",
        "framework",
        "family",
        "input_tensors",
        "output_tensors",
    ),
    "ConvertedModel": (
        "storage_url",
        "model_name",
        "model_digest",
        "input_tensors",
        "output_tensors",
        "require_fpga_conversion",
        "number_format",
        "calibration_digest",
        "topology",
        "fingerprint",
    ),
    "Image": ("storage_url", "name", "model_fingerprint", "registry", "base_image", "base", "fingerprint"),
    "ComputeTarget": (
        "kind",
        "name",
        "vm_size",
        "location",
        "edge_root",
        "kube_context",
        "resource_name",
        "node_selector",
        "is_attached",
    ),
    "ClusterClaim": (),
    "ServiceAccess": ("name",),
    "Webservice": ("name", "target_kind", "target_name", "edge_root", "storage_url", "namespace"),
}


def test_type_tokens() -> None:
    """Type tokens are stored in states: each class registers under the token that its contract declares."""
    for contract in CONTRACTS:
        cls = getattr(accelform.resources, contract.name)
        assert contract.token == f"pulumi-python:dynamic/accel:{contract.name}"
        assert f"pulumi-python:{cls._resource_type_name}" == contract.token


def test_replace_keys() -> None:
    """Which properties replace an object is a promise to everyone who reads a preview."""
    assert {contract.name: contract.names(role="replace") for contract in CONTRACTS} == REPLACE_KEYS


def test_secrets() -> None:
    """Keys, and the files that hold them, are secrets, and nothing else is."""
    assert {contract.name: contract.secrets for contract in CONTRACTS if contract.secrets} == {
        "ServiceAccess": (
            "primary_key",
            "secondary_key",
            "service_keys",
            "token_signing_key",
            "keys_file",
            "token_keys_file",
            "tls_file",
            "client_ca_file",
            "probe_file",
        ),
        "Webservice": (
            "primary_key",
            "secondary_key",
            "access_keys",
            "access_token_signing_key",
            "access_probe_file",
            "service_keys",
            "token_signing_key",
        ),
    }


def test_providers_are_found_by_path() -> None:
    """A state stores a provider as its dotted path, not as code, so that destroy runs what is installed."""
    from pulumi.dynamic.dynamic import serialize_provider

    for provider in _providers():
        import base64

        stored = base64.b64decode(serialize_provider(provider()))
        assert provider.__module__.encode() in stored
        assert len(stored) < 120


def test_every_property_is_described() -> None:
    """Every property says what it is, once, and names are unique within a resource."""
    for contract in CONTRACTS:
        names = [row.name for row in contract.properties]
        assert len(names) == len(set(names))
        assert all(row.description for row in contract.properties)


def test_reference_is_current() -> None:
    """docs/resources.md is what the contracts say; `make docs` writes it."""
    assert (ROOT / "docs" / "resources.md").read_text(encoding="utf-8") == reference.render()


def test_importing_resources_stays_light() -> None:
    """The plugin starts twice per `up`: importing the resources loads no numerics and no object store."""
    heavy = "numpy,onnx,onnxruntime,h5py,jinja2,obstore"
    code = f"import sys, accelform.resources; print([m for m in '{heavy}'.split(',') if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)

    assert printed.stdout.strip() == "[]"


def _providers() -> list[type[AccelProvider]]:
    found = [kind for base in (AccelProvider, VersionedProvider) for kind in base.__subclasses__()]
    found = [kind for kind in found if kind is not VersionedProvider]
    assert len(found) == len(CONTRACTS)
    return found
