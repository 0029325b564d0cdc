"""The client of a service: images or arrays in, outputs and times out."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import grpc
import numpy as np
from google.protobuf import struct_pb2
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from accelform_runtime import protocol
from accelform_runtime.client._result import Exactness, Modelled, ScoreResult
from accelform_runtime.client.address import Address
from accelform_runtime.client.channel import RECONNECTING
from accelform_runtime.client.failures import raise_for
from accelform_runtime.errors import InvalidRequest, KeyRefused, ServiceFailed
from accelform_runtime.protocol import metadata_pb2, predict_pb2, tensors

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 1.0
_RETRIED: Final = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,  # nobody here cancels: it is how gRPC ends what reaches a server as it closes
)
_NO_SUCH_FIELD: Final = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED)
"""What servers say that have no labels to tell."""
MAX_REPLY_BYTES: Final = 64 * 1024 * 1024


class PredictionClient:
    """Calls one service. Use it as a context manager, or close() it.

    A call is repeated only while nothing answers or the service is closing, and only within its timeout; every other
    failure is told at once.
    """

    def __init__(
        self,
        address: str,
        port: int | None = None,
        use_ssl: bool = False,
        access_token: str = "",
        service_name: str = "",
        *,
        root_certificates: bytes | None = None,
        client_key: bytes | None = None,
        client_certificates: bytes | None = None,
    ) -> None:
        """`address` is a scoring URI, `HOST:PORT`, or a host with `port` beside it; `access_token` is a service key or
        a token. The certificates are PEM: whom to trust, and with its key what a service that asks for a client
        certificate is shown.

        Raises AddressInvalid, and KeyRefused for a key that no service can have.
        """
        self.address = Address.parse(address, port=port, use_ssl=use_ssl)
        if not all(" " < character <= "~" for character in access_token):
            raise KeyRefused("the key holds spaces or characters outside ASCII; check that it was copied whole")
        metadata = []
        if access_token:
            metadata.append((protocol.AUTHORIZATION_KEY, f"Bearer {access_token}"))
        if service_name:
            metadata.append((protocol.ROUTE_KEY, protocol.ROUTE_PREFIX + service_name))
        self._metadata: Final = tuple(metadata)
        options = [
            ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
            *RECONNECTING,
        ]
        if self.address.is_loopback:
            options.append(("grpc.enable_http_proxy", 0))
        if self.address.use_ssl:
            credentials = grpc.ssl_channel_credentials(root_certificates, client_key, client_certificates)
            self._channel = grpc.secure_channel(self.address.target, credentials, options=options)
        else:
            self._channel = grpc.insecure_channel(self.address.target, options=options)
        self._predict = self._channel.unary_unary(protocol.PREDICT)
        self._tell_metadata = self._channel.unary_unary(
            protocol.GET_MODEL_METADATA,
            request_serializer=metadata_pb2.GetModelMetadataRequest.SerializeToString,
            response_deserializer=metadata_pb2.GetModelMetadataResponse.FromString,
        )

    def score_file(
        self,
        path: str | Path,
        input_name: str = "images",
        outputs: str | Sequence[str] | None = None,
        timeout_seconds: float = 10.0,
        *,
        certified: bool = False,
    ) -> ScoreResult:
        """Scores the image file at `path`; `outputs` None asks for all.

        `certified` asks for an answer that is known to equal the number format's definition bit for bit; it may take
        a hundred times as long.

        Raises InvalidRequest (not an image the service takes, unknown names), KeyRefused, UnknownModel, Overloaded,
        DeadlinePassed, ServiceUnreachable or ServiceFailed.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise InvalidRequest(f"cannot read image {path}: {error.strerror}") from error
        return self.score_image(data, input_name, outputs, timeout_seconds, certified=certified)

    def score_image(
        self,
        data: bytes,
        input_name: str = "images",
        outputs: str | Sequence[str] | None = None,
        timeout_seconds: float = 10.0,
        *,
        certified: bool = False,
    ) -> ScoreResult:
        """Scores one encoded image; raises what score_file raises."""
        batch = np.array([data], dtype=np.object_)
        return self.score_numpy_arrays({input_name: batch}, outputs, timeout_seconds, certified=certified)

    def score_numpy_arrays(
        self,
        input_map: Mapping[str, NDArray[Any]],
        outputs: str | Sequence[str] | None = None,
        timeout_seconds: float = 30.0,
        *,
        certified: bool = False,
    ) -> ScoreResult:
        """Scores arrays by input name; arrays of bytes objects are DT_STRING. Raises what score_file raises."""
        request = predict_pb2.PredictRequest()
        for name, values in input_map.items():
            request.inputs[name].CopyFrom(tensors.from_numpy(values))
        request.output_filter.extend([outputs] if isinstance(outputs, str) else outputs or ())
        return self._call(request.SerializeToString(), timeout_seconds, certified)

    def labels(self, timeout_seconds: float = 10.0) -> tuple[str, ...]:
        """The names of the resident model's classes, in the order of its output; none where the service knows none.

        Raises what score_file raises.
        """
        request = metadata_pb2.GetModelMetadataRequest(metadata_field=[protocol.LABELS_FIELD])
        try:
            reply = self._tell_metadata(request, timeout=timeout_seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            if error.code() in _NO_SUCH_FIELD:
                return ()
            raise_for(error, self.address, timeout_seconds)
        labels = struct_pb2.ListValue()
        reply.metadata[protocol.LABELS_FIELD].Unpack(labels)
        return tuple(value.string_value for value in labels.values)

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def __enter__(self) -> PredictionClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, message: bytes, timeout_seconds: float, certified: bool) -> ScoreResult:
        metadata = (*self._metadata, (protocol.EXACTNESS_KEY, protocol.CERTIFICATE)) if certified else self._metadata
        deadline = time.monotonic() + timeout_seconds
        pause = FIRST_PAUSE_SECONDS
        while True:
            started = time.perf_counter()
            try:
                reply, call = self._predict.with_call(
                    message, timeout=max(0.001, deadline - time.monotonic()), metadata=metadata
                )
            except grpc.RpcError as error:
                if error.code() not in _RETRIED or time.monotonic() + pause >= deadline:
                    raise_for(error, self.address, timeout_seconds)
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                return _result(reply, call, (time.perf_counter() - started) * 1000)


