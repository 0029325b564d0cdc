"""Rows and steps that several resources share."""

from __future__ import annotations

import contextlib
import functools
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

from accelform import project
from accelform.plans.contract import Problem, Property

if TYPE_CHECKING:
    from accelform.store import Store

TAGS = Property(
    name="tags", kind="map", role="update", description="names and values, recorded with it in the store; replaceable"
)
TAGS_OF_STATE = replace(TAGS, description="names and values, kept in the stack's state alone; replaceable")
PROPERTIES = Property(
    name="properties", kind="map", role="update", description="names and values that may be added but never changed"
)
DESCRIPTION = Property(name="description", kind="string", role="update", description="a sentence for people")
OWNER = Property(
    name="owner",
    kind="string",
    role="update",
    required=True,
    description="`<project>/<stack>/<resource name>`, set by the library",
)
STORAGE_URL = Property(
    name="storage_url", kind="string", role="replace", required=True, description="the workspace's store"
)
WORKSPACE_ID = Property(
    name="workspace_id", kind="string", role="replace", required=True, description="id of the workspace it belongs to"
)
CREATED_TIME = Property(name="created_time", kind="string", role="output", description="RFC 3339 time of creation")

_ENGINE_ADDRESS: Final = re.compile(r"(127\.0\.0\.1|localhost|\[::1\]):[0-9]{1,5}")
_NOTE_TIMEOUT_SECONDS: Final = 5
CLUSTER_MODULES = ("kubernetes.client", "kubernetes.config.kube_config")
"""The client library of clusters; a second or so to import."""


def open_store(values: Mapping[str, Any]) -> Store:
    """The store that `values["storage_url"]` names."""
    from accelform.store import Store

    return Store.open(project.resolve_url(values["storage_url"]))


def local_store(storage_url: str) -> Store | None:
    """The store if looking into it needs no network and it is there already, else None."""
    from accelform.store import Store

    store = Store.open(project.resolve_url(storage_url))
    return store if store.root is not None and store.root.is_dir() else None


def property_problems(inputs: Mapping[str, Any], stored: Mapping[str, Any]) -> list[Problem]:
    """One problem for each of the stored `properties` that `inputs` would change or drop (Azure ML: add only)."""
    before, after = stored.get("properties") or {}, inputs.get("properties") or {}
    return [
        Problem(
            property="properties",
            reason=f"property {key!r} cannot change from {value!r} to {after.get(key)!r}: "
            "properties are immutable, tags are not",
        )
        for key, value in before.items()
        if after.get(key) != value
    ]


def note(text: str) -> None:
    """Shows one line of progress to whoever runs `pulumi`, for as long as it is the newest.

    What a provider prints, the engine repeats below the result, all of it; a status line it does not.
    """
    if (engine := _engine()) is None:
        print(text, flush=True)
        return
    with contextlib.suppress(grpc.RpcError):  # progress that is not seen is no reason to fail
        engine.Log(
            engine_pb2.LogRequest(severity=engine_pb2.INFO, message=text, ephemeral=True), timeout=_NOTE_TIMEOUT_SECONDS
        )


@functools.cache
def _engine() -> engine_pb2_grpc.EngineStub | None:
    """The engine whose provider this process is: it gives its address as the only argument. None for any other."""
    if len(sys.argv) != 2 or not _ENGINE_ADDRESS.fullmatch(sys.argv[1]):
        return None
    # Whatever proxy the user has, the engine is on this machine.
    return engine_pb2_grpc.EngineStub(grpc.insecure_channel(sys.argv[1], options=[("grpc.enable_http_proxy", 0)]))
