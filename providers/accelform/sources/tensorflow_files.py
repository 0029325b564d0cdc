"""Looks through TensorFlow's graphs before TensorFlow sees them: which operators they name, which files they ask for.

A graph is a program. Operators that read or write files, call Python, or talk to other machines are refused by name,
wherever they are: in the graph, in its functions, reachable or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from accelform.errors import NotAModel, UnsafeModel, WeightsUnreadable
from accelform.sources.files import describe, is_plain_name
from accelform.sources.kinds import SAVED_MODEL, SAVED_MODEL_FILE, kind_of
from accelform.sources.model import SourceFile
from accelform.sources.wire import BYTES, Buffer, Malformed, Span, fields, mapped, messages, text

MAX_NODES = 200_000
SAVING = frozenset({"Save", "SaveV2", "SaveSlices", "MergeV2Checkpoints", "ShardedFilename", "ShardedFilespec"})
"""What a SavedModel's own saver consists of; the importer takes the writing ones out before the graph is loaded."""

REFUSED = frozenset(
    {
        "DebugIdentity", "DebugIdentityV2", "DebugIdentityV3", "DecodeProtoV2", "EagerPyFunc", "EncodeProto",
        "FileSystemSetConfiguration", "GenerateVocabRemapping", "ImmutableConst", "InitializeTableFromTextFile",
        "InitializeTableFromTextFileV2", "LoadAndRemapMatrix", "MatchingFiles", "PrintV2", "PyFunc",
        "PyFuncStateless", "ReadFile", "RemoteCall", "RpcCall", "RpcClient", "RpcServer", "RpcServerStart",
        "WriteFile", "WriteAudioSummary", "WriteGraphSummary", "WriteHistogramSummary", "WriteImageSummary",
        "WriteRawProtoSummary", "WriteScalarSummary", "WriteSummary", "XlaHostCompute", "_HostSend", "_HostRecv",
        "_Send", "_Recv", "CollectiveBcastSend", "CollectiveBcastRecv", "LoadLibrary", "TFLiteSubgraphExecute",
    }
)  # fmt: skip
_REFUSED_FAMILIES = re.compile(r"(Reader(V2)?|Dataset(V\d+)?|SummaryWriter|SummaryDbWriter|FileWriter)$")
_CODE_ENDINGS = (".so", ".dll", ".dylib", ".py", ".pyc", ".pkl", ".pickle", ".sh", ".exe")

_NODE, _OP, _LIBRARY, _FUNCTION, _NODE_DEF = 1, 2, 2, 1, 3
_META_GRAPH, _GRAPH, _ASSET, _ASSET_NAME, _OBJECTS = 2, 2, 6, 2, 7


def check_graph_def(path: Path) -> None:
    """A frozen `.pb`.

    Raises:
        UnsafeModel: it names operators that reach outside.
        WeightsUnreadable: damaged.
    """
    with _readable(path), mapped(path) as content:
        _check_operators(content, None, path.name)


def check_saved_model(folder: Path) -> tuple[SourceFile, ...]:
    """A SavedModel's folder; returns the files that count, hashed.

    Raises:
        NotAModel: there is no saved_model.pb, or links in the folder.
        UnsafeModel: operators that reach outside, assets with paths, libraries.
        WeightsUnreadable: damaged.
    """
    path = folder / SAVED_MODEL_FILE
    if kind_of(path) != SAVED_MODEL:
        raise NotAModel(f"{path} is no SavedModel")
    with _readable(path), mapped(path) as content:
        graphs = list(messages(content, None, _META_GRAPH))
        if not graphs:
            raise NotAModel(f"{path} holds no graph. Save the model again.")
        for graph in graphs:
            for asset in messages(content, graph, _ASSET, _ASSET_NAME):
                if not is_plain_name(name := text(content, asset)):
                    raise UnsafeModel(f"{path} asks for the file {name!r}, outside the model. It was not looked at.")
            for graph_def in messages(content, graph, _GRAPH):
                _check_operators(content, graph_def, path.name)
    return tuple(describe(found, name) for name, found in _members(folder))


def _members(folder: Path) -> Iterator[tuple[str, Path]]:
    if (folder / SAVED_MODEL_FILE).is_symlink() or (folder / "variables").is_symlink():
        raise NotAModel(f"{folder} is made of links. Put the files themselves there.")
    for path in folder.iterdir():
        if path.suffix.lower() in _CODE_ENDINGS:
            raise UnsafeModel(f"{folder} holds {path.name}, which is code; a network needs none. Remove it.")
    yield SAVED_MODEL_FILE, folder / SAVED_MODEL_FILE
    variables = folder / "variables"
    if not variables.is_dir():
        return
    for path in sorted(variables.iterdir()):
        if path.is_symlink() or not path.is_file():
            raise NotAModel(f"{path} is a link or a folder. Put the variables' files themselves there.")
        if path.name.startswith("variables."):
            yield f"variables/{path.name}", path


def _check_operators(content: Buffer, graph: Span | None, name: str) -> None:
    refused: dict[str, str] = {}
    count = 0
    for node in _nodes(content, graph):
        count += 1
        if count > MAX_NODES:
            raise UnsafeModel(f"{name} has more than {MAX_NODES} operators; the networks here have some thousands.")
        label, operator = "", ""
        for number, kind, where in fields(content, node):
            if kind == BYTES and number == 1:
                label = text(content, where)
            elif kind == BYTES and number == _OP:
                operator = text(content, where)
        if operator in REFUSED or (_REFUSED_FAMILIES.search(operator) and not operator.startswith("Identity")):
            refused.setdefault(operator, label)
    if count == 0:
        raise NotAModel(f"{name} holds no operators. Save the model again.")
    if refused:
        listed = ", ".join(f"{operator} (node {label})" for operator, label in sorted(refused.items()))
        raise UnsafeModel(
            f"{name} holds operators that reach outside the graph: {listed}. It was not loaded. Save the network "
            "without them."
        )


def _nodes(content: Buffer, graph: Span | None) -> Iterator[Span]:
    yield from messages(content, graph, _NODE)
    yield from messages(content, graph, _LIBRARY, _FUNCTION, _NODE_DEF)


class _readable:  # noqa: N801
    """Damage found while walking is the file's, and says so."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Malformed):
            raise WeightsUnreadable(
                f"{self._path.name} can't be read: {error}. It is damaged or cut off; copy it again."
            ) from error
