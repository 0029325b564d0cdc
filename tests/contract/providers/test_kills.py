"""kill -9 between any two steps of any create: the next converges, no number is given twice, nothing is orphaned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.contract.providers import test_chain as chain
from tests.support.ports import free_port

from accelform.faults import FAULT_POINTS
from accelform.resources.compute_target import ComputeTargetProvider
from accelform.resources.converted_model import ConvertedModelProvider
from accelform.resources.image import ImageProvider
from accelform.resources.model import ModelProvider
from accelform.resources.webservice import WebserviceProvider
from accelform.resources.workspace import WorkspaceProvider

digits = chain.digits


@pytest.mark.timeout(600)
def test_every_step_of_every_create(plugin: Any, start_plugin: Any, digits: Path) -> None:
    """Each create is killed at each of its points, and then goes through with one version; deletes leave nothing."""
    killed: list[str] = []
    given: dict[str, str] = {}
    made: list[tuple[Any, str, dict[str, Any]]] = []

    def deploy(kind: str, provider: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        checked, failures = plugin.check(provider, inputs)
        assert failures == {}
        for point in (point for point in FAULT_POINTS if point.startswith(f"{kind}:")):
            with start_plugin(ACCELFORM_FAULT_POINT=point) as dying, pytest.raises(grpc.RpcError) as told:
                dying.create(provider, checked)
            assert told.value.code() is grpc.StatusCode.UNAVAILABLE, f"{point} was not reached: {told.value.details()}"
            killed.append(point)
            for number, content in reservations(digits / ".accelform" / "store").items():
                assert given.setdefault(number, content) == content, f"{number} was given twice"
        again, failures = plugin.check(provider, inputs)
        assert (again, failures) == (checked, {}), "what a killed create left changes no plan"
        id_, outputs = plugin.create(provider, checked)
        assert plugin.read(provider, id_, outputs) == (id_, outputs, checked)
        made.append((provider, id_, outputs))
        return outputs

    workspace = deploy("workspace", WorkspaceProvider(), chain.workspace_inputs())
    model = deploy("model", ModelProvider(), chain.model_inputs(workspace))
    converted = deploy("converted-model", ConvertedModelProvider(), chain.converted_inputs(model))
    image = deploy("image", ImageProvider(), chain.image_inputs(converted))
    target = deploy("compute-target", ComputeTargetProvider(), chain.target_inputs())
    deploy("webservice", WebserviceProvider(), chain.service_inputs(image, target, port=free_port()))

    assert sorted(killed) == sorted(FAULT_POINTS)
    assert [outputs["version"] for outputs in (model, converted, image)] == [1, 1, 1]
    for provider, id_, outputs in reversed(made):
        plugin.delete(provider, id_, outputs)
    assert [str(path) for path in (digits / ".accelform").rglob("*") if path.is_file()] == []


def reservations(store: Path) -> dict[str, str]:
    """Each number taken so far, and for whom and what."""
    found = {}
    for path in store.rglob("reservation.json"):
        content = json.loads(path.read_text())
        found[str(path.parent.relative_to(store))] = f"{content['owner']} {content['digest']}"
    return found
