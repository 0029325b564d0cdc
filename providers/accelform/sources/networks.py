"""A network file as a source: checked, brought to ONNX where it is something else, and split by its topology."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelform._base.progress import Progress
from accelform.conversion.split import SplitModel, TensorInfo
from accelform.errors import InvalidFeaturizerSpec, UserError
from accelform.featurizers.families import INPUT_ALIAS, OUTPUT_ALIAS
from accelform.featurizers.preprocessing import Preprocess
from accelform.sources.ends import check_wire
from accelform.sources.files import as_before, content_digest, inside, read_labels
from accelform.sources.imports import Imported, import_model
from accelform.sources.kinds import GRAPH_DEF, HDF5, KERAS, ONNX, SAVED_MODEL, TITLES
from accelform.sources.known import keep_source_of, source_of
from accelform.sources.locating import Found
from accelform.sources.model import ModelSource
from accelform.sources.onnx_files import load_onnx
from accelform.sources.trial.ask import try_out

if TYPE_CHECKING:
    from accelform.sources.importer.job import Tensor

SOURCE_KINDS = {ONNX: "onnx", GRAPH_DEF: "tensorflow", SAVED_MODEL: "tensorflow", KERAS: "keras", HDF5: "keras"}
FRAMEWORKS = {"onnx": "Onnx", "tensorflow": "TensorFlow", "keras": "Keras"}
JOB_KINDS = {GRAPH_DEF: "graph_def", SAVED_MODEL: "saved_model", KERAS: "keras", HDF5: "h5"}
IMAGE_INPUT = TensorInfo(name="Placeholder:0", alias=INPUT_ALIAS, dtype="DT_STRING", shape=(-1,))

MOVING = ("Transpose", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Cast")
"""Operators that only bring the image into the layout and type of the network, which decoded images have already."""

RESIZING = ("Resize", "Upsample", "Crop", "CenterCropPad", "Slice")
SHIFTING = ("Sub", "Add", "BatchNormalization", "InstanceNormalization")
SCALING = ("Mul", "Div", "BatchNormalization", "InstanceNormalization")
REAL = ("DT_FLOAT", "DT_HALF", "DT_DOUBLE")

Names = Sequence[str] | None


def read_network(found: Found, path: Path, *, inputs: Names, outputs: Names, progress: Progress) -> ModelSource:
    """Identity, tensors and topology.

    Raises:
        TensorFlowMissing, ImportFailed: the import can't be made.
        UnknownTensor, UnsupportedModel, InvalidWeights, WeightsUnreadable: what is wrong with the network.
    """
    kind = SOURCE_KINDS[found.kind]
    inputs, outputs = _tensors(found, inputs, outputs)
    settings: dict[str, Any] = {}
    if found.wrapper is not None:
        settings = {
            key: value
            for key, value in asdict(found.wrapper).items()
            if key not in ("model", "asked") and value is not None
        }
    parts = found.parts
    if found.wrapper is not None and found.wrapper.labels is not None:
        labels = next(file for file in found.files if file.name == found.wrapper.labels)
        parts = (*parts, replace(labels, name="labels"))
        settings.pop("labels")
    digest = content_digest(kind, as_before(settings), parts)
    asked = sorted(found.wrapper.asked) if found.wrapper is not None else None
    known = source_of(digest, inputs=inputs, outputs=outputs, asked=asked)
    if known is None:
        split, imported = _split(found, inputs, outputs, with_weights=False, progress=progress)
        work = _try_out(found, imported, inputs, outputs, progress)
        known = ModelSource(
            path=path,
            kind=kind,
            digest=digest,
            framework=FRAMEWORKS[kind],
            family=split.family,
            mismatch=split.mismatch,
            network=split.network,
            input_tensors=split.inputs,
            output_tensors=split.outputs,
            classes=_classes(split.outputs),
            labels=(),
            files=(),
            preprocess=split.preprocess,
            multiply_accumulates=work,
            import_log=imported.log if imported else None,
        )
        keep_source_of(known, inputs=inputs, outputs=outputs, asked=asked)
    return replace(known, path=path, files=found.files, labels=_labels(found, known.classes))


def open_network(
    found: Found, source: ModelSource, *, inputs: Names = None, outputs: Names = None, progress: Progress
) -> SplitModel:
    """The network with its arrays, split.

    Raises: as `read_network`.
    """
    inputs, outputs = _tensors(found, inputs, outputs)
    split, _ = _split(found, inputs, outputs, with_weights=True, progress=progress)
    return replace(split, labels=source.labels)


def _tensors(found: Found, inputs: Names, outputs: Names) -> tuple[Names, Names]:
    """What the caller names counts more than what the YAML file does."""
    if found.wrapper is None:
        return inputs, outputs
    return inputs or found.wrapper.input_tensors, outputs or found.wrapper.output_tensors


def _split(
    found: Found, inputs: Names, outputs: Names, *, with_weights: bool, progress: Progress
) -> tuple[SplitModel, Imported | None]:
    from accelform.topology import split_onnx

    imported: Imported | None = None
    _need_saved_model(found)
    # What stands before the network must be looked at where images are decoded in its place.
    with_weights = with_weights or (found.wrapper is not None and found.wrapper.preprocess is not None)
    with _named(found):
        if found.kind == ONNX:
            model = load_onnx(found.entry)
            progress(f"read {found.entry.name}, {len(model.graph.node)} operators")
            split = split_onnx(model, input_tensors=inputs, output_tensors=outputs, with_weights=with_weights)
        else:
            imported = import_model(
                found.entry,
                kind=JOB_KINDS[found.kind],
                digest=content_digest(found.kind, {}, found.parts),
                input_tensors=inputs,
                output_tensors=outputs,
                progress=progress,
                signature=found.wrapper.signature if found.wrapper else None,
                tags=found.wrapper.tags if found.wrapper else None,
            )
            split = _with_names(split_onnx(load_onnx(imported.model), with_weights=with_weights), imported)
        split = _with_preprocess(split, found)
        check_wire(split)
        return split, imported


def _need_saved_model(found: Found) -> None:
    wrapper = found.wrapper
    given = [key for key in ("signature", "tags") if wrapper is not None and getattr(wrapper, key) is not None]
    if given and found.kind != SAVED_MODEL and found.yaml is not None:
        raise InvalidFeaturizerSpec(
            f"{found.yaml.name} says {' and '.join(given)}, but {found.entry.name} is {TITLES[found.kind]}; only a "
            f"SavedModel has {'them' if len(given) > 1 else 'one'}."
        )


def _try_out(found: Found, imported: Imported | None, inputs: Names, outputs: Names, progress: Progress) -> int | None:
    """The multiply-accumulates of the whole network.

    Raises:
        UserError: a server could not start with it, or would answer otherwise than onnxruntime.
    """
    with _named(found):
        return try_out(
            imported.model if imported else found.entry,
            name=found.entry.name,
            digest=content_digest(found.kind, {}, found.parts),
            # An import begins and ends at the tensors that were named already.
            input_tensors=None if imported else inputs,
            output_tensors=None if imported else outputs,
            checked=imported is None,
            progress=progress,
        )


@contextmanager
def _named(found: Found) -> Iterator[None]:
    """Messages name the user's file."""
    try:
        yield
    except UserError as error:
        if found.entry.name in str(error):
            raise
        raise type(error)(f"{found.yaml or found.entry}: {error}") from error


