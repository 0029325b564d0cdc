"""The page's sections, in reading order."""

from __future__ import annotations

from collections.abc import Iterator

from accelform.report.document import Report
from accelform.report.fidelity import Fidelity, text_db
from accelform.report.page import charts, tables
from accelform.report.page.markup import Markup, amount, element, figures, joined, number, relative_link, shortened
from accelform.report.page.picture import picture
from accelform.report.signal import finite

KNOWN_FILES = {
    "model.onnx": "the whole served graph, standard ONNX",
    "fpga.json": "the FPGA's part as data",
    "fpga.npz": "its weights as the FPGA stores them",
    "front.onnx": "what comes before the FPGA",
    "head.onnx": "what comes after it",
    "bundle.json": "names, modelled times and digests of what is served",
    "import.log": "what the import said",
    "report.json": "this page's data",
}
SHARE_SHOWN = 0.999
MEASURE = "accelform fidelity MODEL --images FOLDER --number-format"


def all_of(report: Report) -> Iterator[Markup]:
    """Header first."""
    yield header(report)
    yield tiles(report)
    yield _section("Where it runs", _split_lede(report), picture(report.parts))
    yield time(report)
    yield fidelity(report)
    lede = "In execution order; click a heading to sort by it. Times are modelled, weights are in the number format."
    limit = report.fidelity.limit_db if report.fidelity and report.fidelity.layers else None
    yield _section("Layers", lede, tables.layer_table(report.layers, limit_db=limit))
    fmt = report.number_format
    yield _section(f"Number format {fmt.name}", f"{fmt.title}. {_bits(report)}", tables.knob_table(fmt))
    yield files(report)
    yield element("footer", "Written by accelform. This page is one file: it loads nothing and sends nothing.")


def header(report: Report) -> Markup:
    """Name, badges, and why there is no bitstream if there is none."""
    version = element("small", f"version {report.version}") if report.version else None
    badges = [
        element("span", report.family_title or "no known family", class_="badge"),
        element("span", report.number_format.name, class_="badge"),
        element(
            "span",
            f"bitstream {report.bitstream}" if report.bitstream else "no bitstream: emulation only",
            class_=f"badge {'good' if report.bitstream else 'warn'}",
        ),
    ]
    return element(
        "header",
        element("h1", shortened(report.name, 120), " ", version),
        element("div", *badges, class_="badges"),
        _why_no_bitstream(report),
    )


def tiles(report: Report) -> Markup:
    """The numbers that people look for first."""
    estimate = report.estimate
    weights, unit = amount(estimate.weight_bytes, "B").split(" ")
    operations, of_operations = amount(2 * estimate.multiply_accumulates, "FLOP").split(" ")
    found = [
        _tile(
            "Latency, modelled",
            figures(estimate.latency_ms),
            "ms",
            f"{figures(estimate.latency_low_ms)} to {figures(estimate.latency_high_ms)} ms, batch 1",
        ),
        _tile(
            "Throughput, modelled",
            number(estimate.throughput_per_second),
            "/s",
            f"busy {figures(estimate.occupancy_ms)} ms per image",
        ),
        _tile(
            "Arithmetic",
            operations,
            of_operations,
            f"{figures(estimate.effective_teraflops)} of {estimate.peak_teraflops:.1f} TFLOPS",
        ),
        _tile(
            "Weights",
            weights,
            unit,
            f"{report.number_format.bits_per_value:.3g} bits each, "
            + ("they fit on the chip" if estimate.weights_fit_on_chip else "streamed from DDR"),
        ),
    ]
    if report.fidelity is not None:
        found += _fidelity_tiles(report.fidelity)
    return element("dl", *found, class_="tiles")


