"""Predict."""

from __future__ import annotations

import base64
from typing import Any

from tests.contract.conformance.row import INPUT, MODEL, OUTPUT, SERVICE, VERSION, Reply, Row, image, spec, strings

PREDICT_IMPL = "servables/tensorflow/predict_impl.cc"
PREDICT_UTIL = "servables/tensorflow/predict_util.cc"
SERVER_CORE = "model_servers/server_core.cc"
MANAGER = "core/basic_manager.cc"
RESIDENT = "azureml.accel's client never names a model; strict_model_spec turns TensorFlow Serving's rule on"
NAMES = "tensor names are accepted beside aliases, and the answer uses the naming of the request"


def request(**changes: Any) -> dict[str, Any]:
    """A request for one plain image, with changes to it."""
    return {"model_spec": spec(), "inputs": {"images": strings(image())}, **changes}


def numbers(*words: str) -> dict[str, Any]:
    """A tensor of the small model of tensors, beginning with these values and full of the last of them."""
    dims = [{"size": size} for size in (1, 3, 4, 4)]
    return {"dtype": "DT_FLOAT", "tensor_shape": {"dim": dims}, "float_val": list(words)}


def one_key(name: str) -> Any:
    """Whether the answer holds exactly this output, of one image."""

    def check(reply: Reply) -> bool:
        sizes = [int(dim["size"]) for dim in reply["outputs"][name]["tensor_shape"]["dim"]]
        return list(reply["outputs"]) == [name] and sizes == [1, 10]

    return check


def effective(reply: Reply) -> bool:
    """Whether the answer names the model, version and signature that were used."""
    return reply["model_spec"] == {"name": MODEL, "version": str(VERSION), "signature_name": "serving_default"}


def row(when: str, theirs: str, says: str, source: str, **more: Any) -> Row:
    """A row of Predict."""
    return Row(rpc="Predict", when=when, theirs=theirs, says=says, source=source, **more)


