"""Who may call what: every method that reflection lists and every path over HTTP, for every wrong way to show a key."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jwt
import pytest
from tests.contract.hostile.conftest import SETTINGS, bearer, hang_up, http_port_of
from tests.contract.hostile.mutations import VALID, path_of
from tests.contract.runtime.conftest import PRIMARY, Metadata, Service, wait_until_serving
from tests.support.raw_http2 import RawConnection, message_of
from tests.support.reflection import Reflection
from tests.support.side_door import SideDoor

from accelform_runtime.tokens import generate_signing_key, mint, write_token_keys_file

NAME = "digits-service"
UNAUTHENTICATED = 16
PROTOCOL_ERROR = 1
MODEL = "/v1/models/resnet50-digits"
HTTP = [
    ("GET", MODEL),
    ("GET", "/v1/models"),
    ("GET", f"{MODEL}/versions/3"),
    ("GET", f"{MODEL}/metadata"),
    ("GET", f"{MODEL}/versions/3/metadata"),
    ("POST", f"{MODEL}:predict"),
    ("POST", f"{MODEL}:classify"),
    ("POST", f"{MODEL}:regress"),
    ("POST", f"{MODEL}/labels/x:predict"),
    ("GET", "/nowhere"),
    ("GET", "/"),
    ("DELETE", MODEL),
    ("OPTIONS", MODEL),
    ("PROPFIND", "/"),
    ("GET", "/healthz/"),
    ("GET", "//healthz"),
    ("GET", "/healthz/../v1/models"),
    ("GET", "/%68ealthz"),
    ("GET", "/metrics/"),
    ("GET", "/debug/pprof/"),
]
METRICS = ["/metrics", "/monitoring/prometheus/metrics"]
PROBES = ["/healthz", "/readyz"]


@dataclass(frozen=True)
class Door:
    """A service, what opens it, and what must not."""

    service: Service
    good: str
    bad: dict[str, Metadata]


def wrong(good: str) -> dict[str, Metadata]:
    """Metadata that opens nothing, by what is wrong with it."""
    key = "authorization"
    return {
        "nothing": (),
        "empty": ((key, ""),),
        "only-bearer": ((key, "Bearer"),),
        "cut": ((key, f"Bearer {good[:-1]}"),),
        "longer": ((key, f"Bearer {good}x"),),
        "basic": ((key, f"Basic {good}"),),
        "twice-bearer": ((key, f"Bearer Bearer {good}"),),
        "another-header": (("x-api-key", good), ("proxy-authorization", f"Bearer {good}")),
        "wrong-first": ((key, "Bearer wrong"), (key, f"Bearer {good}")),
        "right-first": ((key, f"Bearer {good}"), (key, "Bearer wrong")),
        "right-twice": ((key, f"Bearer {good}"), (key, f"Bearer {good}")),
        "a-megabyte-less": ((key, "Bearer " + "x" * 10_000),),
        "bytes": ((key, "Bearer \x01\x7f"),),
        "binary-header": (("authorization-bin", "QUJD"),),
    }


@pytest.fixture(scope="module")
def keys(shared: Service) -> Door:
    return Door(shared, PRIMARY, wrong(PRIMARY))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory, bundle: Path, started: Callable[..., Service]) -> Door:
    """A service that takes tokens, with its metrics closed."""
    folder = tmp_path_factory.mktemp("tokens")
    own, foreign = generate_signing_key(), generate_signing_key()
    write_token_keys_file(folder / "tokens.pem", [own.public_pem])
    settings = {
        **SETTINGS,
        "metrics_open": False,
        "auth_enabled": False,
        "keys_file": "",
        "token_auth_enabled": True,
        "token_keys_file": str(folder / "tokens.pem"),
    }
    service = wait_until_serving(started(folder / "service", bundle, settings))
    good = mint(own.private_pem, NAME)
    past = {"aud": NAME, "iat": int(time.time()) - 7200, "exp": int(time.time()) - 3600}
    head, body, signature = good.split(".")
    bad = {
        "expired": jwt.encode(past, own.private_pem, algorithm="EdDSA"),
        "endless": jwt.encode({"aud": NAME, "iat": int(time.time())}, own.private_pem, algorithm="EdDSA"),
        "foreign": mint(foreign.private_pem, NAME),
        "for-another": mint(own.private_pem, "another-service"),
        "unsigned": jwt.encode({**past, "exp": int(time.time()) + 60}, None, algorithm="none"),
        "without-signature": f"{head}.{body}.",
        "other-signature": f"{head}.{body}.{mint(own.private_pem, 'x').split('.')[2]}",
        "four-parts": f"{good}.{signature}",
    }
    return Door(service, good, {**wrong(good), **{name: bearer(token) for name, token in bad.items()}})


@pytest.fixture(params=["keys", "tokens"])
def door(request: pytest.FixtureRequest) -> Door:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Door)
    return found


def methods(door: Door) -> set[str]:
    """Every method that the service itself tells of."""
    reflection = Reflection("v1", door.service.channel(), bearer(door.good))
    found: set[str] = set()
    for name in reflection.services():
        for file in reflection.files(file_containing_symbol=name).values():
            for service in file.service:
                found |= {f"/{file.package}.{service.name}/{method.name}" for method in service.method}
    hang_up(door.service)
    return found


def test_every_grpc_method_needs_a_key(door):
    """Every method but health's is UNAUTHENTICATED for every wrong key, in both forms of reflection too."""
    found = methods(door)
    assert found >= {path_of(name) for name in VALID}
    assert len(found) >= 12
    guarded = sorted(path for path in found if not path.startswith("/grpc.health.v1.Health/"))
    let_in = []
    for path in [*guarded, "/x/y", "/tensorflow.serving.PredictionService/None", "/grpc.health.v1.Healthy/Check"]:
        with RawConnection(door.service.port) as connection:
            for what, metadata in door.bad.items():
                outcome = connection.ask(path, b"", metadata)
                if outcome.status != UNAUTHENTICATED and not (what == "bytes" and outcome.reset == PROTOCOL_ERROR):
                    let_in.append((path, what, outcome))

    assert let_in == []