def time(report: Report) -> Markup:
    """Bracket, stages, layers, provenance."""
    estimate = report.estimate
    low, high = estimate.latency_low_ms, estimate.latency_high_ms
    text = (
        f"{estimate.latency_ms:.3f} ms forecast for one image on {estimate.fpga}, between {low:.3f} ms "
        f"(no fill, no waits) and {high:.3f} ms (every wait for weights). "
        + (f"{estimate.ddr_stall_ms:.3f} ms of it waits." if estimate.ddr_stall_ms else "None of it waits.")
    )
    key = element(
        "div",
        element("span", _swatch("of-compute"), "computes"),
        element("span", _swatch("of-wait"), "waits for weights"),
        class_="key",
    )
    columns = charts.latency_columns(report.layers)
    provenance = element(
        "details",
        element("summary", "Where these numbers are from"),
        tables.provenance_list(_values(report), estimate.provenance),
    )
    return _section(
        "Time", text,
        charts.bracket(low, estimate.latency_ms, high),
        columns, key if columns and estimate.ddr_stall_ms else None,
        element("h3", "By stage", class_="stages") if charts.latency_groups(report.layers) else None,
        charts.latency_groups(report.layers),
        provenance,
    )  # fmt: skip


def fidelity(report: Report) -> Markup:
    """What was measured, or how to measure it."""
    measured = report.fidelity
    if measured is None:
        text = joined(
            "Not measured: the conversion saw no images. ",
            element("code", f"{MEASURE} {report.number_format.name}"),
            " measures it on yours, and ",
            element("code", "accelform report MODEL --images FOLDER --output FILE"),
            " writes this page with it.",
        )
        return _section("Fidelity", text)
    curve = charts.fidelity_curve(report.layers, measured.limit_db)
    return _section(
        "Fidelity",
        f"Against the float32 graph, on {number(measured.images)} {'image' if measured.images == 1 else 'images'}. "
        "The signal-to-quantisation-noise ratio (SQNR) of a layer is its output's power over that of its error; "
        f"below {measured.limit_db:g} dB the page calls it wrong.",
        _verdict(report, measured),
        curve,
        _tensors(measured),
        _disagreements(report, measured),
    )


def files(report: Report) -> Markup:
    """What it was made from, and links to what was made."""
    facts = [joined(element("dt", key), element("dd", element("code", value))) for key, value in report.source.items()]
    links = [
        joined(element("dt", element("a", title, href=relative_link(path))), element("dd", KNOWN_FILES.get(path, path)))
        for title, path in report.links.items()
    ]
    return _section(
        "Source and files", "",
        element("dl", *facts, class_="facts") if facts else None,
        element("h3", "Files") if links else None,
        element("dl", *links, class_="facts") if links else None,
    )  # fmt: skip


def _section(title: str, lede: str, *content: Markup | None) -> Markup:
    return element("section", element("h2", title), element("p", lede, class_="lede") if lede else None, *content)


def _tile(title: str, value: str, unit: str, note: str) -> Markup:
    return element(
        "div",
        element("dt", title),
        element("dd", value, " " if unit else None, element("small", unit) if unit else None),
        element("p", note),
        class_="tile",
    )


def _fidelity_tiles(measured: Fidelity) -> list[Markup]:
    found = []
    images = f"{number(measured.images)} {'image' if measured.images == 1 else 'images'}"
    if measured.agreement is not None:
        top5 = f"top-5 {measured.agreement.top5:.1%}"
        found.append(_tile("Top-1 agreement", f"{100 * measured.agreement.top1:.1f}", "%", f"{top5}, {images}"))
    if measured.detections is not None:
        note = f"{number(measured.detections.seen_float32)} objects in float32, {images}"
        found.append(_tile("Detections agree", f"{100 * measured.detections.agreement:.1f}", "%", note))
    if measured.features:
        worst = min(measured.features, key=lambda row: row.sqnr_db)
        value = finite(worst.sqnr_db)
        found.append(
            _tile(
                "SQNR of features" if len(measured.features) == 1 else "SQNR, worst output",
                "exact" if value is None else f"{value:.1f}",
                "" if value is None else "dB",
                f"cosine {worst.cosine:.4f}",
            )
        )
    return found


