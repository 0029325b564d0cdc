"""The HTTP side door: TensorFlow Serving's REST API and probes of a real server."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import signal
import ssl
import threading

import pytest
import trustme
from tests.support.side_door import rows_of, side_door

PRIMARY = "primary-key-0123456789abcdef"
OUTPUT = "output_alias"
MODEL = "/v1/models/resnet50-digits"
SLOW = 255


@pytest.fixture(scope="module")
def service(tmp_path_factory, bundle, started, ready_service):
    """One server with HTTP for all tests that only call it."""
    settings = {
        "http_enabled": True,
        "http_port": 0,
        "max_request_bytes": 1_000_000,
        "replica_max_concurrent_requests": 2,
    }
    return ready_service(started(tmp_path_factory.mktemp("http") / "service", bundle, settings))


@pytest.fixture
def door(service, eventually):
    """Its HTTP side, with a key."""
    return side_door(service, eventually, PRIMARY)


def last_line(service, answer, eventually):
    """What the log says of the request that got `answer`."""
    wanted = answer.headers["x-request-id"]
    return eventually(
        lambda: [line for line in service.events("request") if line["request_id"] == wanted], "the request's line"
    )[0]


@pytest.mark.parametrize("path", ["", "/versions/3"])
def test_status(door, path):
    """The model's status has TensorFlow Serving's names and words."""
    answer = door.ask(MODEL + path)

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == {
        "model_version_status": [
            {"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }


def test_metadata(door):
    """The model's metadata has the signature in TensorFlow Serving's form."""
    answer = door.ask(f"{MODEL}/metadata")

    assert answer.json["model_spec"] == {"name": "resnet50-digits", "signature_name": "", "version": "3"}
    signature = answer.json["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["images"]["dtype"] == "DT_STRING"
    assert signature["inputs"]["images"]["tensor_shape"] == {
        "dim": [{"size": "-1", "name": ""}],
        "unknown_rank": False,
    }


def test_predict_equals_grpc(service, door, image, request_of):
    """An image has the same scores over HTTP and over gRPC."""
    response, _ = service.predict(request_of(image(3)))

    answer = door.ask(f"{MODEL}:predict", rows_of(image(3)))

    assert answer.status == 200, answer.body
    assert answer.json["predictions"] == [pytest.approx(list(response.outputs[OUTPUT].float_val), abs=1e-6)]


def test_columns(door, image):
    """`inputs` are answered with `outputs`."""
    column = [{"b64": base64.b64encode(image(red)).decode()} for red in (0, 1)]

    answer = door.ask(f"{MODEL}:predict", json.dumps({"inputs": {"images": column}}))

    assert [len(scores) for scores in answer.json["outputs"]] == [10, 10]


def test_times_are_headers(service, door, image, eventually):
    """What gRPC tells in trailing metadata are headers over HTTP, and the log line is as gRPC's."""
    answer = door.ask(f"{MODEL}:predict", rows_of(image()), x_request_id='mine\t"')

    assert float(answer.headers["x-accelform-fpga-latency-ms"]) == pytest.approx(1.78)
    assert {"x-accelform-measured-ms", "x-accelform-engine", "x-accelform-number-format"} <= answer.headers.keys()
    line = last_line(service, answer, eventually)
    assert {key: line[key] for key in ("code", "method", "protocol", "client_request_id")} == {
        "code": "OK",
        "method": "Predict",
        "protocol": "http",
        "client_request_id": "mine",
    }
    assert {"ms", "fpga_ms", "fpga_queue_ms"} <= line.keys()


@pytest.mark.parametrize(
    "path", [MODEL, f"{MODEL}/metadata", f"{MODEL}:predict", "/metrics", "/monitoring/prometheus/metrics", "/nowhere"]
)
@pytest.mark.parametrize("key", ["", "wrong"])
def test_without_a_key(door, path, key):
    """Every path but the probes needs a key, also those that are not there."""
    answer = door.ask(path, key=key)

    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json.keys() == {"error"}


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_need_no_key(door, path):
    """A probe has no key to show."""
    assert door.ask(path, key="").status == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nowhere", 404),
        ("/v1/models/another:predict", 404),
        (f"{MODEL}/versions/4:predict", 404),
        (f"{MODEL}/versions/latest:predict", 400),
        (f"{MODEL}:explain", 404),
        (MODEL, 405),
    ],
)
def test_refused_paths(door, image, path, status):
    """What is not there is said in JSON, with a request id."""
    answer = door.ask(path, rows_of(image()))

    assert answer.status == status
    assert answer.json["error"]
    assert answer.headers["x-request-id"]


