"""Classify, Regress and MultiInference."""

from __future__ import annotations

from typing import Any

from tests.contract.conformance.row import MODEL, VERSION, Reply, Row, example, image, image_feature, spec
from tests.contract.conformance.rows.predict import MANAGER, RESIDENT, SERVER_CORE

CLASSIFIER = "servables/tensorflow/classifier.cc"
CLASSIFY_SERVICE = "servables/tensorflow/classification_service.cc"
REGRESSOR = "servables/tensorflow/regressor.cc"
REGRESS_SERVICE = "servables/tensorflow/regression_service.cc"
MULTI = "servables/tensorflow/multi_inference.cc"
UTIL = "servables/tensorflow/util.cc"
PARSE_EXAMPLE = "tensorflow: core/util/example_proto_fast_parsing.cc"
CLASSIFY_METHOD, REGRESS_METHOD = "tensorflow/serving/classify", "tensorflow/serving/regress"
ONLY_FEATURE = "a model has one input, so a single feature can mean nothing else"
ONE_SIGNATURE = "a model has one signature, serving_default, and every method its outputs allow uses it"


def examples(*reds: int) -> dict[str, Any]:
    """An Input of one example for each image."""
    return {"example_list": {"examples": [example(images=image_feature(image(red))) for red in reds]}}


def asked(**changes: Any) -> dict[str, Any]:
    """A request of Classify or Regress for one image, with changes to it."""
    return {"model_spec": spec(), "input": examples(0), **changes}


def task(method: str = CLASSIFY_METHOD, **more: Any) -> dict[str, Any]:
    """A task of MultiInference."""
    return {"model_spec": spec(**more), "method_name": method}


def classified(count: int) -> Any:
    """Whether each of `count` examples got a label and a score for every class, scores summing to one."""

    def check(reply: Reply) -> bool:
        rows = [row["classes"] for row in reply["result"]["classifications"]]
        labels = [[entry["label"] for entry in row] for row in rows]
        sums = [sum(entry["score"] for entry in row) for row in rows]
        return labels == [[str(label) for label in range(10)]] * count and all(abs(total - 1) < 1e-4 for total in sums)

    return check


def effective(reply: Reply) -> bool:
    """Whether the answer names the model and version that were used."""
    return reply["model_spec"]["name"] == MODEL and reply["model_spec"]["version"] == str(VERSION)


def named_alike(rpc: str, service: str) -> tuple[Row, ...]:
    """What Classify and Regress have in common: how they find the model. Regress runs on a model of one value."""
    server = "keys" if rpc == "Classify" else "value"
    rows = [
        ("no `model_spec`", "INVALID_ARGUMENT", "the spec is missing", service, {"input": examples(0)}, "OK", RESIDENT),
        (
            "`model_spec` without a name",
            "INVALID_ARGUMENT",
            "the spec has no name",
            SERVER_CORE,
            asked(model_spec={}),
            "OK",
            RESIDENT,
        ),
        ("unknown model", "NOT_FOUND", "no such servable", MANAGER, asked(model_spec=spec("another")), "", ""),
        ("unknown version", "NOT_FOUND", "no such servable", MANAGER, asked(model_spec=spec(version=4)), "", ""),
        (
            "unknown version label",
            "INVALID_ARGUMENT",
            "the label is not recognised",
            SERVER_CORE,
            asked(model_spec=spec(version_label="stable")),
            "",
            "",
        ),
        ("no examples", "INVALID_ARGUMENT", "the input is empty", UTIL, asked(input={"example_list": {}}), "", ""),
        ("no input", "INVALID_ARGUMENT", "the input is empty", UTIL, {"model_spec": spec()}, "", ""),
        (
            "an example of other features",
            "INVALID_ARGUMENT",
            "the feature is required",
            PARSE_EXAMPLE,
            asked(input={"example_list": {"examples": [example(a=image_feature(image()), b=image_feature(image()))]}}),
            "",
            "",
        ),
        (
            "an example whose only feature has another name",
            "INVALID_ARGUMENT",
            "the feature is required",
            PARSE_EXAMPLE,
            asked(input={"example_list": {"examples": [example(other=image_feature(image()))]}}),
            "OK",
            ONLY_FEATURE,
        ),
        (
            "a feature of another type",
            "INVALID_ARGUMENT",
            "names both types",
            PARSE_EXAMPLE,
            asked(input={"example_list": {"examples": [example(images={"float_list": {"value": [1.0]}})]}}),
            "",
            "",
        ),
        (
            "an unknown signature",
            "INVALID_ARGUMENT",
            "no signature of that name",
            CLASSIFIER if rpc == "Classify" else REGRESSOR,
            asked(model_spec=spec(signature_name="other")),
            "",
            "",
        ),
    ]
    return tuple(
        Row(rpc=rpc, when=when, theirs=theirs, says=says, source=source, request=ask, ours=ours, why=why, server=server)
        for when, theirs, says, source, ask, ours, why in rows
    )


