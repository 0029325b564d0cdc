"""The same over HTTP."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Callable
from typing import Any

from tests.contract.conformance.row import MODEL, VERSION, image

HANDLER = "model_servers/http_rest_api_handler.cc"
UTIL = "model_servers/http_rest_api_util.cc"
CODES = "model_servers/http_server.cc"
JSON_TENSOR = "util/json_tensor.cc"
MANAGER = "core/basic_manager.cc"
SERVER_CORE = "model_servers/server_core.cc"
PREDICT_URL, CLASSIFY_URL = f"/v1/models/{MODEL}:predict", f"/v1/models/{MODEL}:classify"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RestRow:
    """A line of the HTTP table, and the request that proves it."""

    call: str
    """Method and path."""
    when: str
    theirs: int
    says: str
    source: str
    ours: int = 0
    why: str = ""
    body: str = ""
    reply: Callable[[Any], bool] | None = None

    @property
    def expected(self) -> int:
        """Our status."""
        return self.ours or self.theirs


def b64(red: int = 0) -> dict[str, str]:
    """An image as JSON carries bytes."""
    return {"b64": image(red)}


def post(when: str, theirs: int, says: str, source: str, body: Any, *, url: str = PREDICT_URL, **more: Any) -> RestRow:
    """A POST of `body`, JSON unless it is text already."""
    text = body if isinstance(body, str) else json.dumps(body)
    return RestRow(call=f"POST {url}", when=when, theirs=theirs, says=says, source=source, body=text, **more)


def get(when: str, url: str, theirs: int, says: str, source: str, **more: Any) -> RestRow:
    """A GET."""
    return RestRow(call=f"GET {url}", when=when, theirs=theirs, says=says, source=source, **more)


def scores(value: Any, count: int) -> bool:
    """Whether these are `count` rows of ten probabilities."""
    return len(value) == count and all(len(row) == 10 and abs(sum(row) - 1) < 1e-4 for row in value)


ROWS = (
    post(
        "rows",
        200,
        "`predictions`, a row each; a single output has no name",
        JSON_TENSOR,
        {"instances": [b64(), b64(2)]},
        reply=lambda answer: list(answer) == ["predictions"] and scores(answer["predictions"], 2),
    ),
    post(
        "rows with the input's name",
        200,
        "the same",
        JSON_TENSOR,
        {"instances": [{"images": b64()}]},
        reply=lambda answer: scores(answer["predictions"], 1),
    ),
    post(
        "columns",
        200,
        "`outputs`; a single output has no name",
        JSON_TENSOR,
        {"inputs": [b64(), b64(2)]},
        reply=lambda answer: list(answer) == ["outputs"] and scores(answer["outputs"], 2),
    ),
    post(
        "columns with the input's name",
        200,
        "the same",
        JSON_TENSOR,
        {"inputs": {"images": [b64()]}},
        reply=lambda answer: scores(answer["outputs"], 1),
    ),
    post(
        "a version",
        200,
        "that version",
        UTIL,
        {"instances": [b64()]},
        url=f"/v1/models/{MODEL}/versions/{VERSION}:predict",
    ),
    post("unknown model", 404, "no such servable", MANAGER, {"instances": [b64()]}, url="/v1/models/another:predict"),
    post(
        "unknown version",
        404,
        "no such servable",
        MANAGER,
        {"instances": [b64()]},
        url=f"/v1/models/{MODEL}/versions/4:predict",
    ),
    post(
        "unknown version label",
        400,
        "the label is not recognised",
        SERVER_CORE,
        {"instances": [b64()]},
        url=f"/v1/models/{MODEL}/labels/stable:predict",
    ),
    post(
        "unknown signature",
        400,
        "not in the signatures",
        HANDLER,
        {"signature_name": "other", "instances": [b64()]},
    ),
    post("text that is no JSON", 400, "where it stops being JSON", JSON_TENSOR, "{"),
    post("no text", 400, "the document is empty", JSON_TENSOR, ""),
    post("a list instead of an object", 400, "is no object", JSON_TENSOR, [1]),
    post("neither rows nor columns", 400, "one of both is missing", JSON_TENSOR, {"signature_name": "serving_default"}),
    post("rows and columns", 400, "only one of both", JSON_TENSOR, {"instances": [b64()], "inputs": [b64()]}),
    post("rows that are no list", 400, "a list is expected", JSON_TENSOR, {"instances": b64()}),
    post("no rows", 400, "no values", JSON_TENSOR, {"instances": []}),
    post("a number instead of bytes", 400, "names the expected type", JSON_TENSOR, {"instances": [1.5]}),
    post(
        "base64 with line ends, or without its padding",
        200,
        "as without them, or with it",
        JSON_TENSOR,
        {"instances": [{"b64": "\r\n".join(textwrap.wrap(image().rstrip("="), 76)) + "\n"}]},
        reply=lambda answer: scores(answer["predictions"], 1),
    ),
    post(
        "columns without values",
        200,
        "`outputs` without values",
        JSON_TENSOR,
        {"inputs": []},
        reply=lambda answer: answer == {"outputs": []},
    ),
    post("base64 that is none", 400, "cannot be decoded", JSON_TENSOR, {"instances": [{"b64": "*"}]}),
    post("an input of an unknown name", 400, "no such input", JSON_TENSOR, {"instances": [{"image": b64()}]}),
    post(
        "a signature's name that is no text",
        400,
        "must be a string",
        JSON_TENSOR,
        {"signature_name": 1, "instances": [b64()]},
    ),
    post(
        "another verb",
        400,
        "the request is malformed",
        HANDLER,
        {"instances": [b64()]},
        url=f"/v1/models/{MODEL}:explain",
        ours=404,
        why="nothing is at that path",
    ),
    post(
        "examples",
        200,
        "`results`: label and score of each class",
        JSON_TENSOR,
        {"examples": [{"images": b64()}]},
        url=CLASSIFY_URL,
        reply=lambda answer: [pair[0] for pair in answer["results"][0]] == [str(label) for label in range(10)],
    ),
    post("no key `examples`", 400, "the key is missing", JSON_TENSOR, {}, url=CLASSIFY_URL),
    post("no examples", 400, "the list is empty", JSON_TENSOR, {"examples": []}, url=CLASSIFY_URL),
    get(
        "a model's status",
        f"/v1/models/{MODEL}",
        200,
        "versions with their states",
        HANDLER,
        reply=lambda answer: (
            [
                (entry["version"], entry["state"], entry["status"]["error_code"])
                for entry in answer["model_version_status"]
            ]
            == [(str(VERSION), "AVAILABLE", "OK")]
        ),
    ),
    get("unknown model's status", "/v1/models/another", 404, "no version of it", HANDLER),
    get("unknown version's status", f"/v1/models/{MODEL}/versions/4", 404, "no such version", HANDLER),
    get(
        "a model's metadata",
        f"/v1/models/{MODEL}/metadata",
        200,
        "spec and signatures",
        UTIL,
        reply=lambda answer: (
            answer["model_spec"]["name"] == MODEL
            and "serving_default" in answer["metadata"]["signature_def"]["signature_def"]
        ),
    ),
)
