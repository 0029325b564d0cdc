"""What the page says of a report, in sentences and in tiles of a number each; templates put it into markup."""

from __future__ import annotations

from dataclasses import dataclass

from accelform.report._rows import LayerRow
from accelform.report.document import Report
from accelform.report.findings import Fidelity, TensorFidelity, text_db
from accelform.report.page.texts import amount, figures, number, shortened
from accelform.report.signal import finite

MEASURE = "accelform fidelity MODEL --images FOLDER --number-format"
MARKS = ("sourced", "chosen", "fitted", "analytic")
KNOWN_FILES = {
    "model.onnx": "the whole served graph, standard ONNX; its weights lie beside it, in fpga.npz",
    "fpga.json": "the FPGA's part as data",
    "fpga.npz": "the weights as the FPGA stores them",
    "front.onnx": "what comes before the FPGA",
    "head.onnx": "what comes after it",
    "bundle.json": "names, modelled times and digests of what is served",
    "import.log": "what the import said",
    "report.json": "this page's data",
}
SHARE_SHOWN = 0.999


@dataclass(frozen=True)
class Tile:
    """A number that people look for first."""

    title: str
    value: str
    unit: str
    note: str


def tiles(report: Report) -> list[Tile]:
    """In reading order."""
    estimate = report.estimate
    weights, unit = amount(estimate.weight_bytes, "B").split(" ")
    operations, of_operations = amount(2 * estimate.multiply_accumulates, "FLOP").split(" ")
    latency = f"{figures(estimate.latency_low_ms)} to {figures(estimate.latency_high_ms)} ms, batch 1{_of_part(report)}"
    found = [
        Tile("Latency, modelled", figures(estimate.latency_ms), "ms", latency),
        Tile(
            "Throughput, modelled",
            number(estimate.throughput_per_second),
            "/s",
            f"busy {figures(estimate.occupancy_ms)} ms per image",
        ),
        Tile(
            "Arithmetic",
            operations,
            of_operations,
            f"{figures(estimate.effective_teraflops)} of {estimate.peak_teraflops:.1f} TFLOPS",
        ),
        Tile(
            "Weights",
            weights,
            unit,
            f"{report.number_format.bits_per_value:.3g} bits each, "
            + ("they fit on the chip" if estimate.weights_fit_on_chip else "streamed from DDR"),
        ),
    ]
    return found + (_fidelity_tiles(report.fidelity) if report.fidelity else [])


def why_no_bitstream(report: Report) -> str:
    """Empty where there is one."""
    if report.bitstream:
        return ""
    other = f"The FPGA's bitstreams compute in another number format than {report.number_format.name}."
    return shortened(report.mismatch or other, 1000)


def split(report: Report) -> str:
    """How much of the arithmetic is the FPGA's."""
    share = _share(report)
    if share is None:
        return "The FPGA takes the network; the CPU does what comes before and after."
    if share == 1:
        return "The FPGA does every multiply-accumulate."
    text = f"{share:.1%}" if share < SHARE_SHOWN else "more than 99.9%"
    return f"The FPGA does {text} of the multiply-accumulates."


def time(report: Report) -> str:
    """The forecast and its bounds."""
    estimate = report.estimate
    return (
        f"{estimate.latency_ms:.3f} ms forecast for one image on {estimate.fpga}, between "
        f"{estimate.latency_low_ms:.3f} ms (no fill, no waits) and {estimate.latency_high_ms:.3f} ms (every wait for "
        "weights). "
        + (f"{estimate.ddr_stall_ms:.3f} ms of it waits." if estimate.ddr_stall_ms else "None of it waits.")
    )


def provenance(report: Report) -> list[tuple[str, str, str]]:
    """(name, value or nothing, how it was obtained) of each number in the forecast."""
    plain = report.estimate.as_dict()
    values = {key: f"{value:.6g}" for key, value in plain.items() if isinstance(value, (int, float))}
    return [
        (key.replace("_", " ").replace("fpga.", "FPGA: "), values.get(key, ""), source)
        for key, source in report.estimate.provenance.items()
    ]


def knobs(report: Report) -> list[tuple[str, str, str]]:
    """(name, value, source) of each of the number format's knobs, as the format lists them."""
    fmt = report.number_format
    order = list(type(fmt).__dataclass_fields__)
    rows = sorted(fmt.provenance.items(), key=lambda item: order.index(item[0]))
    values = {knob: getattr(fmt, knob) for knob, _ in rows}
    return [
        (knob.replace("_", " "), "–" if values[knob] is None else str(values[knob]), source) for knob, source in rows
    ]


