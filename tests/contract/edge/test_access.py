"""Who may call a deployed service: certificates, tokens and keys, changed while the server runs."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from accelform.targets.edge import TlsFiles
from accelform_runtime import tokens
from accelform_runtime.client import PredictionClient
from accelform_runtime.errors import KeyRefused, ServiceUnreachable
from accelform_runtime.keys import KeyFile

KEY = "first-key-first-key"
NAME = "digits.example"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def issue(authority):
    """Makes TLS files with a new certificate for a pattern, NAME and loopback."""

    def make(client_ca: bytes = b"") -> TlsFiles:
        leaf = authority.issue_cert("*.wild.example", NAME, "127.0.0.1")
        chain = b"".join(part.bytes() for part in leaf.cert_chain_pems)
        return TlsFiles(certificate=chain, private_key=leaf.private_key_pem.bytes(), client_ca=client_ca)

    return make


@pytest.fixture
def roots(authority) -> bytes:
    return authority.cert_pem.bytes()


def shown_certificate(port: int) -> str:
    """The certificate that a new connection is shown, as PEM."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, context.wrap_socket(plain) as channel:
        return ssl.DER_cert_to_PEM_cert(channel.getpeercert(binary_form=True))


def test_a_service_over_tls(bench, tiny, runtime_image, port, issue, roots):
    """Clients that trust the authority score, plain ones do not; the box finds its service healthy and says where."""
    bench.provision()
    files = issue()
    state = bench.deploy(runtime_image(), port=port, tls=files, ssl_cname=NAME)

    assert (state.state, state.scoring_uri) == ("Healthy", f"https://{NAME}:{port}")
    assert state.ssl_cert_expires.endswith("Z")
    with PredictionClient(f"https://127.0.0.1:{port}", access_token=KEY, root_certificates=roots) as client:
        assert client.score_image(tiny.image_bytes()).array.shape == (1, 10)
    with PredictionClient(f"http://127.0.0.1:{port}", access_token=KEY) as plain, pytest.raises(ServiceUnreachable):
        plain.score_image(tiny.image_bytes(), timeout_seconds=0.5)


def test_accelform_score_over_tls(bench, tiny, runtime_image, port, issue, authority, tmp_path):
    """--ca-file says whom to trust; without it a private authority's certificate is not accepted."""
    bench.provision()
    bench.deploy(runtime_image(), port=port, tls=issue())
    (tmp_path / "picture.png").write_bytes(tiny.image_bytes())
    (tmp_path / "key").write_text(KEY)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    def score(*arguments: str) -> subprocess.CompletedProcess[str]:
        address = ("--address", f"https://127.0.0.1:{port}", "--key-file", str(tmp_path / "key"), "--timeout", "5")
        command = [sys.executable, "-m", "accelform.cli.main", "score", str(tmp_path / "picture.png"), *address]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60)

    trusting, doubting = score("--ca-file", str(tmp_path / "ca.pem")), score()

    assert trusting.returncode == 0, trusting.stderr
    assert doubting.returncode == 2
    assert "cannot be reached" in doubting.stderr


def test_a_renewed_certificate_is_in_force_without_a_pause(bench, tiny, runtime_image, port, issue, roots):
    """A deploy with another certificate returns once the running server shows it; open connections go on."""
    bench.provision()
    before, after = issue(), issue()
    bench.deploy(runtime_image(), port=port, tls=before)
    server, workers = bench.server(), bench.workers()
    with PredictionClient(f"https://127.0.0.1:{port}", access_token=KEY, root_certificates=roots) as client:
        client.score_image(tiny.image_bytes())
        bench.said.clear()

        bench.deploy(runtime_image(), port=port, tls=after)

        assert shown_certificate(port).strip() in after.certificate.decode()
        assert client.score_image(tiny.image_bytes()).array.shape == (1, 10)
    assert (bench.server(), bench.workers()) == (server, workers)
    assert not any("pauses" in text for text in bench.said)


def test_a_certificate_that_cannot_be_taken_over_is_put_back(bench, runtime_image, port, issue):
    """A running server keeps its good certificate; the failed deploy leaves that in place, with the earlier keys."""
    from accelform.errors import ServiceNotReady

    bench.provision()
    good, other = issue(), issue()
    bench.deploy(runtime_image(), port=port, tls=good)
    server = bench.server()
    wrong = TlsFiles(certificate=other.certificate, private_key=good.private_key)

    with pytest.raises(ServiceNotReady, match="do not belong together"):
        bench.deploy(runtime_image(), port=port, tls=wrong, keys=("third-key-third-key",), timeout_seconds=6)

    assert (bench.server(), bench.box.service("digits").state) == (server, "Healthy")
    assert KeyFile(bench.layout.service("digits") / "keys-a.json").verify(KEY)
    assert shown_certificate(port).strip() in good.certificate.decode()


def test_an_expired_certificate_is_the_reason(bench, runtime_image, port, issue, authority):
    """A service that the box cannot reach because its certificate ended says so, and when."""
    bench.provision()
    bench.deploy(runtime_image(), port=port, tls=issue())
    ended = authority.issue_cert(
        NAME, not_before=datetime(2020, 1, 1, tzinfo=UTC), not_after=datetime(2021, 1, 1, tzinfo=UTC)
    )
    (bench.layout.service("digits") / "tls-a.pem").write_bytes(
        ended.private_key_pem.bytes() + ended.cert_chain_pems[0].bytes()
    )

    state = bench.box.service("digits")

    assert (state.state, state.ssl_cert_expires) == ("Unhealthy", "2021-01-01T00:00:00Z")
    assert "its certificate expired on 2021-01-01T00:00:00Z" in state.reason


