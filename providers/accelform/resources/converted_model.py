"""ConvertedModel: what the FPGA makes of a model, foretold at preview and built at deployment."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accelform import project
from accelform.errors import StoreCorrupt, UserError
from accelform.plans import names
from accelform.plans.contract import Planned, Problem, Property, ResourceContract
from accelform.plans.identity import fingerprint
from accelform.resources import common
from accelform.resources.base import AccelResource, Values, unknown_unless_known
from accelform.resources.model import ENTRY, NAMES
from accelform.resources.versioned import CLAIM, Content, VersionedProvider, find_version

if TYPE_CHECKING:
    from pathlib import Path

    from pulumi import Input, Output, ResourceOptions

    from accelform.resources.model import Model
    from accelform.store.manifest import Manifest

LARGE_SHARE = 0.9
"""Of a network on the FPGA: below it a latency is not what people take it for."""

CONTRACT = ResourceContract(
    name="ConvertedModel",
    summary="A model in the FPGA's number format, split into FPGA part and CPU part, with its forecast.",
    delete_before_replace=False,
    properties=(
        common.STORAGE_URL,
        Property(
            name="model_name", kind="string", role="replace", required=True, description="name of the source model"
        ),
        Property(
            name="model_digest", kind="string", role="replace", required=True, description="digest of the source model"
        ),
        Property(
            name="model_path", kind="string", role="update", required=True, description="where the source was read"
        ),
        Property(
            name="model_owner", kind="string", role="update", required=True, description="owner of the source model"
        ),
        Property(
            name="model_input_tensors",
            kind="list",
            role="update",
            required=True,
            description="the source's input tensors",
        ),
        Property(
            name="model_output_tensors",
            kind="list",
            role="update",
            required=True,
            description="the source's output tensors",
        ),
        Property(
            name="input_tensors",
            kind="list",
            role="replace",
            description="inputs to convert from; default: the model's",
        ),
        Property(
            name="output_tensors",
            kind="list",
            role="replace",
            description="outputs to convert to; default: the model's",
        ),
        Property(
            name="require_fpga_conversion",
            kind="boolean",
            role="replace",
            default=True,
            description="refuse a network that no FPGA topology matches",
        ),
        Property(
            name="number_format",
            kind="string",
            role="replace",
            default="bw-a10-cnn",
            description="profile of the FPGA part",
        ),
        Property(
            name="calibration_images",
            kind="string",
            role="update",
            description="folder of images, relative to Pulumi.yaml, to compare the formats on; empty: none",
        ),
        common.OWNER,
        Property(
            name="calibration_digest",
            kind="string",
            role="replace",
            computed=True,
            description="identity of the calibration images; empty without any",
        ),
        Property(
            name="topology",
            kind="string",
            role="replace",
            computed=True,
            description="matched featurizer family; empty where none matches",
        ),
        Property(
            name="mismatch",
            kind="string",
            role="update",
            computed=True,
            description="first difference to the nearest family, where none matches",
        ),
        Property(
            name="bitstream",
            kind="string",
            role="update",
            computed=True,
            description="Azure ML's id of the FPGA's bitstream for it; empty: runs in emulation only",
        ),
        Property(
            name="fingerprint", kind="string", role="replace", computed=True, description="identity of the conversion"
        ),
        Property(
            name="predicted_latency_ms",
            kind="number",
            role="update",
            computed=True,
            unit="ms",
            description="modelled latency of one image in the FPGA's part; `fpga_share` is that part's share",
        ),
        Property(
            name="fpga_share",
            kind="number",
            role="update",
            computed=True,
            description="the FPGA's share of the network's multiply-accumulates; 0 where they can't be counted",
        ),
        Property(
            name="estimate",
            kind="map",
            role="update",
            computed=True,
            description="latency, throughput and their provenance",
        ),
        Property(
            name="name",
            kind="string",
            role="output",
            description="`<model>.<version>.accelonnx`, at most 32 characters",
        ),
        Property(name="version", kind="integer", role="output", description="version under that name"),
        Property(name="url", kind="string", role="output", description="where the converted files are"),
        Property(name="report_url", kind="string", role="output", description="the report, a page for the browser"),
        Property(name="report_json_url", kind="string", role="output", description="the report as data"),
        Property(
            name="import_log_url",
            kind="string",
            role="output",
            description="what TensorFlow said at the import; empty for other sources",
        ),
        common.CREATED_TIME,
        CLAIM,
    ),
)


class ConvertedModelProvider(VersionedProvider):
    """Converts a registered model and registers the result."""

    contract = CONTRACT
    kind = "models"
    identity = "fingerprint"
    fault_prefix = "converted-model"

    def plan(self, inputs: Values, *, stored: Mapping[str, Any]) -> Planned:
        needed = tuple(row.name for row in CONTRACT.inputs if not row.computed)
        if unknown := unknown_unless_known(CONTRACT, inputs, needed):
            return unknown
        problems = [
            problem
            for key in ("input_tensors", "output_tensors")
            for problem in _tensor_problems(key, inputs.get(key) or [], inputs[f"model_{key}"])
        ]
        from accelform.conversion import CONVERTER_VERSION
        from accelform.featurizers.bitstreams import bitstream
        from accelform.featurizers.forecast import forecast
        from accelform.sources import read_source

        problems.extend(_format_problems(inputs["number_format"]))
        calibration, unusable = _calibration(inputs.get("calibration_images"))
        problems.extend(unusable)
        try:
            source = read_source(project.resolve(inputs["model_path"]), progress=common.note)
        except UserError as error:
            problems.append(Problem(property="model_path", reason=str(error)))
            return Planned(computed={}, problems=tuple(problems))
        if inputs["require_fpga_conversion"] and source.mismatch:
            reason = f"no FPGA topology matches: {source.mismatch}. Set it to false to run the network in emulation"
            problems.append(Problem(property="require_fpga_conversion", reason=reason))
        if problems:
            return Planned(computed={}, problems=tuple(problems))
        estimate = forecast(source.network, number_format=inputs["number_format"]).as_dict()
        estimate.pop("layers", None)
        share = source.fpga_share or 0.0
        if 0 < share < LARGE_SHARE:
            common.note(
                f"the FPGA does {share:.1%} of the network's multiply-accumulates; the forecast of "
                f"{estimate['latency_ms']:.3f} ms is of that part alone"
            )
        computed = {
            "topology": source.family or "",
            "mismatch": source.mismatch,
            "bitstream": bitstream(source.family, inputs["number_format"], mismatch=source.mismatch),
            "calibration_digest": calibration,
            "predicted_latency_ms": estimate["latency_ms"],
            "fpga_share": share,
            "estimate": estimate,
            "fingerprint": fingerprint(
                converter=CONVERTER_VERSION,
                model=inputs["model_digest"],
                inputs=inputs.get("input_tensors") or inputs["model_input_tensors"],
                outputs=inputs.get("output_tensors") or inputs["model_output_tensors"],
                number_format=inputs["number_format"],
                calibration=calibration,
            ),
        }
        return Planned(computed=computed, problems=tuple(problems))

    def name_of(self, values: Values) -> str:
        if values.get("name"):
            return str(values["name"])
        source = _source(values)
        return names.converted_model_name(source.name, source.version)

    def content(self, inputs: Values, *, name: str, version: int, folder: Path) -> Content:
        from accelform.conversion.deliver import Wanted, deliver
        from accelform.sources import load_source
        from accelform.store import catalog
        from accelform.store.versions import MadeFile

        model = _source(inputs)
        stored = catalog.local_files(common.open_store(inputs), model, folder / "store")
        names_given = model.properties.get(NAMES, {})
        entry = _laid_out(stored, names_given, folder / "source") / model.properties[ENTRY]
        calibration = inputs.get("calibration_images")
        wanted = Wanted(
            name=name,
            version=str(model.version),
            number_format=inputs["number_format"],
            input_tensors=inputs.get("input_tensors") or None,
            output_tensors=inputs.get("output_tensors") or None,
            calibration_images=project.resolve(calibration) if calibration else None,
        )

        def progress(text: str) -> None:
            common.note(f"{text} ({name})")

        try:
            source, split = load_source(entry, progress)
            if source.digest != model.digest:
                raise StoreCorrupt(
                    f"{model.name}:{model.version} in {inputs['storage_url']} has other content than was registered "
                    f"({source.digest}). Run `pulumi refresh` and then `pulumi up` to register the model again."
                )
            delivery = deliver(source, split, output_dir=folder / "delivery", wanted=wanted, progress=progress)
        except UserError as error:
            # The user's file, and not the place where it was laid out from the store.
            given = str(inputs["model_path"])
            said = str(error).replace(str(entry), given).replace(f"{entry.parent}/", "").replace(f"{folder}/", "")
            raise type(error)(said) from error
        made = {key: MadeFile(path=path, sha256=delivery.sha256s[key]) for key, path in delivery.files.items()}
        return Content(made_files=made)

    def outputs(self, url: str, manifest: Manifest) -> Values:
        from accelform.conversion.deliver import IMPORT_LOG, REPORT_DATA, REPORT_PAGE

        names_of_files = {file.name for file in manifest.files}
        return {
            **super().outputs(url, manifest),
            "name": manifest.name,
            "url": url,
            "report_url": f"{url}/{REPORT_PAGE}",
            "report_json_url": f"{url}/{REPORT_DATA}",
            "import_log_url": f"{url}/{IMPORT_LOG}" if IMPORT_LOG in names_of_files else "",
        }


def _laid_out(stored: Mapping[str, Path], names_given: Mapping[str, str], folder: Path) -> Path:
    """The model's files alone in a folder, as its author had them: the store keeps its own beside them."""
    for key, path in stored.items():
        place = folder / names_given.get(key, key)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, place)
        except OSError:
            shutil.copyfile(path, place)
    return folder


