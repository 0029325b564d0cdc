"""The typed classes, on Pulumi's own mock monitor: what they pass to the engine, without one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pulumi
import pytest

from accelform.errors import UserError


class Recorder(pulumi.runtime.Mocks):
    """Notes what is registered and answers as a preview would: inputs come back as outputs."""

    def __init__(self) -> None:
        self.registered: dict[str, dict[str, Any]] = {}

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        self.registered[args.typ] = args.inputs
        computed = {"digest": "sha256:1", "fingerprint": "sha256:2", "fpga_capacity": 1, "workspace_id": "/w"}
        return args.name, {**args.inputs, **computed}

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], None]:
        return {}, None


_LOOPS: list[asyncio.AbstractEventLoop] = []
"""Loops that Pulumi worked on: it never closes them, and one that is collected open fails whichever test runs then."""


@pytest.fixture
def recorder() -> Recorder:
    # Pulumi's mocks take the thread's event loop, and a test that used asyncio.run has left none.
    try:
        _LOOPS.append(asyncio.get_event_loop())
    except RuntimeError:
        _LOOPS.append(asyncio.new_event_loop())
        asyncio.set_event_loop(_LOOPS[-1])
    recorder = Recorder()
    pulumi.runtime.set_mocks(recorder, project="accelform", stack="edge", preview=False)
    return recorder


def test_the_graph_passes_identities_on(recorder: Recorder) -> None:
    """Each resource gets the identity of the one before, its owner is project/stack/name, and no version is passed."""
    from accelform.resources import ComputeTarget, ConvertedModel, Image, Model, Webservice, Workspace

    @pulumi.runtime.test
    def declare() -> Any:
        workspace = Workspace("ws", name="ws", resource_group="rg", location="eastus", storage_url="store")
        model = Model("model", workspace=workspace, model_name="net", model_path="model.yaml")
        converted = ConvertedModel("converted", model=model)
        image = Image("image", name="net", model=converted)
        target = ComputeTarget("target", kind="edge", name="box", location="eastus", edge_root="edge")
        service = Webservice("service", name="net", image=image, target=target)
        return pulumi.Output.all(service.urn)

    declare()

    found = {token.rsplit(":", 1)[1]: inputs for token, inputs in recorder.registered.items()}
    assert found["Model"]["owner"] == "accelform/edge/model"
    assert found["Model"]["workspace_id"] == "/w"
    assert found["ConvertedModel"]["model_digest"] == "sha256:1"
    assert found["Image"]["model_fingerprint"] == "sha256:2"
    assert found["Webservice"]["image_fingerprint"] == "sha256:2"
    assert found["Webservice"]["target_fpgas"] == 1
    assert not any("version" in name for inputs in found.values() for name in inputs)


def test_workspace_from_config(recorder: Recorder, tmp_path: Path) -> None:
    """Azure ML's config.json is found upward, also in .azureml, and gives name, group and subscription."""
    from accelform.resources import Workspace

    (tmp_path / ".azureml").mkdir()
    config = {"workspace_name": "vision", "resource_group": "rg", "subscription_id": "42"}
    (tmp_path / ".azureml" / "config.json").write_text(json.dumps(config))
    below = tmp_path / "notebooks" / "deep"
    below.mkdir(parents=True)

    @pulumi.runtime.test
    def declare() -> Any:
        return Workspace.from_config("ws", location="eastus", storage_url="store", path=str(below)).urn

    declare()

    inputs = recorder.registered["pulumi-python:dynamic/accel:Workspace"]
    assert (inputs["name"], inputs["resource_group"], inputs["subscription_id"]) == ("vision", "rg", "42")


def test_workspace_from_a_wrong_config(recorder: Recorder, tmp_path: Path) -> None:
    """A missing file and a missing field are told with the way out."""
    from accelform.resources import Workspace

    (tmp_path / "config.json").write_text('{"workspace_name": "vision"}')
    with pytest.raises(UserError, match="it needs workspace_name, resource_group"):
        Workspace.from_config("ws", location="eastus", storage_url="store", path=str(tmp_path))
    with pytest.raises(UserError, match=r"no config\.json"):
        Workspace.from_config("ws", location="eastus", storage_url="store", path="/proc")
