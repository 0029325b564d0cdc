"""GetModelMetadata, GetModelStatus and HandleReloadConfigRequest."""

from __future__ import annotations

from typing import Any

from tests.contract.conformance.row import INPUT, MODEL, OUTPUT, ROOT, VERSION, Reply, Row, image, spec, strings
from tests.contract.conformance.rows.predict import MANAGER, RESIDENT, SERVER_CORE

METADATA = "servables/tensorflow/get_model_metadata_impl.cc"
STATUS = "model_servers/get_model_status_impl.cc"
RELOAD = "model_servers/model_service_impl.cc"
FIELDS = {"metadata_field": ["signature_def"]}
ONE_FPGA = "an FPGA holds one model; a swap replaces it"
ONE_PLATFORM = "it is not looked at: there is one platform"
NEVER_EMPTY = "a service without a model would answer nothing; stop it instead"


def signature(reply: Reply) -> bool:
    """Whether the answer describes the resident model's only signature by aliases and tensor names."""
    found = reply["metadata"]["signature_def"]["signature_def"]["serving_default"]
    return (
        reply["model_spec"]["name"] == MODEL
        and reply["model_spec"]["version"] == str(VERSION)
        and found["method_name"] == "tensorflow/serving/predict"
        and (found["inputs"]["images"]["name"], found["inputs"]["images"]["dtype"]) == (INPUT, "DT_STRING")
        and (found["outputs"]["output_alias"]["name"], found["outputs"]["output_alias"]["dtype"])
        == (OUTPUT, "DT_FLOAT")
    )


def available(reply: Reply) -> bool:
    """Whether exactly the resident version is reported, and serves."""
    states = [(entry["version"], entry["state"]) for entry in reply["model_version_status"]]
    return states == [(str(VERSION), "AVAILABLE")]


def metadata(when: str, theirs: str, says: str, source: str, **more: Any) -> Row:
    """A row of GetModelMetadata."""
    return Row(rpc="GetModelMetadata", when=when, theirs=theirs, says=says, source=source, **more)


def status(when: str, theirs: str, says: str, source: str = STATUS, **more: Any) -> Row:
    """A row of GetModelStatus."""
    return Row(rpc="GetModelStatus", when=when, theirs=theirs, says=says, source=source, **more)


def reload(when: str, theirs: str, says: str, source: str = SERVER_CORE, **more: Any) -> Row:
    """A row of HandleReloadConfigRequest, on a server that may load models from a folder."""
    return Row(
        rpc="HandleReloadConfigRequest",
        when=when,
        theirs=theirs,
        says=says,
        source=source,
        **{"server": "root", **more},
    )


def configured(*models: dict[str, Any]) -> dict[str, Any]:
    """A reload to these models."""
    return {"config": {"model_config_list": {"config": list(models)}}}


def model(path: str = "present", **changes: Any) -> dict[str, Any]:
    """A model of a reload; `path` is below the server's model_root, which ROOT stands for until the call is made."""
    return {"name": MODEL, "base_path": f"{ROOT}/{path}", "model_platform": "tensorflow", **changes}


