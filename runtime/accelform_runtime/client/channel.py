"""How the client's channel behaves where a service was replaced, moved, or is away for a moment."""

from __future__ import annotations

from typing import Any, Final

CONNECT_MS: Final = 2000
"""Longest try to connect; gRPC's own is 20 s. The first packet of a connection to a pod that has just gone is lost in a
cluster, and its repetitions go the same way (conntrack remembers where the first one went): only a new try arrives."""
FIRST_BACKOFF_MS: Final = 100
LONGEST_BACKOFF_MS: Final = 1000
"""gRPC's own is 120 s."""
PING_MS: Final = 20_000
"""During a call without a word from the service for so long it is asked whether it is there; a node that lost its power
says no goodbye. The server takes a ping every 10 s."""
PING_ANSWER_MS: Final = 10_000

RECONNECTING: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.min_reconnect_backoff_ms", CONNECT_MS),
    ("grpc.initial_reconnect_backoff_ms", FIRST_BACKOFF_MS),
    ("grpc.max_reconnect_backoff_ms", LONGEST_BACKOFF_MS),
    ("grpc.keepalive_time_ms", PING_MS),
    ("grpc.keepalive_timeout_ms", PING_ANSWER_MS),
    ("grpc.http2.max_pings_without_data", 0),
)
"""Channel options with which any gRPC client finds a service soon that was away."""
