"""What people get wrong: each a clear message at preview, and nothing changed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.projects import Project, Projects

SPECIFICATION = "examples/digits/model.yaml"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One project for what changes settings only: nothing is ever made in it."""
    projects = Projects(tmp_path_factory.mktemp("shared"))
    yield projects()
    projects.close()


@pytest.fixture
def untouched(shared: Project) -> Iterator[Project]:
    """The shared project with the settings that it was made with."""
    stack_file = shared.folder / "stacks" / f"Pulumi.{shared.stack}.yaml"
    before = stack_file.read_bytes()
    yield shared
    stack_file.write_bytes(before)


def refused(project: Any, *words: str) -> None:
    """The preview fails with all of `words`, shows no traceback, and leaves no store and no box."""
    outcome = project.pulumi("preview", check=False)

    assert outcome.code != 0, outcome.text
    for word in words:
        assert word in outcome.text, f"{word!r} is not in:\n{outcome.text}"
    assert "Traceback" not in outcome.text
    assert not (project.folder / ".accelform").exists()


def test_model_files(project: Any) -> None:
    """A missing file, a folder, something that is no model, and weights that are cut off."""
    project.configure(model_path="examples/digits/nowhere.yaml")
    refused(project, "nowhere.yaml")

    project.configure(model_path="examples/digits/labels.txt")
    refused(project, "labels.txt")

    weights = project.folder / "examples" / "digits" / "featurizer.npz"
    weights.write_bytes(weights.read_bytes()[:5000])
    project.configure(model_path=SPECIFICATION)
    refused(project, "featurizer.npz")


def test_names_regions_and_counts(untouched: Any) -> None:
    """An image name in upper case, an unknown region and no machines: three messages in one preview."""
    untouched.configure(image_name="ResNet50", location="mars", agent_count=0)
    refused(
        untouched,
        "'ResNet50' is not a valid name",
        "'resnet50' would do",
        "region 'mars'",
        "agent_count must be above 0",
    )


def test_replicas(untouched: Any) -> None:
    """More replicas than FPGAs; and autoscale together with a fixed number."""
    untouched.configure(num_replicas=3)
    refused(untouched, "asks for 3 replicas", "agent_count")

    untouched.configure(num_replicas=1, autoscale_enabled=True)
    refused(untouched, "exclude each other")


def test_who_may_call(untouched: Any) -> None:
    """Keys together with tokens, TLS without its files, and files that are no certificate and no key."""
    untouched.configure(auth_enabled=True, token_auth_enabled=True, ssl_enabled=True)
    refused(untouched, "token_auth_enabled exclude each other", "needs ssl_cert_pem_file", "needs ssl_key_pem_file")

    untouched.configure(auth_enabled=False, ssl_cert_pem_file="nowhere.pem", ssl_key_pem_file=SPECIFICATION)
    refused(untouched, "nowhere.pem cannot be read: No such file or directory")


def test_tensor_names(untouched: Any) -> None:
    """A tensor that the model does not have is named together with those it has."""
    untouched.configure(output_tensors=["no/such:0"])
    refused(untouched, "no tensor 'no/such:0'", "Softmax:0")


def test_number_format(untouched: Any) -> None:
    """An unknown number format is refused with the known ones."""
    untouched.configure(number_format="bw-a99")
    refused(untouched, "bw-a99", "bw-a10-cnn")


def test_types_in_the_stack_file(untouched: Any) -> None:
    """A word where a number belongs, and an undeclared key, stop in the program, with everything else."""
    untouched.configure(port="many")
    refused(untouched, "port must be a whole number, not 'many'")

    untouched.configure(port=untouched.port, num_replicas="two")
    refused(untouched, "num_replicas must be a whole number, not 'two'", "pulumi config set")


def test_port_in_use(untouched: Any) -> None:
    """A port that another program holds is refused with the setting to change."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        untouched.configure(port=port)
        refused(untouched, f"port {port}", "choose another port")


def test_two_services_on_one_fpga(project: Any) -> None:
    """A second service on the only FPGA is refused before either is deployed, naming the first."""
    program = project.folder / "infra" / "__main__.py"
    program.write_text(
        program.read_text()
        + '\nWebservice("second", name="second", image=image, target=target, port=settings.port + 1)\n'
    )
    refused(project, "one FPGA holds one model", "'resnet50-digits'")


def test_corrupt_manifest(deployed: Any) -> None:
    """A damaged manifest in the store is named at preview, with the way out; repairing it goes through."""
    manifest = deployed.store / "models" / "resnet50-digits" / "1" / "manifest.json"
    good = manifest.read_bytes()
    manifest.write_bytes(good[: len(good) // 2])

    outcome = deployed.pulumi("preview", check=False)
    assert outcome.code != 0
    assert "manifest.json is damaged" in outcome.text.replace("\n", " ")
    assert "pulumi refresh" in outcome.text

    manifest.unlink()
    deployed.pulumi("refresh", "--yes", "--skip-preview")
    deployed.up()
    assert deployed.outputs()["model_version"] >= 1
    assert deployed.score().returncode == 0


def test_resident_model_is_named(deployed: Any, new_project: Any) -> None:
    """Another stack's service on the same box is refused at preview, naming the resident one."""
    second = new_project("second", stack="edge-2")
    second.configure(
        edge_root=str(deployed.folder / ".accelform" / "edge"), target_name="edge-box", service_name="other"
    )

    outcome = second.pulumi("preview", check=False)
    assert outcome.code != 0
    assert "'resnet50-digits'" in outcome.text
    assert "one FPGA holds one model" in outcome.text
