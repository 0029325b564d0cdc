"""Previews of the regional stacks, without any cluster, kubeconfig or registry to ask."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tools.toolchain.toolsets import PLUGIN, cached

from accelform.plans import regions

REGIONS = ("eastus", "westus2", "westeurope", "southeastasia")
# A port that nothing listens on.
GONE = """
apiVersion: v1
kind: Config
clusters:
- {{name: gone, cluster: {{server: "https://127.0.0.1:1"}}}}
users:
- {{name: nobody, user: {{token: none}}}}
contexts:
- {{name: {context}, context: {{cluster: gone, user: nobody}}}}
"""

_PLUGIN = cached(PLUGIN)

pytestmark = pytest.mark.skipif(
    _PLUGIN is None, reason=f"{PLUGIN.title} is not built; run: .venv/bin/python -m tools.cluster prepare"
)


def offline(project: Any, folder: Path) -> dict[str, str]:
    """An environment in which no cluster is configured, with the plugin on PATH."""
    path = os.pathsep.join([str(_PLUGIN), project.environment["PATH"]])
    return {"HOME": str(folder), "KUBECONFIG": str(folder / "no-such-kubeconfig"), "PATH": path}


def planned(outcome: Any, region: str) -> list[tuple[str, str, str, str]]:
    """Operation, type, name and inputs of each planned resource, without the region's name and what follows from it."""
    steps = [event["resourcePreEvent"]["metadata"] for event in outcome.events if "resourcePreEvent" in event]
    inputs = {step["urn"]: dict((step.get("new") or {}).get("inputs") or {}) for step in steps}
    # The identities of image and device plugin are digests of what is compared here, and carry the region's name.
    image = next(values["fingerprint"] for urn, values in inputs.items() if "dynamic/accel:Image::" in urn)
    plugin = next(values["device_plugin_digest"] for urn, values in inputs.items() if ":ComputeTarget::" in urn)
    gone = {region: "REGION", regions.DISPLAY_NAMES[region]: "REGION", image: "IMAGE", plugin: "PLUGIN"}
    found = []
    for step in steps:
        inputs[step["urn"]].pop("__provider", None)
        text = json.dumps(inputs[step["urn"]], sort_keys=True)
        for word, instead in gone.items():
            text = text.replace(word, instead)
        name = step["urn"].rpartition("::")[2].replace(region, "REGION")
        found.append((step["op"], step["type"], name, text))
    return sorted(found)


def errors(outcome: Any) -> list[str]:
    """Errors that the engine told, but for its complaint about a plugin that ended late, as on a busy machine."""
    told = [event["diagnosticEvent"] for event in outcome.events if "diagnosticEvent" in event]
    found = [diagnostic["message"] for diagnostic in told if diagnostic["severity"] == "error"]
    return [message for message in found if "exited prematurely" not in message]


def test_the_four_regions_differ_by_their_data_alone(new_project: Any, tmp_path: Path) -> None:
    """Each regional stack previews as it is in the tree, and its plan is another region's under another name."""
    plans = {}
    for region in REGIONS:
        project = new_project(region, stack=region)
        outcome = project.pulumi("preview", **offline(project, tmp_path))
        assert errors(outcome) == []
        plans[region] = [
            (operation, kind, name, text.replace(str(project.port), "PORT"))
            for operation, kind, name, text in planned(outcome, region)
        ]

    kinds = {kind.rpartition(":")[2] for _, kind, _, _ in plans["westus2"]}
    assert {"ComputeTarget", "DaemonSet", "Deployment", "NetworkPolicy", "Secret", "Webservice"} <= kinds
    assert {operation for operation, *_ in plans["westus2"]} == {"create"}
    for region in REGIONS:
        assert plans[region] == plans["westus2"], region


def test_a_cluster_that_is_gone_stops_no_preview(new_project: Any, tmp_path: Path) -> None:
    """With a kubeconfig whose server does not answer, the preview is the one without any."""
    project = new_project("gone", stack="eastus")
    without = planned(project.pulumi("preview", **offline(project, tmp_path)), "eastus")
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(GONE.format(context="accelform-eastus"))

    unreachable = project.pulumi("preview", **(offline(project, tmp_path) | {"KUBECONFIG": str(kubeconfig)}))

    assert planned(unreachable, "eastus") == without
    assert errors(unreachable) == []


def test_a_wrong_region_is_told_with_the_rest(new_project: Any, tmp_path: Path) -> None:
    """Everything wrong with a regional stack is one list, before any resource is looked at."""
    project = new_project("wrong", stack="eastus")
    project.configure(location="centralus", base_image="registry.example.com/runtime:1", kube_context="")

    outcome = project.pulumi("preview", check=False, **offline(project, tmp_path))

    assert outcome.code != 0
    assert "3 problem(s) in its settings" in outcome.text
    assert all(words in outcome.text for words in ("has no FPGA machines", "a tag can move", "kube_context is needed"))
