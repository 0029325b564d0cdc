"""TensorFlow's and Keras's files as frozen graphs. Initialisers that a file carries are not run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from .freezing import frozen, natural
from .graphs import Loaded, Naming, ancestors, describe, node_of, silence
from .inline import CALLS
from .job import Job, Refused

Say = Callable[[str], None]
SERVE, SIGNATURE, INITIALISER = "serve", "serving_default", "__saved_model_init_op"


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
    return _between(tf, graph_def, job)


def _between(tf: Any, graph_def: Any, job: Job) -> Loaded:
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
    inputs = job.input_tensors
    if inputs is None:
        needed = ancestors(graph_def, outputs)
        inputs = [f"{node.name}:0" for node in graph_def.node if node.op == "Placeholder" and node.name in needed]
    if not inputs or not outputs:
        raise Refused("tensor", "the graph has no placeholder or no output; name input_tensors and output_tensors.")
    return Loaded(graph_def, *describe(graph, inputs, outputs, Naming()))


def _saved_model(tf: Any, job: Job, path: Path, folder: Path, say: Say) -> Loaded:
    quiet = _silenced(path, folder, say)
    proto = import_module("tensorflow.python.saved_model.loader_impl").parse_saved_model(str(quiet))
    meta = _tagged(proto.meta_graphs, job)
    tags = sorted(meta.meta_info_def.tags)
    signatures = {key: value for key, value in meta.signature_def.items() if value.outputs and key != INITIALISER}
    chosen = _signature(signatures, job)
    if chosen is not None:
        others = ", ".join(sorted(set(signatures) - {chosen}))
        say(f"reading the signature {chosen}{f'; there are also {others}' if others else ''}")
    naming = _naming(chosen, signatures[chosen]) if chosen is not None else Naming()
    # A function's call in the outer graph is only its signature under another name.
    known = {node.name for node in meta.graph_def.node if node.op not in CALLS}
    wanted = [*(job.input_tensors or ()), *(job.output_tensors or ())]
    inner = [name for name in wanted if name not in naming.spellings and name not in naming.aliases]
    _belong(inner, signatures, chosen)
    # Names of the outer graph, which a TensorFlow 2 model has too: it is read as TensorFlow 1 does.
    outer = bool(inner) and all(node_of(naming.spellings.get(name, name)) in known for name in wanted)
    if meta.HasField("object_graph_def") and not outer:
        return _functions(tf, job, quiet, tags, chosen, naming, say)
    return _session(tf, job, quiet, tags, None if chosen is None else signatures[chosen], naming)


def _belong(names: list[str], signatures: Mapping[str, Any], chosen: str | None) -> None:
    """Raises: Refused: a tensor is the end of another signature than the chosen one."""
    for key, signature in sorted(signatures.items()):
        ends = {info.name for part in (signature.inputs, signature.outputs) for info in part.values()}
        if key != chosen and chosen is not None and (others := [name for name in names if name in ends]):
            raise Refused(
                "tensor", f"{others[0]} belongs to the signature {key}, and {chosen} is read. Say signature: {key}."
            )


def _tagged(metas: Any, job: Job) -> Any:
    """The graph with the tags that were asked for, else the one for serving.

    Raises:
        Refused: there is none, or several might be meant.
    """
    sets = [sorted(meta.meta_info_def.tags) for meta in metas]
    listed = " and ".join(str(tags) for tags in sets)
    if job.tags is not None:
        found = [meta for meta, tags in zip(metas, sets, strict=True) if tags == sorted(set(job.tags))]
        if not found:
            raise Refused("unsupported", f"the SavedModel has no graph with the tags {job.tags}; it has {listed}.")
        return found[0]
    exact = [meta for meta, tags in zip(metas, sets, strict=True) if tags == [SERVE]]
    serving = exact or [meta for meta, tags in zip(metas, sets, strict=True) if SERVE in tags]
    if not serving:
        raise Refused(
            "unsupported",
            f"the SavedModel has no graph for serving (tag {SERVE}); it has {listed}. Name its tags in a YAML file "
            "beside it (tags: [...]).",
        )
    if len(serving) > 1:
        raise Refused(
            "unsupported",
            f"the SavedModel has several graphs for serving, with the tags {listed}. Say which is meant in a YAML file "
            "beside it (tags: [...]).",
        )
    return serving[0]


def _signature(signatures: Mapping[str, Any], job: Job) -> str | None:
    """The one that was asked for, the usual one, or the only one; None if tensors are named or there is none.

    Raises:
        Refused: it is not there, or one of several would have to be guessed.
    """
    listed = ", ".join(sorted(signatures)) or "none"
    if job.signature is not None:
        if job.signature not in signatures:
            raise Refused("tensor", f"the SavedModel has no signature {job.signature}; it has {listed}.")
        return job.signature
    if SIGNATURE in signatures:
        return SIGNATURE
    if len(signatures) == 1:
        return next(iter(signatures))
    if signatures and not (job.input_tensors and job.output_tensors):
        raise Refused(
            "tensor",
            f"the SavedModel has the signatures {listed}, and none is called {SIGNATURE}. Say which is meant in a YAML "
            f"file beside it, e.g. signature: {min(signatures)}.",
        )
    return None


def _naming(name: str, signature: Any) -> Naming:
    """What a signature calls its ends, and what saved_model_cli shows beside."""
    words = []
    for what, part in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        ends = ", ".join(f"{key} ({part[key].name})" for key in sorted(part, key=natural))
        words.append(f"the {what} {ends}")
    parts = (signature.inputs, signature.outputs)
    return Naming(
        {info.name: key for part in parts for key, info in part.items()},
        {key: info.name for part in parts for key, info in part.items()},
        f"in its signature {name} {' and '.join(words)}",
    )


def _silenced(path: Path, folder: Path, say: Say) -> Path:
    """A copy whose graphs write nothing; the variables are linked, as they may be large."""
    module: Any = import_module("tensorflow.core.protobuf.saved_model_pb2")
    proto = module.SavedModel()
    proto.ParseFromString((path / "saved_model.pb").read_bytes())
    count = sum(silence(meta.graph_def) for meta in proto.meta_graphs)
    for meta in proto.meta_graphs:
        for key in ("saved_model_main_op", "legacy_init_op", "saved_model_train_op"):
            meta.collection_def.pop(key, None)
        meta.signature_def.pop(INITIALISER, None)
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


def _session(tf: Any, job: Job, path: Path, tags: list[str], signature: Any, naming: Naming) -> Loaded:
    v1 = tf.compat.v1
    loader = import_module("tensorflow.python.saved_model.loader_impl").SavedModelLoader(str(path))
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        saver, _ = loader.load_graph(graph, tags)
        loader.restore_variables(session, saver)
        inputs, outputs = job.input_tensors, job.output_tensors
        if signature is not None:
            inputs = inputs or [info.name for _, info in sorted(signature.inputs.items())]
            outputs = outputs or [signature.outputs[key].name for key in sorted(signature.outputs, key=natural)]
        if not inputs or not outputs:
            raise Refused(
                "tensor", "the SavedModel has no signature serving_default; name input_tensors and output_tensors."
            )
        ends = describe(graph, inputs, outputs, naming)
        names = [node_of(tensor.name) for tensor in ends[1]]
        frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), names)
    shutil.rmtree(path, ignore_errors=True)
    return Loaded(frozen, *ends)


def _functions(
    tf: Any, job: Job, path: Path, tags: list[str], signature: str | None, naming: Naming, say: Say
) -> Loaded:
    say("restoring the variables")
    loaded = tf.saved_model.load(str(path), tags=tags)
    shutil.rmtree(path, ignore_errors=True)
    if not loaded.signatures:
        raise Refused(
            "unsupported", "the SavedModel has no signature; save it with one (model.export, or signatures=)."
        )
    if signature is None:
        raise Refused("tensor", "its tensors can only be named by one of its signatures; say which (signature: ...).")
    function = loaded.signatures[signature]
    # A signature's arguments are in this order, its outputs in that of their sorted keys.
    return frozen(tf, job, function, list(function._arg_keywords), sorted(function.structured_outputs), naming, say)


def _keras(tf: Any, job: Job, path: Path, say: Say) -> Loaded:
    keras = import_module("keras")
    model = keras.saving.load_model(str(path), compile=False, safe_mode=True, custom_objects=None)
    say(f"built {model.name}: {len(model.layers)} layers, {model.count_params():,} parameters")
    if not model.built or not getattr(model, "inputs", None):
        raise Refused("unsupported", f"{model.name} was saved without knowing its input's shape; build it first.")

    def forward(*arguments: Any) -> Any:
        return keras.tree.flatten(model(list(arguments) if len(arguments) > 1 else arguments[0], training=False))

    def traced(*, open_batch: bool) -> Any:
        # A model that was built by its first batch remembers that batch's length, which means nothing.
        shapes = [(None, *tensor.shape[1:]) if open_batch else tensor.shape for tensor in model.inputs]
        specs = [
            tf.TensorSpec(shape, tensor.dtype, name=_plain(tensor.name))
            for shape, tensor in zip(shapes, model.inputs, strict=True)
        ]
        return tf.function(forward, autograph=False).get_concrete_function(*specs)

    try:
        function = traced(open_batch=True)
    except (ValueError, TypeError, tf.errors.OpError):
        function = traced(open_batch=False)
    outputs = [str(tensor._keras_history.operation.name) for tensor in model.outputs]
    if len(outputs) != len(function.outputs) or len(set(outputs)) != len(outputs):
        outputs = []
    listed = [f"the inputs {', '.join(tensor.name for tensor in model.inputs)}"]
    listed += [f"the outputs {', '.join(outputs)}"] if outputs else []
    naming = Naming(listed=f"{' and '.join(listed)}")
    return frozen(tf, job, function, [], outputs, naming, say, keys_are_aliases=False)


def _plain(name: str) -> str:
    return "".join(character if character.isalnum() or character in "_./" else "_" for character in name)
