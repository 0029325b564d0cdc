"""The Python client against a running service."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme
from tests.support.ports import free_port
from tests.support.waiting import wait_for

from accelform_runtime.client import PredictionClient
from accelform_runtime.errors import (
    DeadlinePassed,
    InvalidRequest,
    KeyRefused,
    ServiceUnreachable,
    UnknownModel,
)

PRIMARY = "primary-key-0123456789abcdef"
SLOW = 255


@pytest.fixture
def client(service):
    with PredictionClient("127.0.0.1", service.port, access_token=PRIMARY, service_name="digits-service") as client:
        yield client


@pytest.fixture(name="free_port")
def free_port_fixture() -> int:
    return free_port()


def test_score_file(client, image, tmp_path):
    """score_file brings outputs by the alias, the best classes, and both measured and modelled times."""
    path = tmp_path / "image.jpg"
    path.write_bytes(image(kind="JPEG"))

    result = client.score_file(path)

    assert result.array.shape == (1, 10)
    assert [probability for _, probability in result.top(3)] == sorted(result.array[0], reverse=True)[:3]
    assert (result.model_name, result.model_version) == ("resnet50-digits", 3)
    assert result.modelled.latency_ms == 1.78
    assert 0 < result.server_ms < result.round_trip_ms
    assert len(result.request_id) == 32


def test_outputs_by_name(client, image):
    """A named output comes back under exactly that name."""
    name = "classifier_1/resnet_v1_50/predictions/Softmax:0"

    result = client.score_image(image(), input_name="Placeholder:0", outputs=name)

    assert list(result.outputs) == [name]


def test_arrays(client, image):
    """An array of several encoded images is a batch."""
    result = client.score_numpy_arrays({"images": np.array([image(), image(2)], dtype=object)})

    assert result.array.shape == (2, 10)


def test_scoring_uri_is_enough(service, image):
    """A scoring URI alone says where and how."""
    with PredictionClient(f"http://{service.address}/", access_token=PRIMARY) as client:
        assert client.score_image(image()).array.shape == (1, 10)


def test_wrong_key_fails_at_once(service, image):
    """A wrong key is KeyRefused without retries, and the error does not repeat it."""
    with (
        PredictionClient(service.address, access_token="wrong-key-987654") as client,
        pytest.raises(KeyRefused) as raised,
    ):
        client.score_image(image(), timeout_seconds=3600.0)  # a client that tried again would do so for an hour

    assert "wrong-key-987654" not in str(raised.value)


def test_not_an_image(client, tmp_path):
    """A file that is no image is InvalidRequest with the service's reason."""
    path = tmp_path / "notes.txt"
    path.write_text("no image")

    with pytest.raises(InvalidRequest, match="not a JPEG, PNG, GIF or BMP"):
        client.score_file(path)


def test_missing_file(client, tmp_path):
    """A missing file is InvalidRequest naming it."""
    with pytest.raises(InvalidRequest, match=r"gone\.jpg"):
        client.score_file(tmp_path / "gone.jpg")


def test_other_types_are_refused_by_the_service(client):
    """An array of numbers reaches the service and is refused by name of its type."""
    with pytest.raises(InvalidRequest, match="DT_FLOAT"):
        client.score_numpy_arrays({"images": np.zeros((1, 3), np.float32)})


def test_timeout(client, image):
    """A call that takes longer than its timeout is DeadlinePassed."""
    with pytest.raises(DeadlinePassed, match=r"0\.2 s"):
        client.score_image(image(SLOW), timeout_seconds=0.2)


def test_nobody_there(free_port, image):
    """Where nothing listens, the client gives up within its timeout and says where it looked."""
    with (
        PredictionClient("127.0.0.1", free_port) as client,
        pytest.raises(ServiceUnreachable, match=str(free_port)),
    ):
        client.score_image(image(), timeout_seconds=1.0)


def test_waits_for_a_service_that_comes_up(free_port, start, image):
    """A call made before the service listens is answered once it does."""
    answers = []
    with PredictionClient("127.0.0.1", free_port, access_token=PRIMARY) as client:
        caller = threading.Thread(target=lambda: answers.append(client.score_image(image(), timeout_seconds=30)))
        caller.start()
        start(port=free_port)
        caller.join(30)

    assert answers[0].array.shape == (1, 10)


