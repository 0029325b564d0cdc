"""azureml.accel's client, the real one and a stand-in that needs no TensorFlow, against the service."""

from __future__ import annotations

import base64
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tests.contract.conformance.azureml_wire import AccelClient, BrainwaveClient, GaveUp, Sample
from tests.contract.conformance.row import INPUT, KEY, OUTPUT, SERVICE, image
from tests.support.scripts import ScriptProcess

DRIVER = Path(__file__).with_name("azureml_driver.py")
DT_STRING = 7
PATIENCE = [1, 2, 4, 8]
"""What the client waits between its five attempts, in seconds."""


@pytest.fixture(scope="module")
def driver(certificate: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """driver(python, which, trusting): a process with that client, which trusts the tests' own authority or none."""
    running: dict[tuple[str, bool], ScriptProcess] = {}
    logs = tmp_path_factory.mktemp("drivers")
    with contextlib.ExitStack() as stack:

        def find(python: Any, which: str, trusting: bool) -> ScriptProcess:
            if (which, trusting) not in running:
                trusted = {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(certificate.roots)} if trusting else {}
                process = ScriptProcess([python, DRIVER, which], logs / f"{which}-{len(running)}", **trusted)
                running[which, trusting] = stack.enter_context(process)
            return running[which, trusting]

        yield find


@pytest.fixture(params=["stand-in", "real"])
def score(request: pytest.FixtureRequest, driver: Any) -> Any:
    """score(actions, trusting=True): what the client makes of the actions; it trusts the tests' authority or not."""
    python = sys.executable if request.param == "stand-in" else request.getfixturevalue("foreign_python")

    def run(actions: list[dict[str, Any]], *, trusting: bool = True) -> list[dict[str, Any]]:
        results = driver(python, request.param, trusting).ask(actions)
        assert isinstance(results, list)
        return results

    return run


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "image.png"
    path.write_bytes(base64.b64decode(image()))
    return str(path)


def client(service: Any, **changes: Any) -> dict[str, Any]:
    """Arguments of the client for a running service."""
    return {
        "address": "localhost",
        "port": service.port,
        "access_token": KEY,
        "service_name": SERVICE,
        "use_ssl": hasattr(service, "roots"),
        **changes,
    }


def file(service: Any, path: str, arguments: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """score_file on a service."""
    return {
        "client": client(service, **changes),
        "method": "score_file",
        "arguments": {"path": path, **(arguments or {})},
    }


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_scores(score, server, picture, tls):
    """Files, tensors and arrays are scored, by alias and by tensor name, plain and with TLS."""
    service = server("keys", tls=tls)
    names = {"input_name": INPUT, "outputs": OUTPUT}
    tensor = {"images": {"tensor": image(), "shape": [1], "dtype": DT_STRING}}
    arrays = {"images": {"strings": [image(), image(2)]}}

    found = score(
        [
            file(service, picture, names),
            file(service, picture),
            file(service, picture, {"outputs": "output_alias"}),
            {"client": client(service), "method": "score_tensors", "arguments": {"input_map": tensor}},
            {"client": client(service), "method": "score_numpy_arrays", "arguments": {"input_map": arrays}},
        ]
    )

    assert [result.get("error") for result in found] == [None] * 5
    by_name, by_default, by_alias, one, two = (np.array(result["array"]) for result in found)
    assert [array.shape for array in (by_name, by_default, by_alias, one, two)] == [(10,)] * 3 + [(1, 10), (2, 10)]
    assert by_name.sum() == pytest.approx(1.0, abs=1e-5)
    assert np.array_equal(by_name, by_default)
    assert np.array_equal(by_name, by_alias)
    assert np.array_equal(by_name, one[0])
    assert np.array_equal(by_name, two[0])
    assert all(result["pauses"] == [] for result in found)


def test_what_the_caller_must_change_fails_at_once(score, server, tmp_path, picture):
    """Bad images, names and types cost no waiting: the client gives up on INVALID_ARGUMENT only."""
    service = server("keys")
    text = tmp_path / "notes.txt"
    text.write_text("no image")
    numbers = {"images": {"numbers": [[1.5, 2.5]], "dtype": "float32"}}
    single = {"images": {"numbers": [1.5], "dtype": "float64"}}

    found = score(
        [
            file(service, str(text)),
            file(service, picture, {"input_name": "image"}),
            {"client": client(service), "method": "score_numpy_arrays", "arguments": {"input_map": numbers}},
            {"client": client(service), "method": "score_numpy_arrays", "arguments": {"input_map": single}},
        ]
    )

    assert found == [{"error": "RpcError", "code": "INVALID_ARGUMENT", "pauses": []}] * 4


def test_outputs_that_are_not_there(score, server, picture):
    """A name in the other naming is not among the answers, and a list of names fails in the client itself."""
    service = server("keys")

    found = score([file(service, picture, {"outputs": OUTPUT}), file(service, picture, {"outputs": ["output_alias"]})])

    assert [result["error"] for result in found] == ["TypeError", "AttributeError"]


def test_keys(score, server, picture):
    """A wrong or empty key is UNAUTHENTICATED after the client's patience; without authentication any key will do."""
    found = score(
        [
            file(server("keys"), picture, access_token="wrong-key-0123456789"),
            file(server("keys"), picture, access_token=""),
            file(server("open"), picture, access_token=""),
            file(server("open"), picture, access_token="any"),
        ]
    )

    refused = {"error": "RpcError", "code": "UNAUTHENTICATED", "pauses": PATIENCE}
    assert found[:2] == [refused, refused]
    assert [len(result["array"]) for result in found[2:]] == [10, 10]


def test_untrusted_certificate(score, server, picture):
    """A certificate of an authority the client does not know is UNAVAILABLE after its patience."""
    assert score([file(server("keys", tls=True), picture)], trusting=False) == [
        {"error": "RpcError", "code": "UNAVAILABLE", "pauses": PATIENCE}
    ]


def test_stand_in_checks_its_arguments():
    """An address is needed."""
    with pytest.raises(ValueError, match="address"):
        AccelClient(None, pause=lambda _: None)


class TestOlderClient:
    """azureml.contrib.brainwave's, which sends no key: it needs a service without authentication."""

    @pytest.fixture
    def pauses(self) -> list[float]:
        return []

    def test_scores(self, server, picture, pauses):
        """Paths, bytes and tensors are scored with its fixed names."""
        older = BrainwaveClient("localhost", server("open").port, pause=pauses.append)

        by_path, by_bytes = older.score_image(picture), older.score_file(Path(picture).read_bytes())

        assert by_path.shape == (10,)
        assert np.array_equal(by_path, by_bytes)
        assert older.score_tensor(Path(picture).read_bytes(), [1], DT_STRING).dtype == 1

    def test_a_failed_call_has_its_request_id(self, server, picture, pauses):
        """It finds a request_id with each of five refused attempts; without one it would hide the real error."""
        older = BrainwaveClient("localhost", server("keys").port, pause=pauses.append)

        with pytest.raises(GaveUp) as raised:
            older.score_image(picture)

        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert len(set(raised.value.request_ids)) == 5
        assert pauses == PATIENCE

    def test_float_arrays_are_refused_at_once(self, server, pauses):
        """An array where images belong is INVALID_ARGUMENT."""
        older = BrainwaveClient("localhost", server("open").port, pause=pauses.append)

        with pytest.raises(grpc.RpcError) as raised:
            older.score_numpy_array(np.zeros((1, 3)))

        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert pauses == []


class TestSamples:
    """The C# programs."""

    @pytest.fixture
    def opened(self, server: Any, request: pytest.FixtureRequest) -> Iterator[grpc.Channel]:
        name, tls = request.param
        with contextlib.closing(server(name, tls=tls).channel()) as found:
            yield found

    @pytest.mark.parametrize("opened", [("keys", True), ("keys", False)], indirect=True, ids=["tls", "plain"])
    def test_of_2018(self, opened):
        """A bare key and an empty model_spec are answered under output_alias."""
        assert Sample.of_2018(KEY).score(opened, base64.b64decode(image()), no_pause).shape == (1, 10)

    @pytest.mark.parametrize("opened", [("open", False)], indirect=True)
    def test_of_2019(self, opened):
        """A route and no key are enough for a service without authentication."""
        assert Sample.of_2019(SERVICE).score(opened, base64.b64decode(image()), no_pause).shape == (1, 10)

    @pytest.mark.parametrize("opened", [("keys", False)], indirect=True)
    def test_of_2018_does_not_repeat_a_wrong_key(self, opened):
        """UNAUTHENTICATED is not among the failures it tries again."""
        with pytest.raises(grpc.RpcError) as raised:
            Sample.of_2018("wrong-key-0123456789").score(opened, base64.b64decode(image()), no_pause)

        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED


def no_pause(seconds: float) -> None:
    """Fails: no attempt should have to be repeated."""
    raise AssertionError(f"waited {seconds} s for another attempt")