def _with_names(split: SplitModel, imported: Imported) -> SplitModel:
    """TensorFlow's own names, signature keys and shapes on the wire; encoded images where the graph took them."""
    facts = imported.facts
    outputs = _infos(facts.outputs, "out", OUTPUT_ALIAS, split.outputs)
    if not facts.image_tensor:
        return replace(split, inputs=_infos(facts.inputs, "in", INPUT_ALIAS, split.inputs), outputs=outputs)
    wire = facts.inputs[0]
    settings = imported.preprocess or {}
    return replace(
        split,
        inputs=(TensorInfo(name=wire.name, alias=wire.alias or INPUT_ALIAS, dtype="DT_STRING", shape=(-1,)),),
        outputs=outputs,
        preprocess=Preprocess(**settings),  # type: ignore[arg-type]
    )


def _infos(tensors: Sequence[Tensor], stem: str, alone: str, known: tuple[TensorInfo, ...]) -> tuple[TensorInfo, ...]:
    """ONNX inferred shapes that TensorFlow left open."""
    by_name = {tensor.name: tensor for tensor in known}
    infos = []
    for index, tensor in enumerate(tensors):
        alias = tensor.alias or (alone if len(tensors) == 1 else f"{stem}_{index}")
        shape = tuple(tensor.shape)
        if tensor.name in by_name and (shape == (-1,) or -1 in shape[1:]):
            shape = by_name[tensor.name].shape
        infos.append(TensorInfo(name=tensor.name, alias=alias, dtype=tensor.dtype, shape=shape))
    return tuple(infos)