ROWS = (
    Row(
        rpc="Classify",
        when="two examples, a signature for classification",
        theirs="OK",
        says="labels and scores of each example, in order",
        source=CLASSIFIER,
        request=asked(input=examples(0, 2)),
        reply=classified(2),
    ),
    Row(
        rpc="Classify",
        when="a signature for prediction only",
        theirs="INVALID_ARGUMENT",
        says="another method was expected",
        source=CLASSIFIER,
        ours="OK",
        why=ONE_SIGNATURE,
        request=asked(),
        reply=effective,
    ),
    Row(
        rpc="Classify",
        when="features in the context",
        theirs="OK",
        says="every example has them",
        source=UTIL,
        request=asked(
            input={
                "example_list_with_context": {
                    "examples": [example(), example()],
                    "context": example(images=image_feature(image())),
                }
            }
        ),
        reply=classified(2),
    ),
    Row(
        rpc="Classify",
        when="no name, with `strict_model_spec`",
        theirs="INVALID_ARGUMENT",
        says="the spec has no name",
        source=SERVER_CORE,
        server="strict",
        request=asked(model_spec={}),
        naming=("model_spec",),
    ),
    *named_alike("Classify", CLASSIFY_SERVICE),
    Row(
        rpc="Regress",
        when="two examples, a model of one value",
        theirs="OK",
        says="one value of each example, in order",
        source=REGRESSOR,
        server="value",
        request=asked(input=examples(0, 200)),
        reply=lambda reply: [row.get("value", 0) for row in reply["result"]["regressions"]] == [0, 200],
    ),
    Row(
        rpc="Regress",
        when="a model of several values",
        theirs="INVALID_ARGUMENT",
        says="the output's shape is no batch of values",
        source=REGRESSOR,
        request=asked(),
    ),
    *named_alike("Regress", REGRESS_SERVICE),
    Row(
        rpc="MultiInference",
        when="one task for classification",
        theirs="OK",
        says="a result for each task",
        source=MULTI,
        request={"tasks": [task()], "input": examples(0, 2)},
        reply=lambda reply: (
            classified(2)({"result": reply["results"][0]["classification_result"]}) and effective(reply["results"][0])
        ),
    ),
    Row(
        rpc="MultiInference",
        when="no tasks",
        theirs="INVALID_ARGUMENT",
        says="the spec has no name",
        source="servables/tensorflow/multi_inference_helper.cc",
        request={"input": examples(0)},
    ),
    Row(
        rpc="MultiInference",
        when="a task without a model's name",
        theirs="INVALID_ARGUMENT",
        says="the name is empty",
        source=MULTI,
        ours="OK",
        why=RESIDENT,
        request={"tasks": [{"method_name": CLASSIFY_METHOD}], "input": examples(0)},
        reply=lambda reply: effective(reply["results"][0]),
    ),
    Row(
        rpc="MultiInference",
        when="a task without a model's name, with `strict_model_spec`",
        theirs="INVALID_ARGUMENT",
        says="the name is empty",
        source=MULTI,
        server="strict",
        request={"tasks": [{"method_name": CLASSIFY_METHOD}], "input": examples(0)},
        naming=("model_spec",),
    ),
    Row(
        rpc="MultiInference",
        when="unknown model",
        theirs="NOT_FOUND",
        says="no such servable",
        source=MANAGER,
        request={"tasks": [task(name="another")], "input": examples(0)},
    ),
    Row(
        rpc="MultiInference",
        when="tasks of two models",
        theirs="INVALID_ARGUMENT",
        says="all must name the same model",
        source=MULTI,
        request={"tasks": [task(), task(REGRESS_METHOD, name="another")], "input": examples(0)},
    ),
    Row(
        rpc="MultiInference",
        when="two tasks of one signature",
        theirs="INVALID_ARGUMENT",
        says="the signature is evaluated twice",
        source=MULTI,
        request={"tasks": [task(), task()], "input": examples(0)},
    ),
    Row(
        rpc="MultiInference",
        when="unknown signature",
        theirs="INVALID_ARGUMENT",
        says="not in the model's graph",
        source=MULTI,
        request={"tasks": [task(signature_name="other")], "input": examples(0)},
    ),
    Row(
        rpc="MultiInference",
        when="a method that is neither",
        theirs="UNIMPLEMENTED",
        says="the method is not supported",
        source=MULTI,
        request={"tasks": [task("tensorflow/serving/predict")], "input": examples(0)},
    ),
    Row(
        rpc="MultiInference",
        when="no examples",
        theirs="INVALID_ARGUMENT",
        says="the input is empty",
        source=UTIL,
        request={"tasks": [task()]},
    ),
)
