"""What is in an image, as a CycloneDX 1.6 document: equal images give equal bytes.

The runtime's Python packages are those of the installed closure that its layer was packed from; the front's Go modules
stand in the program itself (Go's "debug/buildinfo"). What the base image holds is its maker's to tell: it is named by
digest.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from accelform.images import layout, runtime_layer

MEDIA_TYPE = "application/vnd.cyclonedx+json"
SPEC_VERSION = "1.6"
_NAMESPACE = uuid.UUID("7c1f2a8e-4f0b-5c55-9d5e-3a6c6d2f9b10")
"""Of serial numbers, which follow from the image's digest."""
_BUILD_INFO = b"\xff Go buildinf:"
_INLINE = 2
"""The flag of Go 1.18 and later: version and modules follow as strings, from byte 32 on."""
_MODULE = re.compile(r"^(?:dep|=>)\t(?P<path>\S+)\t(?P<version>v\S+)", re.MULTILINE)
_LICENCE = re.compile(r"^(?P<path>\S+) (?P<version>v\S+|any) (?P<licence>\S+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The image: its name, version, digest, base by digest ("" without one), the model in it as name:version, and the
    fingerprint of its runtime."""

    name: str
    version: int
    digest: str
    base_image: str
    model: str
    model_digest: str
    runtime: str


def document(subject: Subject) -> bytes:
    """The document of an image that runs the runtime installed here. Raises RuntimeLayerError."""
    image = f"image:{subject.name}@{subject.digest}"
    components = [*_base(subject), _model(subject), *_runtime(subject.runtime)]
    references = [row["bom-ref"] for row in components]
    return layout.encode(
        {
            "$schema": f"http://cyclonedx.org/schema/bom-{SPEC_VERSION}.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": SPEC_VERSION,
            "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, subject.digest)}",
            "version": 1,
            "metadata": {
                "component": {
                    "type": "container",
                    "bom-ref": image,
                    "name": subject.name,
                    "version": str(subject.version),
                    "hashes": [_sha256(subject.digest)],
                }
            },
            "components": components,
            "dependencies": [
                {"ref": image, "dependsOn": sorted(references)},
                *({"ref": reference, "dependsOn": []} for reference in sorted(references)),
            ],
        }
    )


def _base(subject: Subject) -> list[dict[str, Any]]:
    name, _, digest = subject.base_image.partition("@")
    if not digest:
        return []
    return [
        {"type": "container", "bom-ref": f"base:{digest}", "name": name, "version": digest, "hashes": [_sha256(digest)]}
    ]


def _model(subject: Subject) -> dict[str, Any]:
    name, _, version = subject.model.rpartition(":")
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{subject.model}",
        "name": name,
        "version": version,
        "properties": [{"name": "accelform:fingerprint", "value": subject.model_digest}],
    }


@lru_cache(maxsize=1)
def _runtime(fingerprint: str) -> tuple[dict[str, Any], ...]:
    """The same for equal fingerprints, and looked up once for many images."""
    return tuple(_components(fingerprint))


def _components(fingerprint: str) -> Iterator[dict[str, Any]]:
    yield {
        "type": "application",
        "bom-ref": "accelform-runtime",
        "name": runtime_layer.RUNTIME_PACKAGE,
        "version": runtime_layer.runtime_version(),
        **_licence(runtime_layer.LICENSE),
        "properties": [{"name": "accelform:fingerprint", "value": fingerprint}],
    }
    for package in runtime_layer.packages():
        purl = f"pkg:pypi/{package.name}@{quote(package.version)}"
        yield _library(purl, package.name, package.version, **_licence(package.license_expression))
    licences = module_licences(runtime_layer.front_licences().read_text(encoding="utf-8"))
    for path, version in go_modules(runtime_layer.front_program().read_bytes()):
        purl = f"pkg:golang/{quote(path)}@{quote(version)}"
        yield _library(purl, path, version, **_licence(licences.get(path, "")))


def _licence(expression: str) -> dict[str, Any]:
    return {"licenses": [{"expression": expression}]} if expression else {}


def module_licences(text: str) -> dict[str, str]:
    """SPDX's name of each module's licence, from the table with which the front's LICENSES.txt begins."""
    return {row["path"]: row["licence"] for row in _LICENCE.finditer(text)}


def _library(purl: str, name: str, version: str, **more: Any) -> dict[str, Any]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, **more}


def go_modules(program: bytes) -> list[tuple[str, str]]:
    """Path and version of each module in a Go program, sorted; empty for one without build information."""
    start = program.find(_BUILD_INFO)
    if start < 0 or not program[start + 15] & _INLINE:
        return []
    _, rest = _text(program, start + 32)
    modules, _ = _text(program, rest)
    # The text stands between two marks of 16 bytes; a replaced module is followed by what took its place.
    return sorted({(row["path"], row["version"]) for row in _MODULE.finditer(modules[16:-16].decode(errors="replace"))})


def _text(content: bytes, start: int) -> tuple[bytes, int]:
    """A string with its length before it as a varint, and where it ends."""
    length = shift = 0
    while True:
        byte = content[start]
        start += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return content[start : start + length], start + length


def _sha256(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest.removeprefix("sha256:")}
