"""The spans that a real server sends to an OpenTelemetry collector."""

from __future__ import annotations

import socket
from concurrent import futures

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from tests.support.side_door import rows_of, side_door

PRIMARY = "primary-key-0123456789abcdef"
TRACE = "0123456789abcdef0123456789abcdef"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.resources = []
        self.spans = []
        self.port = 0

    def Export(self, request, context):  # noqa: N802 - gRPC's names
        for sent in request.resource_spans:
            self.resources.append({item.key: item.value.string_value for item in sent.resource.attributes})
            self.spans += [span for scope in sent.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def collector():
    """A collector on a port of its own."""
    kept = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(kept, server)
    kept.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield kept
    server.stop(None).wait(5)


def test_spans_hang_below_the_callers(start, collector, image, request_of, azureml, eventually):
    """A call over gRPC or HTTP has a span below its caller's, of a resource with the service's name."""
    own = start(http_enabled=True, http_port=0, otlp_endpoint=f"http://127.0.0.1:{collector.port}")
    own.predict(request_of(image()), metadata=(*azureml(), ("traceparent", PARENT)))
    door = side_door(own, eventually, PRIMARY)
    assert door.ask("/v1/models/resnet50-digits:predict", rows_of(image()), traceparent=PARENT).status == 200
    assert own.terminate() == 0

    below = [span for span in collector.spans if span.trace_id.hex() == TRACE]

    assert len([span for span in below if span.parent_span_id.hex() == PARENT.split("-")[2]]) == 2
    assert all(span.end_time_unix_nano > span.start_time_unix_nano for span in below)
    assert {resource["service.name"] for resource in collector.resources} == {"digits-service"}


def test_no_span_has_a_key_or_is_a_probes(start, collector, image, request_of):
    """Keys stay out of spans, and health checks make none."""
    own = start(otlp_endpoint=f"http://127.0.0.1:{collector.port}")
    own.predict(request_of(image()))
    own.refusal(request_of(image()), metadata=(("authorization", "Bearer wrong-key"),))
    assert own.terminate() == 0

    text = "\n".join(str(span) for span in collector.spans)

    assert collector.spans
    assert PRIMARY not in text
    assert "wrong-key" not in text
    assert "Health" not in text


@pytest.mark.parametrize("silent", [False, True])
def test_a_collector_that_is_away(start, image, request_of, silent):
    """A collector that is away, or never answers, slows no call and no stop, and every log line stays JSON."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if silent:
            listener.listen()
        own = start(otlp_endpoint=f"http://127.0.0.1:{listener.getsockname()[1]}")
        for _ in range(20):
            own.predict(request_of(image()), timeout=10)

        assert own.terminate() == 0

    assert own.events("stopped")