def _verdict(report: Report, measured: Fidelity) -> Markup | None:
    if not measured.layers:
        return None
    rows = {row.name: row for row in measured.layers}
    words: list[str | Markup] = []
    if measured.first_wrong is None:
        words.append(f"Every layer stays above {measured.limit_db:g} dB.")
    else:
        row = rows[measured.first_wrong]
        name = element("code", _short(report, row.name))
        words += ["The first layer that goes wrong is ", name, f", with {text_db(row.sqnr_db)}."]
    if measured.noisiest is not None:
        row = rows[measured.noisiest]
        name = element("code", _short(report, row.name))
        words += [" Most noise is added by ", name, f": {row.added_noise:.2%} of its signal's power."]
    return element("p", *words)


def _tensors(measured: Fidelity) -> Markup:
    leaving = {row.tensor: row for row in (*measured.features, *measured.outputs)}
    head = ("Tensor", "SQNR dB", "Cosine", "Largest difference")
    rows = [
        element(
            "tr",
            element("th", element("span", shortened(row.tensor), class_="name"), scope="row"),
            element("td", text_db(row.sqnr_db).removesuffix(" dB"), class_="figure"),
            element("td", f"{row.cosine:.5f}", class_="figure"),
            element("td", f"{row.largest_difference:.4g}", class_="figure"),
        )
        for row in leaving.values()
    ]
    cells = [element("th", text, scope="col", class_="figure" if index else None) for index, text in enumerate(head)]
    table = element("table", element("thead", element("tr", cells)), element("tbody", rows))
    return element("div", table, class_="wide tensors", tabindex="0", role="region", aria_label="tensors that leave")


def _disagreements(report: Report, measured: Fidelity) -> Markup | None:
    found = measured.agreement
    if found is None:
        return None
    text = f"Scores are {found.score_distance:.4f} apart on average (half the sum of differences"
    text += ", after softmax)." if found.softmax else ")."
    if found.labelled:
        text += (
            f" Of {found.labelled} labelled images float32 is right on {found.correct_float32}, "
            f"{measured.number_format} on {found.correct_format}."
        )
    rows = [
        element(
            "li", element("span", shortened(row.image, 80), class_="name"),
            f": {_class(report, row.float32_class)} ({row.float32_probability:.0%}) becomes "
            f"{_class(report, row.format_class)} ({row.format_probability:.0%})",
        )
        for row in found.disagreements
    ]  # fmt: skip
    shown = element("details", element("summary", "Images that change their class"), element("ul", *rows))
    return joined(element("p", text, class_="scores"), shown if rows else None)


def _class(report: Report, index: int) -> str:
    return shortened(report.labels[index], 60) if index < len(report.labels) else f"class {index}"


def _short(report: Report, name: str) -> str:
    return shortened(name.removeprefix(f"{report.network}/"))


def _why_no_bitstream(report: Report) -> Markup | None:
    if report.bitstream:
        return None
    reason = (
        report.mismatch or f"The FPGA's bitstreams compute in another number format than {report.number_format.name}."
    )
    return element("p", element("strong", "No bitstream. "), shortened(reason, 1000), class_="note")


def _split_lede(report: Report) -> str:
    front, fpga, head = report.parts
    whole = sum(part.multiply_accumulates or 0 for part in report.parts)
    counted = all(part.multiply_accumulates is not None for part in (front, head))
    if not whole or not counted:
        return "The FPGA takes the network; the CPU does what comes before and after."
    share = 10000 * (fpga.multiply_accumulates or 0) // whole / 10000
    text = f"{share:.2%}" if share < SHARE_SHOWN or share == 1 else "more than 99.9%"
    return f"The FPGA does {text} of the multiply-accumulates."


def _bits(report: Report) -> str:
    return f"{report.number_format.bits_per_value:.4g} bits per value."


def _values(report: Report) -> dict[str, str]:
    plain = report.estimate.as_dict()
    return {key: f"{value:.6g}" for key, value in plain.items() if isinstance(value, (int, float))}


def _swatch(colour: str) -> Markup:
    return element("svg", element("rect", width="100%", height="100%", rx=3, class_=colour), aria_hidden="true")