def test_private_keys_are_for_their_owner_only(bench, runtime_image, port, issue):
    """The file with the private key, like every file of who may call, is readable by nobody else; no other copy is."""
    bench.provision()
    files = issue(client_ca=trustme.CA().cert_pem.bytes())
    bench.deploy(runtime_image(), port=port, tls=files)

    secret = files.private_key.splitlines()[1]
    holders = [path for path in bench.box.root.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert [path.name for path in holders] == ["tls-a.pem"]
    folder = bench.layout.service("digits")
    for name in ("keys-a.json", "tls-a.pem", "clients-a.pem", "probe-a.pem"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600, name


def test_turning_tls_on_replaces_the_server_and_a_bad_pair_is_rolled_back(bench, runtime_image, port, issue):
    """TLS on or off is another server; one that cannot use its certificate leaves the old one serving."""
    from accelform.errors import ServiceNotReady

    bench.provision()
    bench.deploy(runtime_image(), port=port)
    plain = bench.server()
    good, other = issue(), issue()
    mixed = TlsFiles(certificate=good.certificate, private_key=other.private_key)
    with pytest.raises(ServiceNotReady, match=r"do not belong together.*the previous release serves again"):
        bench.deploy(runtime_image(), port=port, tls=mixed)
    assert bench.box.service("digits").scoring_uri == f"http://127.0.0.1:{port}"

    state = bench.deploy(runtime_image(), port=port, tls=good)

    assert (state.state, state.scoring_uri) == ("Healthy", f"https://127.0.0.1:{port}")
    assert bench.server() != plain
    assert shown_certificate(port).strip() in good.certificate.decode()


def test_clients_need_a_certificate_where_authorities_are_named(bench, runtime_image, port, issue, roots):
    """A client of the named authority comes in and others do not; the box still sees that its service is healthy."""
    bench.provision()
    clients = trustme.CA()
    state = bench.deploy(runtime_image(), port=port, tls=issue(client_ca=clients.cert_pem.bytes()))
    assert state.state == "Healthy"

    def health(leaf: trustme.LeafCert | None) -> int:
        key, chain = (leaf.private_key_pem.bytes(), leaf.cert_chain_pems[0].bytes()) if leaf else (None, None)
        with grpc.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(roots, key, chain)) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            return stub.Check(health_pb2.HealthCheckRequest(), timeout=5).status

    assert health(clients.issue_cert("client.example")) == health_pb2.HealthCheckResponse.SERVING
    for stranger in (None, trustme.CA().issue_cert("client.example")):
        with pytest.raises(grpc.RpcError, match="UNAVAILABLE"):
            health(stranger)
    server = bench.server()
    others = trustme.CA()
    bench.deploy(runtime_image(), port=port, tls=issue(client_ca=others.cert_pem.bytes()))
    assert health(others.issue_cert("client.example")) == health_pb2.HealthCheckResponse.SERVING
    assert bench.server() == server, "other authorities are taken over by the running server"


def test_tokens_of_the_deployed_keys_are_taken(bench, tiny, runtime_image, port):
    """A token of the deployed key comes in; while two keys are deployed, both do; then only the new one's do."""
    bench.provision()
    old, new = tokens.generate_signing_key(), tokens.generate_signing_key()

    def deploy(*keys: tokens.SigningKey) -> None:
        public = tuple(key.public_pem for key in keys)
        bench.deploy(
            runtime_image(), port=port, auth_enabled=False, keys=(), token_auth_enabled=True, token_public_keys=public
        )

    def score(key: tokens.SigningKey) -> None:
        token = tokens.mint(key.private_pem, "digits", 60)
        with PredictionClient(f"127.0.0.1:{port}", access_token=token) as client:
            client.score_image(tiny.image_bytes())

    deploy(old)
    server = bench.server()
    score(old)
    with pytest.raises(KeyRefused):
        score(new)
    deploy(new, old)
    score(old)
    score(new)
    deploy(new)
    score(new)
    with pytest.raises(KeyRefused):
        score(old)
    assert bench.server() == server


def test_the_http_side_door(bench, runtime_image, port, other_port):
    """Health and, where they are open, metrics answer on a port of their own, which the box keeps for the service."""
    from accelform.errors import PortInUse

    bench.provision(agent_count=2)
    state = bench.deploy(runtime_image(), port=port, http_enabled=True, http_port=other_port, metrics_open=True)

    def get(path: str) -> int:
        try:
            with urllib.request.urlopen(state.http_uri + path, timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    assert state.http_uri == f"http://127.0.0.1:{other_port}"
    assert (get("/readyz"), get("/metrics"), get("/v1/models/resnet50-digits")) == (200, 200, 401)
    with pytest.raises(PortInUse, match=f"port {other_port} belongs to service 'digits'"):
        bench.deploy(runtime_image("v2"), port=other_port, name="letters", owner="project/stack/other")
    bench.box.remove("digits", "project/stack/service")
    assert bench.workers() == []