def test_other_verbs(door):
    """Another verb is told which ones there are."""
    answer = door.ask(f"{MODEL}:predict", method="GET")

    assert (answer.status, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "{}", '{"instances": 5}', '{"instances": [{"b64": "no"}]}', "\xff", "[" * 50_000]
)
def test_bad_json(service, door, body):
    """A body that is no question is a 400, and the next question is answered."""
    answer = door.ask(f"{MODEL}:predict", body.encode("latin-1"))

    assert answer.status == 400
    assert answer.json["error"]
    assert service.health() == 1


def test_too_long(door):
    """More than max_request_bytes is a 413, also when it is more only after inflation."""
    long = b" " * 1_000_001

    assert door.ask(f"{MODEL}:predict", long).status == 413
    assert door.ask(f"{MODEL}:predict", gzip.compress(long), content_encoding="gzip").status == 413


def test_gzip(door, image):
    """A request may be compressed."""
    packed = gzip.compress(rows_of(image()).encode())

    assert door.ask(f"{MODEL}:predict", packed, content_encoding="gzip").status == 200


def test_full_queue(start, image, request_of, eventually):
    """A call more than the queue holds is a 429 that says when to come again."""
    own = start(http_enabled=True, http_port=0, replica_max_concurrent_requests=2)
    calls = [own.begin(request_of(*[image(SLOW)] * 2)) for _ in range(2)]

    answer = side_door(own, eventually, PRIMARY).ask(f"{MODEL}:predict", rows_of(image()))

    assert answer.status == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert [call.code().name for call in calls] == ["OK"] * 2


def test_deadline(service, door, image, eventually):
    """X-Timeout-Ms ends the call as a gRPC deadline does."""
    answer = door.ask(f"{MODEL}:predict", rows_of(*[image(SLOW)] * 8), x_timeout_ms="200")

    assert answer.status == 504
    assert last_line(service, answer, eventually)["code"] == "DEADLINE_EXCEEDED"
    assert door.ask(f"{MODEL}:predict", rows_of(image()), x_timeout_ms="soon").status == 400


def test_caller_leaves(start, image, eventually):
    """A caller that closes its connection frees the FPGA for the next one."""
    own = start(http_enabled=True, http_port=0)
    door = side_door(own, eventually, PRIMARY)
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=60)
    connection.request("POST", f"{MODEL}:predict", rows_of(*[image(SLOW)] * 60), {"Authorization": f"Bearer {PRIMARY}"})
    eventually(lambda: door.value("accelform_calls_in_flight") == 1, "the call")
    connection.close()

    answer = door.ask(f"{MODEL}:predict", rows_of(image()))

    assert answer.status == 200
    eventually(lambda: [line for line in own.events("request") if line["code"] == "CANCELLED"], "the cancelled call")


def test_not_ready_while_draining(start, image, eventually):
    """After SIGTERM readiness is red while calls are still answered, and liveness stays green."""
    own = start(http_enabled=True, http_port=0, lame_duck_seconds=60.0)
    door = side_door(own, eventually, PRIMARY)
    assert door.ask("/readyz", key="").status == 200
    own.process.send_signal(signal.SIGTERM)
    eventually(lambda: own.events("draining"), "the drain")

    assert door.ask("/readyz", key="").status == 503
    assert door.ask("/healthz", key="").status == 200
    assert door.ask(f"{MODEL}:predict", rows_of(image())).status == 200
    assert own.terminate() == 0


def test_drain_finishes_accepted_calls(start, image, eventually):
    """A call over HTTP that was accepted before SIGTERM gets its answer."""
    own = start(http_enabled=True, http_port=0, drain_seconds=60.0)
    door, answers = side_door(own, eventually, PRIMARY), []
    body = rows_of(*[image(SLOW)] * 2)
    caller = threading.Thread(target=lambda: answers.append(door.ask(f"{MODEL}:predict", body)))
    caller.start()
    eventually(lambda: door.value("accelform_calls_in_flight") == 1, "the call")
    own.process.send_signal(signal.SIGTERM)

    caller.join(60)

    assert answers[0].status == 200
    assert own.process.wait(60) == 0


def test_no_http_unless_asked_for(start):
    """Without http_enabled there is no second port."""
    assert not start().events("listening_http")


def test_tls(tmp_path, start, eventually, image):
    """With TLS the side door speaks it too, HTTP/1.1 even to clients that would like HTTP/2."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    chain, private = tmp_path / "tls.crt", tmp_path / "tls.key"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    private.write_bytes(issued.private_key_pem.bytes())
    private.chmod(0o600)
    own = start(
        ready=False, http_enabled=True, http_port=0, ssl_cert_pem_file=str(chain), ssl_key_pem_file=str(private)
    )
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    door = side_door(own, eventually, PRIMARY, context)
    eventually(lambda: door.ask("/readyz").status == 200, "SERVING")

    assert door.ask(f"{MODEL}:predict", rows_of(image())).status == 200
    assert door.value("accelform_certificate_expiry_timestamp_seconds") > 1_700_000_000
