"""A stack's configuration as one object."""

from __future__ import annotations

import pytest
from tests.unit.infra.given import DECLARED, REGIONS, GivenConfig, stack_settings, stack_values

from accelform_runtime.settings import settings_of
from settings import Settings, SettingsInvalid


def test_defaults_are_enough() -> None:
    """Pulumi.yaml's defaults make a whole configuration, in the right types."""
    loaded = Settings.load(GivenConfig())

    assert (loaded.target, loaded.agent_count, loaded.token_auth_enabled) == ("edge", 1, False)
    assert (loaded.num_replicas, loaded.auth_enabled) == (None, None)
    assert loaded.model_tags == {}


def test_every_declared_key_is_a_field() -> None:
    """A key of Pulumi.yaml that no one reads, or a default that it does not declare, would mislead."""
    assert set(DECLARED) == {row.name for row in settings_of(Settings) if row.default is not None}
    assert all(row["description"] for row in DECLARED.values())


def test_everything_wrong_is_told_at_once() -> None:
    """Wrong types come first and together; then wrong values, together too."""
    with pytest.raises(SettingsInvalid) as types:
        Settings.load(GivenConfig(num_replicas="two", agent_count="1.5", model_tags=["a"]))
    with pytest.raises(SettingsInvalid) as values:
        Settings.load(GivenConfig(image_name="Loud", location="mars", agent_count=0))

    with pytest.raises(SettingsInvalid) as together:
        Settings.load(GivenConfig(auth_enabled=True, token_auth_enabled=True, ssl_enabled=True, engine="fast"))

    assert "4 problem(s)" in str(together.value)
    assert "auth_enabled (keys) and token_auth_enabled exclude each other" in str(together.value)
    assert "ssl_enabled needs ssl_key_pem_file" in str(together.value)
    assert "3 problem(s)" in str(types.value)
    assert "num_replicas must be a whole number, not 'two'" in str(types.value)
    assert "3 problem(s)" in str(values.value)
    assert all(
        word in str(values.value) for word in ("'loud' would do", "region 'mars'", "agent_count must be above 0")
    )


def test_everything_wrong_with_a_cluster_is_told_at_once() -> None:
    """A cluster's settings are held to the rules of images, pools and pods together."""
    with pytest.raises(SettingsInvalid, match="target must be one of edge, kubernetes"):
        stack_settings(target="moon base")
    with pytest.raises(SettingsInvalid) as cluster:
        stack_settings(
            kube_context="",
            namespace="kube-system",
            base_image="registry.example.com/runtime:latest",
            device_plugin="mine",
            load_balancer_type="Magic",
            cpu_cores="0",
            memory_gb_limit=0.1,
            prestop_seconds=1000,
            model_root="models",
            autoscale_enabled=True,
            autoscale_max_replicas=3,
        )

    told = str(cluster.value)
    for words in (
        "kube_context is needed",
        "belongs to the cluster itself",
        "a tag can move",
        "device_plugin must be one of",
        "load_balancer_type must be one of",
        "cpu_cores must be above 0",
        "memory_gb_limit 0.1 is below memory_gb 0.5",
        "prestop_seconds must be between 0 and 120",
        "model_root is a folder of an edge box",
        "one FPGA each, but the pool has 1",
    ):
        assert words in told


@pytest.mark.parametrize("stack", REGIONS)
def test_a_region_is_data(stack: str) -> None:
    """A regional stack's file differs from another's by the region's name alone, and loads as it is."""
    other = {name: str(value).replace(stack, "westus2") for name, value in stack_values(stack).items()}

    assert other == stack_values("westus2")
    assert stack_settings(stack).cluster_namespace == f"accelform-{stack}"


def test_a_base_image_comes_from_one_place() -> None:
    """With a builder of its own a base image must not be given too; without one it must be; both need a registry."""
    with pytest.raises(SettingsInvalid, match="drop one of the two"):
        stack_settings(base_image_builder="docker")
    with pytest.raises(SettingsInvalid, match="base_image is needed"):
        stack_settings(base_image="")
    with pytest.raises(SettingsInvalid, match="registry is needed"):
        stack_settings(registry="")