ROWS = (
    row(
        "model, no version",
        "OK",
        "newest version; names what it used",
        PREDICT_UTIL,
        request=request(),
        reply=effective,
    ),
    row("model and version", "OK", "that version", SERVER_CORE, request=request(model_spec=spec(version=VERSION))),
    row(
        "the signature by name",
        "OK",
        "that signature",
        PREDICT_UTIL,
        request=request(model_spec=spec(signature_name="serving_default")),
        reply=effective,
    ),
    row(
        "no `model_spec`",
        "INVALID_ARGUMENT",
        "the spec is missing",
        PREDICT_IMPL,
        ours="OK",
        why=RESIDENT,
        request={"inputs": request()["inputs"]},
        reply=effective,
    ),
    row(
        "`model_spec` without a name",
        "INVALID_ARGUMENT",
        "the spec has no name",
        SERVER_CORE,
        ours="OK",
        why=RESIDENT,
        request=request(model_spec=spec("")),
        reply=effective,
    ),
    row(
        "no `model_spec`, with `strict_model_spec`",
        "INVALID_ARGUMENT",
        "the spec is missing",
        PREDICT_IMPL,
        server="strict",
        request={"inputs": request()["inputs"]},
        naming=("model_spec",),
    ),
    row(
        "`model_spec` without a name, with `strict_model_spec`",
        "INVALID_ARGUMENT",
        "the spec has no name",
        SERVER_CORE,
        server="strict",
        request=request(model_spec=spec("")),
        naming=("model_spec",),
    ),
    row("a name, with `strict_model_spec`", "OK", "as always", SERVER_CORE, server="strict", request=request()),
    row(
        "the service's name as model",
        "NOT_FOUND",
        "no such servable",
        MANAGER,
        ours="OK",
        why="a deployed service is the address people were given; it holds one model",
        request=request(model_spec=spec(SERVICE)),
        reply=effective,
    ),
    row(
        "unknown model",
        "NOT_FOUND",
        "no servable for the newest version of that name",
        MANAGER,
        request=request(model_spec=spec("another")),
        naming=("another",),
    ),
    row(
        "unknown version",
        "NOT_FOUND",
        "no servable for that version",
        MANAGER,
        request=request(model_spec=spec(version=4)),
        naming=("4",),
    ),
    row("version 0", "NOT_FOUND", "no servable for that version", MANAGER, request=request(model_spec=spec(version=0))),
    row(
        "unknown version label",
        "INVALID_ARGUMENT",
        "the label is not recognised",
        SERVER_CORE,
        request=request(model_spec=spec(version_label="stable")),
        naming=("stable",),
    ),
    row(
        "unknown signature",
        "FAILED_PRECONDITION",
        "no such signature key",
        PREDICT_UTIL,
        request=request(model_spec=spec(signature_name="other")),
        naming=("other",),
    ),
    row(
        "no input",
        "INVALID_ARGUMENT",
        "sizes differ; lists what is missing",
        PREDICT_UTIL,
        request=request(inputs={}),
        naming=("images",),
    ),
    row(
        "input of an unknown name",
        "INVALID_ARGUMENT",
        "lists the sent and the missing",
        PREDICT_UTIL,
        request=request(inputs={"image": strings(image())}),
        naming=("image", "images"),
    ),
    row(
        "an input too many",
        "INVALID_ARGUMENT",
        "lists the extra one",
        PREDICT_UTIL,
        request=request(inputs={"images": strings(image()), "extra": strings(image())}),
        naming=("extra",),
    ),
    row(
        "the same input by alias and by tensor name",
        "INVALID_ARGUMENT",
        "lists the extra one",
        PREDICT_UTIL,
        request=request(inputs={"images": strings(image()), INPUT: strings(image())}),
        naming=(INPUT,),
    ),
    row(
        "input of another type",
        "INVALID_ARGUMENT",
        "names both types",
        "tensorflow: core/common_runtime",
        request=request(
            inputs={"images": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": 1}]}, "float_val": [1.0]}}
        ),
        naming=("DT_FLOAT", "DT_STRING"),
    ),
    row(
        "values that contradict the shape",
        "INVALID_ARGUMENT",
        "the tensor cannot be parsed",
        "tensorflow: cc/saved_model/util.cc",
        request=request(inputs={"images": {**strings(image()), "tensor_shape": {"dim": [{"size": 2}]}}}),
    ),
    row(
        "a negative size in the shape",
        "INVALID_ARGUMENT",
        "the tensor cannot be parsed",
        "tensorflow: cc/saved_model/util.cc",
        request=request(inputs={"images": {**strings(image()), "tensor_shape": {"dim": [{"size": -1}]}}}),
    ),
    row(
        "an empty batch",
        "OK",
        "outputs without values",
        PREDICT_UTIL,
        request=request(inputs={"images": strings()}),
        reply=lambda reply: reply["outputs"]["output_alias"]["tensor_shape"]["dim"] == [{}, {"size": "10"}],
    ),
    row(
        "NaN or infinity in a tensor, for a model in float32",
        "OK",
        "as any other value",
        PREDICT_UTIL,
        server="float32",
        request={"inputs": {"images": numbers("NaN", "Infinity", "-Infinity")}},
    ),
    row(
        "NaN or infinity in a tensor, for a model in block floating point",
        "OK",
        "as any other value",
        PREDICT_UTIL,
        ours="INVALID_ARGUMENT",
        why="block floating point holds finite values only, and an answer would be made up",
        server="blocks",
        request={"inputs": {"images": numbers("NaN")}},
        naming=("NaN", "bw-a10-cnn"),
    ),
    row(
        "bytes that are no image",
        "INVALID_ARGUMENT",
        "the decoder's text",
        "tensorflow: core/kernels/image",
        request=request(inputs={"images": strings(base64.b64encode(b"no image").decode())}),
        naming=("JPEG",),
    ),
    row(
        "several images",
        "OK",
        "the batch comes back in order",
        PREDICT_UTIL,
        request=request(inputs={"images": strings(image(), image(2))}),
        reply=lambda reply: (
            [int(dim["size"]) for dim in reply["outputs"]["output_alias"]["tensor_shape"]["dim"]] == [2, 10]
        ),
    ),
    row(
        "an answer",
        "OK",
        "values in typed lists",
        PREDICT_UTIL,
        request=request(),
        reply=lambda reply: len(reply["outputs"]["output_alias"]["float_val"]) == 10,
    ),
    row(
        "an answer, with `tensor_content_replies`",
        "OK",
        "values as tensor_content, by a flag",
        PREDICT_UTIL,
        server="strict",
        request=request(),
        reply=lambda reply: len(base64.b64decode(reply["outputs"]["output_alias"]["tensor_content"])) == 40,
    ),
    row(
        "no `output_filter`",
        "OK",
        "all outputs, by alias",
        PREDICT_UTIL,
        request=request(),
        reply=one_key("output_alias"),
    ),
    row(
        "`output_filter` names an output",
        "OK",
        "exactly that one",
        PREDICT_UTIL,
        request=request(output_filter=["output_alias"]),
        reply=one_key("output_alias"),
    ),
    row(
        "`output_filter` names an unknown output",
        "INVALID_ARGUMENT",
        "lists the known ones",
        PREDICT_UTIL,
        request=request(output_filter=["nothing"]),
        naming=("nothing",),
    ),
    row(
        "`output_filter` names an output twice",
        "INVALID_ARGUMENT",
        "the alias is there twice",
        PREDICT_UTIL,
        request=request(output_filter=["output_alias", "output_alias"]),
    ),
    row(
        "input by tensor name",
        "INVALID_ARGUMENT",
        "aliases only",
        PREDICT_UTIL,
        ours="OK",
        why=NAMES,
        request=request(inputs={INPUT: strings(image())}),
        reply=one_key(OUTPUT),
    ),
    row(
        "`output_filter` by tensor name",
        "INVALID_ARGUMENT",
        "aliases only",
        PREDICT_UTIL,
        ours="OK",
        why=NAMES,
        request=request(output_filter=[OUTPUT]),
        reply=one_key(OUTPUT),
    ),
    row(
        "bytes that are no request",
        "INTERNAL",
        "the message cannot be parsed",
        "grpc: include/grpcpp/impl/proto_utils.h",
        ours="INVALID_ARGUMENT",
        why="the caller has to change it, and azureml.accel's client tries everything else four times more",
        raw=b"\xff\xff\xff",
    ),
    row(
        "the deadline passes while the model runs",
        "DEADLINE_EXCEEDED",
        "the deadline is the session's timeout",
        "model_servers/prediction_service_impl.cc",
        request=request(inputs={"images": strings(*[image(255)] * 4)}),
        timeout=0.3,
    ),
    row(
        "more calls than may wait",
        "OK",
        "no bound without batching; with it UNAVAILABLE when its queue is full",
        "batching/batching_session.cc",
        ours="RESOURCE_EXHAUSTED",
        why="a busy FPGA holds replica_max_concurrent_requests calls, so that a caller may go elsewhere at once",
        server="narrow",
        request=request(inputs={"images": strings(image(255))}),
        copies=8,
    ),
    row(
        "a message above the limit",
        "RESOURCE_EXHAUSTED",
        "only above 2 GiB",
        "model_servers/server.cc",
        why="the limit is max_request_bytes, 16 MiB unless set",
        server="small",
        request=request(inputs={"images": strings(base64.b64encode(bytes(100_000)).decode())}),
    ),
    row(
        "no key",
        "OK",
        "knows no keys",
        "model_servers/server.cc",
        ours="UNAUTHENTICATED",
        why="key authentication, on unless auth_enabled is false",
        key=None,
        request=request(),
    ),
    row(
        "a wrong key",
        "OK",
        "knows no keys",
        "model_servers/server.cc",
        ours="UNAUTHENTICATED",
        why="key authentication, on unless auth_enabled is false",
        key="another-key-0123456789",
        request=request(),
    ),
)