def _with_preprocess(split: SplitModel, found: Found) -> SplitModel:
    """A YAML file's `preprocess`: the wire carries encoded images instead of the network's input."""
    wanted = found.wrapper.preprocess if found.wrapper is not None else None
    if wanted is None:
        return split
    name = found.yaml.name if found.yaml is not None else ""
    if split.preprocess is not None:
        raise InvalidFeaturizerSpec(
            f"{name} has a preprocess section, but {found.entry.name} takes encoded images already "
            f"({split.inputs[0].name}). Leave the section out, or name the tensor after decoding in input_tensors."
        )
    if len(split.inputs) != 1:
        raise InvalidFeaturizerSpec(f"{name} has a preprocess section, but the network has {len(split.inputs)} inputs.")
    computing = [node.op_type for node in split.front.node if node.op_type not in MOVING] if split.front else []
    if computing and split.front is not None:
        return _with_own_arithmetic(split, found, wanted, computing, name=name)
    image = split.network.image
    if image.height != image.width or image.channels != 3:
        raise InvalidFeaturizerSpec(
            f"{name} has a preprocess section, which gives square images of three channels; the network reads "
            f"{image.height} x {image.width} x {image.channels}. Leave it out and send arrays."
        )
    return replace(split, inputs=(IMAGE_INPUT,), preprocess=wanted, front=None)


def _with_own_arithmetic(
    split: SplitModel, found: Found, wanted: Preprocess, computing: Sequence[str], *, name: str
) -> SplitModel:
    """Images are decoded and resized before what the network does itself; what would be done twice is refused."""
    from accelform.conversion.model import picture_sides

    assert split.front is not None
    assert found.wrapper is not None
    asked, source = found.wrapper.asked, split.inputs[0]
    height, width, _ = picture_sides(split.front)
    settings = replace(
        wanted,
        means=wanted.means and "means" in asked,
        scaling_factor=wanted.scaling_factor if "scaling_factor" in asked else 1.0,
    )
    twice = []
    if any(op in RESIZING for op in computing):
        twice.append("resizes its input itself")
    if settings.means and any(op in SHIFTING for op in computing):
        twice.append("takes means off itself, and preprocess.means asks for it too")
    if settings.scaling_factor != 1.0 and any(op in SCALING for op in computing):
        twice.append("scales its input itself, and preprocess.scaling_factor asks for it too")
    if settings.means and source.dtype not in REAL:
        twice.append(f"takes {source.dtype}, which can't hold values with means taken off")
    if height != width:
        twice.append(f"reads {height} x {width}, and preprocess gives square images")
    if twice:
        raise InvalidFeaturizerSpec(
            f"{name} has a preprocess section, but {found.entry.name} {'; it '.join(twice)} "
            f"({', '.join(dict.fromkeys(computing))}). Leave out what the network does, or name the tensor "
            "behind that in input_tensors."
        )
    return replace(split, inputs=(IMAGE_INPUT,), preprocess=settings)


def _classes(outputs: tuple[TensorInfo, ...]) -> int | None:
    """The length of the only output's only axis beside the batch."""
    if len(outputs) != 1 or len(outputs[0].shape) != 2 or outputs[0].shape[1] < 1:
        return None
    return outputs[0].shape[1]


def _labels(found: Found, classes: int | None) -> tuple[str, ...]:
    if found.wrapper is None or found.wrapper.labels is None or found.yaml is None:
        return ()
    return read_labels(inside(found.yaml.parent, found.wrapper.labels), classes=classes)
