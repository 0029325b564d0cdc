"""The bill of materials: CycloneDX 1.6's required fields, everything that is in the runtime, equal bytes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from accelform.images import runtime_layer, sbom

SUBJECT = sbom.Subject(
    name="digits",
    version=3,
    digest="sha256:" + "a" * 64,
    base_image="registry.example.com/base@sha256:" + "b" * 64,
    model="resnet50.1.accelonnx:2",
    model_digest="sha256:" + "c" * 64,
    runtime="sha256:" + "d" * 64,
)
TYPES = {
    *("application", "framework", "library", "container", "platform", "operating-system", "device", "device-driver"),
    *("firmware", "file", "machine-learning-model", "data", "cryptographic-asset"),
}


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    return dict(json.loads(sbom.document(SUBJECT)))


def test_required_fields(bill: dict[str, Any]) -> None:
    """What the schema of CycloneDX 1.6 requires, and its patterns (bom-1.6.schema.json)."""
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", bill["serialNumber"])
    rows = [bill["metadata"]["component"], *bill["components"]]
    for row in rows:
        assert row["type"] in TYPES
        assert row["name"]
        assert all(set(digest) == {"alg", "content"} for digest in row.get("hashes", []))
        assert all(re.fullmatch(r"[a-f0-9]{64}", digest["content"]) for digest in row.get("hashes", []))
        assert all(set(licence) == {"expression"} for licence in row.get("licenses", []))
        assert set(row) <= {"type", "bom-ref", "name", "version", "hashes", "licenses", "purl", "properties"}
    references = [row["bom-ref"] for row in rows]
    assert len(references) == len(set(references))
    assert {row["ref"] for row in bill["dependencies"]} == set(references)
    assert all(set(row["dependsOn"]) <= set(references) for row in bill["dependencies"])
    assert len(bill["components"]) == len({json.dumps(row, sort_keys=True) for row in bill["components"]})


def test_each_part_has_a_licence(bill: dict[str, Any]) -> None:
    """The runtime, each Python package and each Go module name their licence; only a base and a model are others'."""
    without = [row["name"] for row in bill["components"] if not row.get("licenses")]

    assert without == ["registry.example.com/base", "resnet50.1.accelonnx"]


def test_the_modules_licences_are_those_of_the_program() -> None:
    """`make licences` was run for the modules and versions that are in the program."""
    table = runtime_layer.front_licences().read_text(encoding="utf-8")
    rows = {tuple(line.split()[:2]) for line in table.splitlines() if len(line.split()) == 3}

    assert set(sbom.go_modules(runtime_layer.front_program().read_bytes())) <= rows


def test_everything_is_in_it(bill: dict[str, Any]) -> None:
    """The base by digest, the model, the runtime, each of its packages with its version, and the front's modules."""
    found = {(row["type"], row["name"]): row for row in bill["components"]}

    assert found["container", "registry.example.com/base"]["version"] == "sha256:" + "b" * 64
    assert found["machine-learning-model", "resnet50.1.accelonnx"]["version"] == "2"
    assert ("application", "accelform_runtime") in found
    for package in runtime_layer.packages():
        assert found["library", package.name]["purl"] == f"pkg:pypi/{package.name}@{package.version}"
    assert found["library", "google.golang.org/grpc"]["purl"].startswith("pkg:golang/google.golang.org/grpc@v1.")


def test_equal_images_give_equal_bytes() -> None:
    """No time and no random number is in it."""
    assert sbom.document(SUBJECT) == sbom.document(SUBJECT)


def test_a_program_without_build_information() -> None:
    """Programs of other languages have no modules."""
    assert sbom.go_modules(b"\x7fELF" + bytes(1000)) == []
