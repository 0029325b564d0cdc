"""With a proxy in the environment, what runs on this machine is called without one."""

from __future__ import annotations

import pytest
from tools.loopback import LOOPBACK, exemptions

ALL = ",".join(LOOPBACK)


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "ALL_PROXY", "grpc_proxy"])
def test_each_kind_of_proxy_exempts_loopback(name: str) -> None:
    """Whatever names the proxy, both spellings of the exemption are set: gRPC reads one, others the other."""
    assert exemptions({name: "http://proxy:3128"}) == {"no_proxy": ALL, "NO_PROXY": ALL}


def test_own_exemptions_stay() -> None:
    """Hosts that the user exempts stay, in the order they had, and each stands once."""
    found = exemptions({"https_proxy": "http://proxy:3128", "NO_PROXY": "intern.example, localhost"})
    assert found["no_proxy"] == found["NO_PROXY"] == "intern.example,localhost,127.0.0.1,127.0.0.0/8,::1"


def test_gRPC_s_own_exemption_is_kept_up() -> None:  # noqa: N802
    """gRPC reads its own variable first, so loopback has to be in that one too."""
    found = exemptions({"http_proxy": "http://proxy:3128", "no_grpc_proxy": "a.example"})
    assert found["no_grpc_proxy"] == f"a.example,{ALL}"


def test_without_a_proxy_nothing_is_set() -> None:
    """An environment without a proxy stays as it is."""
    assert exemptions({"NO_PROXY": "a.example", "http_proxy": ""}) == {}