ROWS = (
    metadata(
        "a model",
        "OK",
        "name, version and all signatures",
        METADATA,
        request={"model_spec": spec(), **FIELDS},
        reply=signature,
    ),
    metadata(
        "no `model_spec`", "INVALID_ARGUMENT", "the spec is missing", METADATA, ours="OK", why=RESIDENT, request=FIELDS
    ),
    metadata(
        "`model_spec` without a name",
        "INVALID_ARGUMENT",
        "the spec has no name",
        SERVER_CORE,
        ours="OK",
        why=RESIDENT,
        request={"model_spec": {}, **FIELDS},
    ),
    metadata(
        "no name, with `strict_model_spec`",
        "INVALID_ARGUMENT",
        "the spec has no name",
        SERVER_CORE,
        server="strict",
        request={"model_spec": {}, **FIELDS},
        naming=("model_spec",),
    ),
    metadata(
        "no field",
        "INVALID_ARGUMENT",
        "at least one must be asked for",
        METADATA,
        request={"model_spec": spec()},
        naming=("metadata_field",),
    ),
    metadata(
        "an unknown field",
        "INVALID_ARGUMENT",
        "the field is not supported",
        METADATA,
        request={"model_spec": spec(), "metadata_field": ["size"]},
        naming=("size",),
    ),
    metadata(
        "unknown model",
        "NOT_FOUND",
        "no such servable",
        MANAGER,
        request={"model_spec": spec("another"), **FIELDS},
        naming=("another",),
    ),
    metadata(
        "unknown version", "NOT_FOUND", "no such servable", MANAGER, request={"model_spec": spec(version=4), **FIELDS}
    ),
    metadata(
        "unknown version label",
        "INVALID_ARGUMENT",
        "the label is not recognised",
        SERVER_CORE,
        request={"model_spec": spec(version_label="stable"), **FIELDS},
        naming=("stable",),
    ),
    status("a model", "OK", "the state of each version", request={"model_spec": spec()}, reply=available),
    status("a version", "OK", "the state of it", request={"model_spec": spec(version=VERSION)}, reply=available),
    status("no `model_spec`", "INVALID_ARGUMENT", "the spec is missing", ours="OK", why=RESIDENT, reply=available),
    status(
        "`model_spec` without a name",
        "NOT_FOUND",
        "no version of a model of that name",
        ours="OK",
        why=RESIDENT,
        request={"model_spec": {}},
        reply=available,
    ),
    status(
        "no `model_spec`, with `strict_model_spec`",
        "INVALID_ARGUMENT",
        "the spec is missing",
        server="strict",
        naming=("model_spec",),
    ),
    status(
        "unknown model",
        "NOT_FOUND",
        "no version of a model of that name",
        request={"model_spec": spec("another")},
        naming=("another",),
    ),
    status("unknown version", "NOT_FOUND", "no such version", request={"model_spec": spec(version=4)}, naming=("4",)),
    status(
        "unknown version label",
        "OK",
        "labels are not looked at: all versions",
        ours="INVALID_ARGUMENT",
        why="as every other call answers an unknown label",
        request={"model_spec": spec(version_label="stable")},
    ),
    reload("nothing", "INVALID_ARGUMENT", "only a list of models is supported", RELOAD),
    reload(
        "a configuration of another kind",
        "INVALID_ARGUMENT",
        "only a list of models is supported",
        RELOAD,
        request={
            "config": {"custom_model_config": {"@type": "type.googleapis.com/google.protobuf.Int64Value", "value": "1"}}
        },
    ),
    reload("a newer version", "OK", "it takes the older one's place", request=configured(model("next"))),
    reload(
        "a path below the configured root",
        "OK",
        "with model_config_list_root_dir",
        request=configured(model(base_path="present")),
    ),
    reload(
        "labels of the version that is loaded",
        "OK",
        "calls may use them",
        request=configured(model(version_labels={"stable": VERSION})),
    ),
    Row(
        rpc="Predict",
        when="a known version label",
        theirs="OK",
        says="the version it stands for",
        source=SERVER_CORE,
        server="root",
        request={"model_spec": spec(version_label="stable"), "inputs": {"images": strings(image())}},
    ),
    reload(
        "labels of another version",
        "FAILED_PRECONDITION",
        "that version is not available",
        request=configured(model(version_labels={"stable": VERSION + 6})),
        naming=("stable",),
    ),
    reload(
        "no platform",
        "INVALID_ARGUMENT",
        "the platform is needed",
        ours="OK",
        why=ONE_PLATFORM,
        request=configured(model(model_platform="")),
    ),
    reload(
        "an unknown platform",
        "INVALID_ARGUMENT",
        "the platform is not supported",
        ours="OK",
        why=ONE_PLATFORM,
        request=configured(model(model_platform="other")),
    ),
    reload(
        "no path",
        "INVALID_ARGUMENT",
        "the path must be absolute",
        request=configured(model(base_path="")),
        naming=("base_path",),
    ),
    reload("a model twice", "INVALID_ARGUMENT", "listed several times", request=configured(model(), model())),
    reload(
        "two models",
        "OK",
        "both are loaded",
        ours="INVALID_ARGUMENT",
        why=ONE_FPGA,
        request=configured(model(), model(name="another")),
        naming=("one model",),
    ),
    reload(
        "two versions",
        "OK",
        "both are loaded",
        ours="INVALID_ARGUMENT",
        why=ONE_FPGA,
        request=configured(model(model_version_policy={"latest": {"num_versions": 2}})),
        naming=("one version",),
    ),
    reload("no model", "OK", "all are unloaded", ours="INVALID_ARGUMENT", why=NEVER_EMPTY, request=configured()),
    reload(
        "a model under a name that is not its own",
        "OK",
        "any name will do",
        ours="INVALID_ARGUMENT",
        why="a bundle knows its name, and answers tell it",
        request=configured(model(name="another")),
        naming=("another", MODEL),
    ),
    reload(
        "a folder that is not there",
        "OK",
        "the answer waits until it is",
        "sources/storage_path/file_system_storage_path_source.cc",
        ours="NOT_FOUND",
        why="the caller learns it at once, and the resident model goes on",
        request=configured(model("absent")),
        naming=("base_path",),
    ),
    reload(
        "a version that is not there",
        "OK",
        "the answer waits until it is",
        "sources/storage_path/file_system_storage_path_source.cc",
        ours="NOT_FOUND",
        why="the caller learns it at once, and the resident model goes on",
        request=configured(model(model_version_policy={"specific": {"versions": [VERSION + 6]}})),
    ),
    reload(
        "a folder outside `model_root`",
        "OK",
        "every path of the machine may be named",
        ours="NOT_FOUND",
        why="as if it were not there: who may call learns nothing about other folders",
        request=configured(model("../outside")),
        naming=("base_path",),
    ),
    reload(
        "a folder whose model cannot be loaded",
        "UNKNOWN",
        "did not become available, and why",
        ours="INVALID_ARGUMENT",
        why="the status says whose fault it is; the resident model goes on",
        request=configured(model("damaged")),
    ),
    reload(
        "no `model_root`",
        "OK",
        "always allowed",
        ours="FAILED_PRECONDITION",
        why="a deployed service keeps the model it was deployed with",
        server="keys",
        request=configured(model()),
        naming=("model_root",),
    ),
)