def _format_problems(name: str) -> list[Problem]:
    from accelform.conversion.converter import number_format_of

    try:
        number_format_of(name)
    except UserError as error:
        return [Problem(property="number_format", reason=str(error))]
    return []


def _calibration(path: str | None) -> tuple[str, list[Problem]]:
    """The digest of the calibration images, and what is wrong with them."""
    try:
        return _calibration_digest(path), []
    except UserError as error:
        return "", [Problem(property="calibration_images", reason=str(error))]


def _calibration_digest(path: str | None) -> str:
    if not path:
        return ""
    from accelform.report import find_samples

    digest = hashlib.sha256()
    for sample in find_samples([project.resolve(path)], progress=common.note):
        digest.update(f"{sample.name}\0{hashlib.sha256(sample.path.read_bytes()).hexdigest()}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def _source(inputs: Values) -> Manifest:
    return find_version(
        common.open_store(inputs),
        kind="models",
        owner=inputs["model_owner"],
        digest=inputs["model_digest"],
        what="model",
    )


def _tensor_problems(key: str, wanted: list[str], available: list[str]) -> list[Problem]:
    return [
        Problem(property=key, reason=f"the model has no tensor {name!r}; it has {', '.join(map(repr, available))}")
        for name in wanted
        if name not in available
    ]


class ConvertedModel(AccelResource, module="accel", name="ConvertedModel"):
    """`model` converted for the FPGA, like Azure ML's `AccelOnnxConverter.convert_tf_model`."""

    contract = CONTRACT

    storage_url: Output[str]
    owner: Output[str]
    topology: Output[str]
    mismatch: Output[str]
    bitstream: Output[str]
    calibration_digest: Output[str]
    fingerprint: Output[str]
    predicted_latency_ms: Output[float]
    fpga_share: Output[float]
    estimate: Output[Mapping[str, Any]]
    name: Output[str]
    version: Output[int]
    url: Output[str]
    report_url: Output[str]
    report_json_url: Output[str]
    import_log_url: Output[str]
    created_time: Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        model: Model,
        input_tensors: Input[list[str]] | None = None,
        output_tensors: Input[list[str]] | None = None,
        require_fpga_conversion: Input[bool] | None = None,
        number_format: Input[str] | None = None,
        calibration_images: Input[str] | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "storage_url": model.storage_url,
            "model_name": model.model_name,
            "model_digest": model.digest,
            "model_path": model.model_path,
            "model_owner": model.owner,
            "model_input_tensors": model.input_tensors,
            "model_output_tensors": model.output_tensors,
            "input_tensors": input_tensors,
            "output_tensors": output_tensors,
            "require_fpga_conversion": require_fpga_conversion,
            "number_format": number_format,
            "calibration_images": calibration_images,
        }
        super().__init__(ConvertedModelProvider(), resource_name, inputs, opts)
