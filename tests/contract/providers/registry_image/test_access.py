"""Registries with users and private authorities, away, or without deletes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from tests.support import registries
from tests.support.base_images import push_base
from tests.support.pushed_images import documents, make
from tests.support.registries import log_in

from accelform.resources.image import ImageProvider


def test_a_registry_that_does_not_delete(
    plugin: Any, tmp_path: Path, image_inputs: Callable[..., dict[str, Any]]
) -> None:
    """The stack can still be destroyed; the image stays, as the registry wants it."""
    with registries.registry(tmp_path / "keeps", deletes=False) as keeps:
        inputs = image_inputs(registry=f"{keeps.host}/team", base_image=push_base(keeps.host))
        id_, outputs = make(plugin, inputs)
        plugin.delete(ImageProvider(), id_, outputs)

        documents(outputs["image_location"])
        assert plugin.read(ImageProvider(), id_, outputs)[0] == ""


def test_a_registry_that_is_away_is_not_an_image_that_is_gone(
    plugin: Any, tmp_path: Path, image_inputs: Callable[..., dict[str, Any]]
) -> None:
    """Refresh and destroy fail with the registry's name while it is down, and forget nothing."""
    with registries.registry(tmp_path / "away") as away:
        inputs = image_inputs(registry=f"{away.host}/team", base_image=push_base(away.host))
        id_, outputs = make(plugin, inputs)

    for call in (plugin.read, plugin.delete):
        with pytest.raises(grpc.RpcError, match=f"{away.host} did not answer"):
            call(ImageProvider(), id_, outputs)


def test_users_and_a_private_authority(
    project: Path, start_plugin: Any, tmp_path: Path, docker_config: Path, image_inputs: Callable[..., dict[str, Any]]
) -> None:
    """With credentials from Docker's configuration and the authority's file, base and image in one secured registry."""
    with registries.registry(tmp_path / "secured", htpasswd=True, authority=trustme.CA()) as secured:
        (project / "ca.pem").write_bytes(Path(secured.ca_file).read_bytes())
        log_in(docker_config, secured.host)
        base = push_base(secured.host, ca_file=secured.ca_file)
        inputs = image_inputs(registry=f"{secured.host}/team", base_image=base, registry_ca_file="ca.pem")
        with start_plugin() as plugin:
            id_, outputs = make(plugin, inputs)
            assert plugin.read(ImageProvider(), id_, outputs)[0] == id_
            assert "correct horse" not in json.dumps(outputs)
            plugin.delete(ImageProvider(), id_, outputs)
        log_in(docker_config, secured.host, password="wrong secret")
        with start_plugin() as plugin, pytest.raises(grpc.RpcError) as caught:
            make(plugin, inputs)
    assert "with the credentials that Docker's configuration has" in str(caught.value)
    assert "wrong secret" not in str(caught.value)