def _result(reply: bytes, call: grpc.Call, round_trip_ms: float) -> ScoreResult:
    response = predict_pb2.PredictResponse()
    try:
        response.ParseFromString(reply)
    except DecodeError as error:
        raise ServiceFailed("the answer is not a PredictResponse; is this a TensorFlow Serving address?") from error
    trailing = dict(call.trailing_metadata() or ())
    initial = dict(call.initial_metadata() or ())
    modelled = None
    if protocol.FPGA_LATENCY_KEY in trailing:
        modelled = Modelled(
            latency_ms=float(trailing[protocol.FPGA_LATENCY_KEY]),
            occupancy_ms=float(trailing[protocol.FPGA_OCCUPANCY_KEY]),
            queue_ms=float(trailing[protocol.FPGA_QUEUE_KEY]),
        )
    measured = trailing.get(protocol.MEASURED_KEY)
    return ScoreResult(
        # A map of protobuf has no order of its own.
        outputs={name: tensors.to_numpy(response.outputs[name]) for name in sorted(response.outputs, key=_counting)},
        model_name=response.model_spec.name,
        model_version=response.model_spec.version.value,
        request_id=str(initial.get(protocol.REQUEST_ID_KEY, "")),
        round_trip_ms=round_trip_ms,
        server_ms=float(measured) if measured is not None else None,
        modelled=modelled,
        engine=str(trailing.get(protocol.ENGINE_KEY, "")),
        number_format=str(trailing.get(protocol.NUMBER_FORMAT_KEY, "")),
        bitstream=str(trailing.get(protocol.BITSTREAM_KEY, "")),
        exactness=_exactness(trailing),
    )


def _counting(name: str) -> list[tuple[int, str]]:
    """Sorts out_2 before out_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def _exactness(trailing: Mapping[str, Any]) -> Exactness | None:
    if protocol.EXACTNESS_KEY not in trailing:
        return None
    proven, _, sums = str(trailing.get(protocol.SUMS_KEY, "0/0")).partition("/")
    return Exactness(how=str(trailing[protocol.EXACTNESS_KEY]), sums=int(sums), proven=int(proven))