def test_survives_a_restart(start, image):
    """A client keeps working when the service is killed and comes back on its port."""
    first = start()
    with PredictionClient(first.address, access_token=PRIMARY) as client:
        client.score_image(image())
        first.process.kill()
        first.process.wait(180)
        start(port=first.port)

        assert client.score_image(image(), timeout_seconds=20).array.shape == (1, 10)


def test_wrong_port_speaks_something_else(image):
    """A server of another kind is a clear error, not a hang."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with (
            PredictionClient("127.0.0.1", other.getsockname()[1]) as client,
            pytest.raises((ServiceUnreachable, DeadlinePassed)),
        ):
            client.score_image(image(), timeout_seconds=1.0)


def test_unknown_model_is_its_own_error(service, image, request_of):
    """NOT_FOUND becomes UnknownModel, so that a caller can tell a wrong address from a wrong picture."""
    from accelform_runtime.client.address import Address
    from accelform_runtime.client.failures import raise_for
    from accelform_runtime.protocol import model_pb2

    error = service.refusal(request_of(image(), model_spec=model_pb2.ModelSpec(name="another")))

    with pytest.raises(UnknownModel, match="another"):
        raise_for(error, Address.parse(service.address), 1.0)


def test_client_certificates(start, image, tmp_path, eventually):
    """Where a service asks for a client certificate, the client shows it; without one nothing is scored."""
    authority = trustme.CA()
    files = {"cert": authority.issue_cert("127.0.0.1"), "client": authority.issue_cert("someone@example.test")}
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    files["cert"].cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    files["cert"].private_key_pem.write_to_path(tmp_path / "key.pem")
    (tmp_path / "key.pem").chmod(0o600)
    own = start(
        ready=False,
        ssl_cert_pem_file=str(tmp_path / "cert.pem"),
        ssl_key_pem_file=str(tmp_path / "key.pem"),
        ssl_client_ca_pem_file=str(tmp_path / "ca.pem"),
    )
    listening = eventually(lambda: own.events("listening"), "the port")[0]
    eventually(lambda: own.events("serving"), "the model")
    known: dict[str, Any] = {"use_ssl": True, "access_token": PRIMARY, "root_certificates": authority.cert_pem.bytes()}
    shown = files["client"].private_key_and_cert_chain_pem.bytes()

    with PredictionClient(
        "127.0.0.1", listening["port"], client_key=shown, client_certificates=shown, **known
    ) as client:
        assert client.score_image(image()).array.shape == (1, 10)
    with PredictionClient("127.0.0.1", listening["port"], **known) as client, pytest.raises(ServiceUnreachable):
        client.score_image(image(), timeout_seconds=1.0)


def test_a_connection_that_hangs_is_tried_again(free_port, image):
    """Where the first packet of a connection is lost, as to a pod that has just gone, the client does not wait out
    gRPC's twenty seconds for it: it begins another connection, and that one may arrive."""
    with deaf_listener(free_port) as tries, PredictionClient("127.0.0.1", free_port, access_token=PRIMARY) as client:
        caller = threading.Thread(target=lambda: failed(lambda: client.score_image(image(), timeout_seconds=10)))
        caller.start()
        try:
            wait_for(lambda: len(tries()) > 1, "a second connection", 15)
        finally:
            caller.join()


@contextlib.contextmanager
def deaf_listener(port: int) -> Iterator[Callable[[], set[str]]]:
    """Listens on `port` with a full backlog, so that what comes is dropped without a word; tells which local ports have
    tried so far."""
    tried: set[str] = set()

    def tries() -> set[str]:
        tables = [Path("/proc/net", name).read_text(encoding="ascii") for name in ("tcp", "tcp6")]
        for _, local, remote, state, *_ in (line.split() for line in "".join(tables).splitlines()):
            if remote.endswith(f":{port:04X}") and state == "02":  # SYN_SENT
                tried.add(local)
        return tried

    with contextlib.ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", port))
        listener.listen(0)
        for _ in range(2):  # one more than fits
            filling = open_sockets.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(("127.0.0.1", port))
        own = set(tries())
        yield lambda: tries() - own


def failed(call: Callable[[], object]) -> None:
    """Calls in vain."""
    with pytest.raises((ServiceUnreachable, DeadlinePassed)):
        call()
