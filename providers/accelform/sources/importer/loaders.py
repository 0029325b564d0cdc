"""TensorFlow's and Keras's files as frozen graphs. Initialisers that a file carries are not run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from .graphs import Loaded, ancestors, describe, node_of, silence
from .job import Job, Refused

Say = Callable[[str], None]
SERVE, SIGNATURE = "serve", "serving_default"


def load(tf: Any, job: Job, folder: Path, say: Say) -> Loaded:
    """The graph of any of the four kinds."""
    path = Path(job.path)
    if job.kind == "graph_def":
        return _graph_def(tf, job, path)
    if job.kind == "saved_model":
        return _saved_model(tf, job, path, folder, say)
    return _keras(tf, job, path, say)


def _graph_def(tf: Any, job: Job, path: Path) -> Loaded:
    graph_def = tf.compat.v1.GraphDef()
    graph_def.ParseFromString(path.read_bytes())
    variables = [node.name for node in graph_def.node if node.op in ("Variable", "VariableV2", "VarHandleOp")]
    if variables:
        raise Refused(
            "unsupported",
            f"the graph has variables without values, {variables[0]} first: freeze it with "
            "convert_variables_to_constants, or bring the SavedModel.",
        )
    return _between(tf, graph_def, job, {})


def _between(tf: Any, graph_def: Any, job: Job, aliases: dict[str, str]) -> Loaded:
    """Ends of a graph without signature: every placeholder that counts, every operator that nothing reads."""
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    outputs = job.output_tensors
    if outputs is None:
        read = {node_of(source) for node in graph_def.node for source in node.input}
        outputs = [
            f"{node.name}:0"
            for node in graph_def.node
            if node.name not in read and node.op not in ("NoOp", "Const", "Assert", "Placeholder")
        ]
    described_outputs = describe(graph, outputs, aliases, "output")
    inputs = job.input_tensors
    if inputs is None:
        needed = ancestors(graph_def, outputs)
        inputs = [f"{node.name}:0" for node in graph_def.node if node.op == "Placeholder" and node.name in needed]
    if not inputs or not outputs:
        raise Refused("tensor", "the graph has no placeholder or no output; name input_tensors and output_tensors.")
    return Loaded(graph_def, describe(graph, inputs, aliases, "input"), described_outputs)


def _saved_model(tf: Any, job: Job, path: Path, folder: Path, say: Say) -> Loaded:
    quiet = _silenced(path, folder, say)
    proto = import_module("tensorflow.python.saved_model.loader_impl").parse_saved_model(str(quiet))
    metas = [meta for meta in proto.meta_graphs if SERVE in meta.meta_info_def.tags]
    if not metas:
        tags = sorted({tag for meta in proto.meta_graphs for tag in meta.meta_info_def.tags})
        raise Refused("unsupported", f"the SavedModel has no graph for serving (tag serve); it has {tags}.")
    signatures = {key: value for key, value in metas[0].signature_def.items() if value.outputs}
    signatures.pop("__saved_model_init_op", None)
    if metas[0].HasField("object_graph_def") and not _named(metas[0].graph_def, job):
        return _functions(tf, job, quiet)
    return _session(tf, job, quiet, _signature(signatures))


def _named(graph_def: Any, job: Job) -> bool:
    """Whether every tensor that was asked for is in the outer graph."""
    wanted = [*(job.input_tensors or ()), *(job.output_tensors or ())]
    known = {node.name for node in graph_def.node}
    return bool(wanted) and all(node_of(name) in known for name in wanted)


def _signature(signatures: dict[str, Any]) -> Any:
    if SIGNATURE in signatures:
        return signatures[SIGNATURE]
    return next(iter(signatures.values())) if len(signatures) == 1 else None


def _silenced(path: Path, folder: Path, say: Say) -> Path:
    """A copy whose graphs write nothing; the variables are linked, as they may be large."""
    module: Any = import_module("tensorflow.core.protobuf.saved_model_pb2")
    proto = module.SavedModel()
    proto.ParseFromString((path / "saved_model.pb").read_bytes())
    count = sum(silence(meta.graph_def) for meta in proto.meta_graphs)
    for meta in proto.meta_graphs:
        for key in ("saved_model_main_op", "legacy_init_op", "saved_model_train_op"):
            meta.collection_def.pop(key, None)
        meta.signature_def.pop("__saved_model_init_op", None)
        del meta.asset_file_def[:]
    quiet = folder / "saved_model"
    quiet.mkdir()
    (quiet / "saved_model.pb").write_bytes(proto.SerializeToString())
    if (path / "variables").is_dir():
        (quiet / "variables").mkdir()
        for file in (path / "variables").iterdir():
            os.symlink(file.resolve(), quiet / "variables" / file.name)
    say(f"read the graph; {count} saving operator(s) taken out")
    return quiet


def _session(tf: Any, job: Job, path: Path, signature: Any) -> Loaded:
    v1 = tf.compat.v1
    loader = import_module("tensorflow.python.saved_model.loader_impl").SavedModelLoader(str(path))
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        saver, _ = loader.load_graph(graph, [SERVE])
        loader.restore_variables(session, saver)
        aliases: dict[str, str] = {}
        inputs, outputs = job.input_tensors, job.output_tensors
        if signature is not None:
            aliases = {info.name: key for part in (signature.inputs, signature.outputs) for key, info in part.items()}
            inputs = inputs or [info.name for _, info in sorted(signature.inputs.items())]
            outputs = outputs or [signature.outputs[key].name for key in sorted(signature.outputs, key=natural)]
        if not inputs or not outputs:
            raise Refused(
                "tensor", "the SavedModel has no signature serving_default; name input_tensors and output_tensors."
            )
        ends = describe(graph, inputs, aliases, "input"), describe(graph, outputs, aliases, "output")
        names = [node_of(name) for name in outputs]
        frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), names)
    shutil.rmtree(path, ignore_errors=True)
    return Loaded(frozen, *ends)


def natural(key: str) -> tuple[str, int]:
    """Sorts `out_2` before `out_10`."""
    stem = key.rstrip("0123456789")
    return stem, int(key[len(stem) :] or 0)


def _functions(tf: Any, job: Job, path: Path) -> Loaded:
    loaded = tf.saved_model.load(str(path))
    signatures = loaded.signatures
    if not signatures:
        raise Refused(
            "unsupported", "the SavedModel has no signature; save it with one (model.export, or signatures=)."
        )
    function = signatures[SIGNATURE] if SIGNATURE in signatures else next(iter(signatures.values()))
    # A signature's arguments are in this order, its outputs in that of their sorted keys.
    return _frozen(tf, job, function, list(function._arg_keywords), sorted(function.structured_outputs))


def _keras(tf: Any, job: Job, path: Path, say: Say) -> Loaded:
    keras = import_module("keras")
    model = keras.saving.load_model(str(path), compile=False, safe_mode=True, custom_objects=None)
    say(f"built {model.name}: {len(model.layers)} layers, {model.count_params():,} parameters")
    if not model.built or not getattr(model, "inputs", None):
        raise Refused("unsupported", f"{model.name} was saved without knowing its input's shape; build it first.")
    specs = [tf.TensorSpec(tensor.shape, tensor.dtype, name=_plain(tensor.name)) for tensor in model.inputs]

    def forward(*arguments: Any) -> Any:
        return model(list(arguments) if len(arguments) > 1 else arguments[0], training=False)

    return _frozen(tf, job, tf.function(forward, autograph=False).get_concrete_function(*specs), [], [])


def _plain(name: str) -> str:
    return "".join(character if character.isalnum() or character in "_./" else "_" for character in name)


def _frozen(tf: Any, job: Job, function: Any, input_keys: list[str], output_keys: list[str]) -> Loaded:
    """Freezing keeps the order of inputs and outputs but not always their names, so keys go by position."""
    graph, graph_def = function.graph, _with_constants(tf, function)
    if graph_def is None:
        convert = import_module("tensorflow.python.framework.convert_to_constants").convert_variables_to_constants_v2
        graph = convert(function, lower_control_flow=False).graph
        graph_def = graph.as_graph_def()
    captured = {inner.name for _, inner in function.graph.captures}
    inputs = [tensor.name for tensor in graph.inputs if tensor.name not in captured and tensor.dtype != tf.resource]
    outputs = [tensor.name for tensor in graph.outputs]
    aliases = dict(zip(inputs, input_keys, strict=False)) | dict(zip(outputs, output_keys, strict=False))
    outputs.sort(key=lambda name: natural(aliases.get(name, "")))
    return Loaded(
        graph_def,
        describe(graph, job.input_tensors or inputs, aliases, "input"),
        describe(graph, job.output_tensors or outputs, aliases, "output"),
    )


def _with_constants(tf: Any, function: Any) -> Any:
    """A function's graph with its variables' values in place of their reads; None if it calls other functions.

    TensorFlow's own way goes through its optimiser, which takes a minute and several copies for a large network.
    """
    graph_def = function.graph.as_graph_def()
    if graph_def.library.function:
        return None
    variables = {id(variable.handle): variable for variable in function.graph.variables}
    values: dict[str, Any] = {node_of(inner.name): variables.get(id(outer)) for outer, inner in function.graph.captures}
    for node in graph_def.node:
        read = [node_of(name) for name in node.input if values.get(node_of(name)) is not None]
        if not read:
            continue
        if node.op != "ReadVariableOp":
            return None
        tensor = tf.make_tensor_proto(values[read[0]].numpy())
        del node.input[:]
        node.attr.clear()
        node.op = "Const"
        node.attr["dtype"].type = tensor.dtype
        node.attr["value"].tensor.CopyFrom(tensor)
    return graph_def