def marked(source: str) -> list[tuple[str, str]]:
    """`sourced: a; chosen: b` as (mark, text) each; the mark is empty where there is none."""
    pieces = [source]
    for mark in MARKS:
        pieces = [part for piece in pieces for part in _cut(piece, f"; {mark}: ")]
    found = []
    for piece in pieces:
        mark, _, text = piece.partition(": ")
        found.append((mark, text) if mark in MARKS else ("", piece))
    return found


def fidelity(measured: Fidelity) -> str:
    """On what it was measured, and what its unit means."""
    return (
        f"Against the float32 graph, on {_images(measured)}. The signal-to-quantisation-noise ratio (SQNR) of a layer "
        f"is its output's power over that of its error; below {measured.limit_db:g} dB the page calls it wrong."
    )


def sqnr(measured: Fidelity, layer: str) -> str:
    """Of a measured layer."""
    return text_db(next(row.sqnr_db for row in measured.layers if row.name == layer))


def added_noise(measured: Fidelity, layer: str) -> str:
    """Of a measured layer, as a share of its signal's power."""
    return f"{next(row.added_noise for row in measured.layers if row.name == layer):.2%}"


def leaving(measured: Fidelity) -> list[TensorFidelity]:
    """The tensors that leave the FPGA or the service, each once."""
    return list({row.tensor: row for row in (*measured.features, *measured.outputs)}.values())


def scores(measured: Fidelity) -> str:
    """How far apart, and how many were right where that is known; empty without classes."""
    found = measured.agreement
    if found is None:
        return ""
    text = f"Scores are {found.score_distance:.4f} apart on average (half the sum of differences"
    text += ", after softmax)." if found.softmax else ")."
    if found.labelled:
        text += (
            f" Of {found.labelled} labelled images float32 is right on {found.correct_float32}, "
            f"{measured.number_format} on {found.correct_format}."
        )
    return text


def changes(report: Report) -> list[tuple[str, str]]:
    """(image, what becomes of its class) of each image that the format sees as another class."""
    agreement = report.fidelity.agreement if report.fidelity else None
    return [
        (
            row.image,
            f"{_class(report, row.float32_class)} ({row.float32_probability:.0%}) becomes "
            f"{_class(report, row.format_class)} ({row.format_probability:.0%})",
        )
        for row in (agreement.disagreements if agreement else ())
    ]


def short(report: Report, layer: str) -> str:
    """A layer's name without the network's scope."""
    return shortened(layer.removeprefix(f"{report.network}/"))


def decibels(row: LayerRow) -> str:
    """`23.4 dB`, `exact`, or a dash where nothing was measured."""
    if not row.measured:
        return "–"
    return "exact" if row.sqnr_db is None else f"{number(row.sqnr_db, 1)} dB"


def _fidelity_tiles(measured: Fidelity) -> list[Tile]:
    found = []
    if measured.agreement is not None:
        share, top5 = 100 * measured.agreement.top1, measured.agreement.top5
        found.append(Tile("Top-1 agreement", f"{share:.1f}", "%", f"top-5 {top5:.1%}, {_images(measured)}"))
    if measured.detections is not None:
        seen = measured.detections
        whole = bool(seen.objects_float32 or seen.objects_format)
        title, share = ("Objects agree", seen.object_agreement) if whole else ("Anchors agree", seen.agreement)
        count = seen.objects_float32 if whole else seen.seen_float32
        note = f"{number(count)} seen in float32, {_images(measured)}"
        found.append(Tile(title, f"{100 * share:.1f}", "%", note))
    if measured.features:
        worst = min(measured.features, key=lambda row: row.sqnr_db)
        title = "SQNR of features" if len(measured.features) == 1 else "SQNR, worst output"
        value = finite(worst.sqnr_db)
        shown, unit = ("exact", "") if value is None else (f"{value:.1f}", "dB")
        found.append(Tile(title, shown, unit, f"cosine {worst.cosine:.4f}"))
    return found


def _images(measured: Fidelity) -> str:
    return f"{number(measured.images)} {'image' if measured.images == 1 else 'images'}"


def _share(report: Report) -> float | None:
    """Of the multiply-accumulates those that the FPGA does; None where some can't be counted."""
    counts = [part.multiply_accumulates for part in report.parts]
    known = [count for count in counts if count is not None]
    if len(known) != len(counts) or not sum(known):
        return None
    return known[1] / sum(known)


def _of_part(report: Report) -> str:
    """What a time is of, where it is not the whole network's."""
    share = _share(report)
    return f", of {share:.1%} of the arithmetic" if share is not None and share < SHARE_SHOWN else ""


def _class(report: Report, index: int) -> str:
    if index < 0:
        return "nothing: scores that are not finite"
    return shortened(report.labels[index], 60) if index < len(report.labels) else f"class {index}"


def _cut(piece: str, between: str) -> list[str]:
    first, *rest = piece.split(between)
    return [first, *(between.removeprefix("; ") + part for part in rest)]
