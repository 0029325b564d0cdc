"""A program of a user with several networks: each is converted in each format and served from one edge box."""

from __future__ import annotations

import json
from pathlib import Path

import pulumi
from pulumi import ResourceOptions

from accelform.resources import ComputeTarget, ConvertedModel, Image, Model, Webservice, Workspace

# One entry per network: {"name", "model_path", "services": [{"number_format", "port"}]}
networks = json.loads((Path(__file__).parents[1] / "networks.json").read_text())

workspace = Workspace(
    "workspace",
    name="accelform",
    resource_group="vision",
    subscription_id="1234",
    location="eastus",
    storage_url=".accelform/store",
)
target = ComputeTarget(
    "target",
    kind="edge",
    name="edge-box",
    location="eastus",
    agent_count=sum(len(network["services"]) for network in networks),
    edge_root=".accelform/edge",
)
last: list[pulumi.Resource] = []
for network in networks:
    model = Model(network["name"], workspace=workspace, model_name=network["name"], model_path=network["model_path"])
    for service in network["services"]:
        name = f"{network['name']}-{service['number_format']}".replace("_", "-")
        converted = ConvertedModel(
            name,
            model=model,
            number_format=service["number_format"],
            # One conversion at a time: the test's machine is small.
            opts=ResourceOptions(depends_on=last),
        )
        image = Image(name, name=name, model=converted)
        web = Webservice(name, name=name, image=image, target=target, port=service["port"], auth_enabled=False)
        pulumi.export(name, {"bitstream": converted.bitstream, "mismatch": converted.mismatch, "uri": web.scoring_uri})
        last = [web]
