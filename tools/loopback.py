"""Proxies are for other machines: what runs here is called without one, whatever a user's environment names."""

from __future__ import annotations

from collections.abc import Mapping

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")
# gRPC reads the first of its two and never the upper-case one; Go, requests and curl read either case.
EXEMPTIONS = ("no_grpc_proxy", "no_proxy", "NO_PROXY")
LOOPBACK = ("localhost", "127.0.0.1", "127.0.0.0/8", "::1")


def exemptions(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that exempt loopback from an environment's proxies; none where it has no proxy."""
    if not any(environ.get(name) or environ.get(name.upper()) for name in PROXIES):
        return {}
    given = {name: _hosts(environ.get(name, "")) for name in EXEMPTIONS}
    shared = given["no_proxy"] or given["NO_PROXY"]
    wanted = {"no_proxy": shared, "NO_PROXY": given["NO_PROXY"] or shared}
    if given["no_grpc_proxy"]:
        wanted["no_grpc_proxy"] = given["no_grpc_proxy"]
    return {
        name: ",".join([*hosts, *(host for host in LOOPBACK if host not in hosts)]) for name, hosts in wanted.items()
    }


def _hosts(text: str) -> list[str]:
    return [host.strip() for host in text.split(",") if host.strip()]