def test_a_good_key_opens_every_grpc_method(door):
    """The same calls with a good key are let in, so that what was refused was the key."""
    with RawConnection(door.service.port) as connection:
        for name, message in VALID.items():
            if not name.endswith("Watch"):
                assert connection.ask(path_of(name), message, bearer(door.good)).status not in (UNAUTHENTICATED, None)


def test_health_needs_no_key(door):
    """Check, List and Watch answer whoever asks, also with a wrong key."""
    for metadata in [(), *(door.bad[name] for name in ("cut", "longer", "empty"))]:
        with RawConnection(door.service.port) as connection:
            assert connection.ask("/grpc.health.v1.Health/Check", b"", metadata).status == 0
            assert connection.ask("/grpc.health.v1.Health/List", b"", metadata).status == 0
            stream = connection.call("/grpc.health.v1.Health/Watch", message_of(b""), metadata)
            assert connection.reply(stream) == message_of(b"\x08\x01")


def http_codes(door: Door, method: str, path: str) -> dict[str, int]:
    """The status by what was wrong with the key; 400 where HTTP itself turns the header down."""
    found = {}
    for what, metadata in door.bad.items():
        with socket.create_connection(("127.0.0.1", http_port_of(door.service)), timeout=10) as connection:
            shown = "".join(f"{name}: {value}\r\n" for name, value in metadata)
            head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{shown}\r\n"
            connection.sendall(head.encode("latin-1"))
            found[what] = int(connection.makefile("rb").readline().split()[1])
    return found


@pytest.mark.parametrize(("method", "path"), HTTP)
def test_every_http_route_needs_a_key(door, method, path):
    """Every path but the probes is 401 for every wrong key, also where there is nothing."""
    codes = http_codes(door, method, path)

    assert {what: code for what, code in codes.items() if code != 401 and (what, code) != ("bytes", 400)} == {}


@pytest.mark.parametrize("path", METRICS)
def test_metrics(keys, tokens, path):
    """metrics_open opens the metrics; without it they need a key as everything else does."""
    assert SideDoor(http_port_of(keys.service)).ask(path).status == 200
    assert set(http_codes(tokens, "GET", path).values()) <= {401, 400}
    assert SideDoor(http_port_of(tokens.service), tokens.good).ask(path).status == 200


def test_probes_need_no_key(door):
    """Probes answer whoever asks, whatever they show."""
    for path in PROBES:
        assert set(http_codes(door, "GET", path).values()) <= {200, 400}


def test_no_key_is_told(door):
    """Neither log nor metrics repeat what was shown."""
    text = (
        door.service.log_path.read_text()
        + SideDoor(http_port_of(door.service), door.good).ask("/metrics").body.decode()
    )

    assert door.good not in text
    assert door.good[:-1] not in text
