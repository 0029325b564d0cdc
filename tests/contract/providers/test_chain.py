"""The six providers in a row over gRPC: each takes what the one before gave, as the engine passes it on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import grpc
import pytest
from pulumi.output import UNKNOWN
from pulumi.runtime.rpc import contains_unknowns
from tests.support.ports import free_port

from accelform.featurizers.families import FAMILIES
from accelform.resources.compute_target import ComputeTargetProvider
from accelform.resources.converted_model import ConvertedModelProvider
from accelform.resources.image import ImageProvider
from accelform.resources.model import ModelProvider
from accelform.resources.webservice import WebserviceProvider
from accelform.resources.workspace import WorkspaceProvider
from accelform.targets.edge import EdgeBox

ROOT = Path(__file__).parents[3]
OWNER = "accelform/edge/"


@pytest.fixture
def digits(project: Path) -> Path:
    """The project with the example network in it."""
    shutil.copytree(ROOT / "examples" / "digits", project / "examples" / "digits")
    return project


def workspace_inputs() -> dict[str, Any]:
    return {
        "name": "accelform",
        "resource_group": "vision",
        "subscription_id": "1234",
        "location": "eastus",
        "storage_url": ".accelform/store",
        "owner": OWNER + "workspace",
    }


def model_inputs(workspace: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "workspace_id": workspace["workspace_id"],
        "storage_url": workspace["storage_url"],
        "model_name": "resnet50-digits",
        "model_path": "examples/digits/model.yaml",
        "owner": OWNER + "model",
        **changes,
    }


def converted_inputs(model: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "storage_url": model["storage_url"],
        "model_name": model["model_name"],
        "model_digest": model["digest"],
        "model_path": model["model_path"],
        "model_owner": model["owner"],
        "model_input_tensors": model["input_tensors"],
        "model_output_tensors": model["output_tensors"],
        "owner": OWNER + "converted-model",
        **changes,
    }


def image_inputs(converted: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "storage_url": converted["storage_url"],
        "name": "resnet50-digits",
        "model_fingerprint": converted["fingerprint"],
        "model_owner": converted["owner"],
        "owner": OWNER + "image",
        **changes,
    }


def target_inputs(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "edge",
        "name": "edge-box",
        "location": "eastus",
        "edge_root": ".accelform/edge",
        "owner": OWNER + "target",
        **changes,
    }


def service_inputs(image: dict[str, Any], target: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "name": "resnet50-digits",
        "target_kind": target["kind"],
        "target_name": target["name"],
        "target_fpgas": target["fpga_capacity"],
        "edge_root": target["edge_root"],
        "storage_url": image["storage_url"],
        "image_name": image["name"],
        "image_fingerprint": image["fingerprint"],
        "image_owner": image["owner"],
        "owner": OWNER + "webservice",
        **changes,
    }


@pytest.mark.timeout(180)
def test_the_whole_chain(plugin: Any, digits: Path) -> None:
    """Check, create, read, check again and delete of all six: reads find what creates gave, deletes can be repeated."""
    made: list[tuple[Any, str, dict[str, Any]]] = []

    def deploy(provider: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        checked, failures = plugin.check(provider, inputs)
        assert failures == {}
        id_, outputs = plugin.create(provider, checked)
        read_id, read_outputs, read_inputs = plugin.read(provider, id_, outputs)
        assert (read_id, read_inputs) == (id_, checked)
        assert read_outputs == outputs
        again, failures = plugin.check(provider, inputs, olds=checked)
        assert (again, failures) == (checked, {}), "a second check of the same inputs changes nothing"
        assert list(plugin.diff(provider, outputs, again).replaces) == []
        made.append((provider, id_, outputs))
        return outputs

    port = free_port()
    workspace = deploy(WorkspaceProvider(), workspace_inputs())
    model = deploy(ModelProvider(), model_inputs(workspace))
    converted = deploy(ConvertedModelProvider(), converted_inputs(model))
    image = deploy(ImageProvider(), image_inputs(converted))
    target = deploy(ComputeTargetProvider(), target_inputs())
    service = deploy(WebserviceProvider(), service_inputs(image, target, port=port, tags={"team": "vision"}))

    assert model["version"] == 1
    assert converted["name"] == "resnet50-digits.1.accelonnx"
    assert converted["topology"] == "resnet50"
    assert image["creation_state"] == "Succeeded"
    assert image["image_location"].endswith(image["image_digest"])
    assert target["provisioning_state"] == "Succeeded"
    assert service["scoring_uri"] == f"http://127.0.0.1:{port}"
    assert set(service["service_keys"]) == {"primary", "secondary"}
    deployed = EdgeBox(digits / ".accelform" / "edge" / "edge-box").service(service["name"])
    assert deployed is not None
    assert deployed.tags == {"team": "vision"}, "tags reach the box, where operators look"

    for provider, id_, outputs in reversed(made):
        plugin.delete(provider, id_, outputs)
        plugin.delete(provider, id_, outputs)
        assert plugin.read(provider, id_, outputs)[0] == ""
    assert not (digits / ".accelform" / "store").exists()
    assert not (digits / ".accelform" / "edge" / "edge-box").exists()


def test_tags_are_updated_and_properties_only_added(plugin: Any, digits: Path) -> None:
    """Tags change in place and show up in a read; a property that is there cannot change."""
    provider = ModelProvider()
    workspace, _ = plugin.check(WorkspaceProvider(), workspace_inputs())
    checked, _ = plugin.check(provider, model_inputs(workspace, properties={"trained": "2026"}))
    id_, outputs = plugin.create(provider, checked)

    tagged, failures = plugin.check(
        provider,
        model_inputs(workspace, tags={"team": "vision"}, properties={"trained": "2026", "more": "yes"}),
        olds=checked,
    )
    updated = plugin.update(provider, id_, outputs, tagged)
    _, _, read_inputs = plugin.read(provider, id_, updated)
    _, refused = plugin.check(provider, model_inputs(workspace, properties={"trained": "2027"}), olds=tagged)

    assert failures == {}
    assert updated["version"] == outputs["version"]
    assert read_inputs["tags"] == {"team": "vision"}
    assert "properties are immutable, tags are not" in refused["properties"]


def test_identity_is_content_not_place(plugin: Any, digits: Path) -> None:
    """The same files elsewhere are the same model: the path may change without a replacement."""
    provider = ModelProvider()
    workspace, _ = plugin.check(WorkspaceProvider(), workspace_inputs())
    here, _ = plugin.check(provider, model_inputs(workspace))
    shutil.copytree(digits / "examples" / "digits", digits / "moved")
    there, _ = plugin.check(provider, model_inputs(workspace, model_path="moved/model.yaml"))
    other, _ = plugin.check(provider, model_inputs(workspace, model_path="examples/digits/model-parity.yaml"))

    assert list(plugin.diff(provider, here, there).replaces) == []
    assert "digest" in plugin.diff(provider, here, other).replaces


def test_files_may_be_called_what_they_like(plugin: Any, digits: Path) -> None:
    """Blanks, brackets and letters of any script reach the conversion as they were; keys in the store are ours."""
    examples = digits / "examples" / "digits"
    text = (examples / "model.yaml").read_text(encoding="utf-8")
    for name, other in (("featurizer.npz", "my weights (1).npz"), ("labels.txt", "étiquettes ñ.txt")):
        (examples / name).rename(examples / other)
        text = text.replace(name, f'"./{other}"')
    (examples / "-my model (2).yaml").write_text(text, encoding="utf-8")
    workspace, _ = plugin.check(WorkspaceProvider(), workspace_inputs())
    path = "examples/digits/-my model (2).yaml"
    checked, failures = plugin.check(ModelProvider(), model_inputs(workspace, model_path=path))
    assert failures == {}
    _, model = plugin.create(ModelProvider(), checked)

    wanted, failures = plugin.check(ConvertedModelProvider(), converted_inputs(model))
    assert failures == {}
    _, converted = plugin.create(ConvertedModelProvider(), wanted)

    assert converted["topology"] == "resnet50"
    assert converted["fpga_share"] > 0.999


def test_what_was_registered_is_what_is_converted(plugin: Any, digits: Path) -> None:
    """A model that somebody changed in the store is not converted: it is not the one that the preview looked at."""
    workspace, _ = plugin.check(WorkspaceProvider(), workspace_inputs())
    checked, _ = plugin.check(ModelProvider(), model_inputs(workspace))
    _, model = plugin.create(ModelProvider(), checked)
    wanted, _ = plugin.check(ConvertedModelProvider(), converted_inputs(model))
    stored = digits / ".accelform" / "store" / "models" / "resnet50-digits" / "1"
    lines = (stored / "labels.txt").read_text(encoding="utf-8").splitlines()
    (stored / "labels.txt").write_text("\n".join(reversed(lines)) + "\n", encoding="utf-8")

    with pytest.raises(grpc.RpcError, match=r"resnet50-digits:1 .* has other content than was registered"):
        plugin.create(ConvertedModelProvider(), wanted)


def test_forced_replacement_keeps_what_it_adopts(plugin: Any, digits: Path) -> None:
    """`pulumi up --replace` makes the same content again and then deletes the old one: the version must survive."""
    provider = ModelProvider()
    workspace, _ = plugin.check(WorkspaceProvider(), workspace_inputs())
    checked, _ = plugin.check(provider, model_inputs(workspace))
    id_, before = plugin.create(provider, checked)
    _, after = plugin.create(provider, checked)

    plugin.delete(provider, id_, before)
    assert after["version"] == before["version"]
    assert plugin.read(provider, id_, after)[0] == id_

    plugin.delete(provider, id_, after)
    assert plugin.read(provider, id_, after)[0] == ""


def test_unknown_inputs_give_unknown_identity(plugin: Any) -> None:
    """What depends on something that is not known yet is unknown, never guessed and never an error."""
    model = {"storage_url": UNKNOWN, "model_name": UNKNOWN, "digest": UNKNOWN, "owner": "a/b/model"}
    inputs = converted_inputs({**model, "model_path": UNKNOWN, "input_tensors": UNKNOWN, "output_tensors": UNKNOWN})

    checked, failures = plugin.check(ConvertedModelProvider(), inputs)

    assert failures == {}
    assert contains_unknowns(checked["fingerprint"])
    assert contains_unknowns(checked["estimate"])


def test_forecast_is_known_at_preview(plugin: Any, digits: Path) -> None:
    """Latency, throughput and their provenance are there before anything is deployed."""
    workspace, _ = plugin.check(WorkspaceProvider(), workspace_inputs())
    model, _ = plugin.check(ModelProvider(), model_inputs(workspace))
    converted, failures = plugin.check(ConvertedModelProvider(), converted_inputs(model))

    assert failures == {}
    assert 1.77 <= converted["predicted_latency_ms"] <= 1.79
    assert converted["estimate"]["provenance"]
    assert not (digits / ".accelform").exists()


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_a_bitstream(plugin: Any, project: Path, name: str) -> None:
    """A specification of any family is foretold with its own tensors; block floating point fits a bitstream."""
    family = FAMILIES[name]
    classifier = "" if family.classifier is None else "classifier: {classes: 7, seed: 11}\n"
    (project / "model.yaml").write_text(f"featurizer: {name}\nweights: {{source: seeded, seed: 11}}\n{classifier}")
    workspace, _ = plugin.check(WorkspaceProvider(), workspace_inputs())
    model, failures = plugin.check(ModelProvider(), model_inputs(workspace, model_path="model.yaml"))
    assert failures == {}

    foretold = {}
    for number_format in ("float32", "bw-a10-cnn"):
        inputs = converted_inputs(model, number_format=number_format)
        foretold[number_format], failures = plugin.check(ConvertedModelProvider(), inputs)
        assert failures == {}

    own = [family.prediction_tensor] if family.prediction_tensor else list(family.feature_tensors)
    assert model["output_tensors"] == own
    assert {number_format: (row["bitstream"], row["mismatch"]) for number_format, row in foretold.items()} == {
        "float32": ("", ""),
        "bw-a10-cnn": (family.quantized_model_id, ""),
    }
