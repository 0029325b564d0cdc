"""The page's sections, in reading order."""

from __future__ import annotations

from collections.abc import Iterator

from accelform.report.document import Report
from accelform.report.page import charts, measured, tables
from accelform.report.page.frame import section, tile
from accelform.report.page.markup import Markup, amount, element, figures, joined, number, relative_link, shortened
from accelform.report.page.picture import picture

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


def all_of(report: Report) -> Iterator[Markup]:
    """Header first."""
    yield header(report)
    yield tiles(report)
    yield section("Where it runs", _split_lede(report), picture(report.parts))
    yield time(report)
    yield measured.fidelity(report)
    lede = "In execution order; click a heading to sort by it. Times are modelled, weights are in the number format."
    limit = report.fidelity.limit_db if report.fidelity and report.fidelity.layers else None
    yield section("Layers", lede, tables.layer_table(report.layers, limit_db=limit))
    fmt = report.number_format
    yield section(f"Number format {fmt.name}", f"{fmt.title}. {_bits(report)}", tables.knob_table(fmt))
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
        tile(
            "Latency, modelled",
            figures(estimate.latency_ms),
            "ms",
            f"{figures(estimate.latency_low_ms)} to {figures(estimate.latency_high_ms)} ms, batch 1{_of_part(report)}",
        ),
        tile(
            "Throughput, modelled",
            number(estimate.throughput_per_second),
            "/s",
            f"busy {figures(estimate.occupancy_ms)} ms per image",
        ),
        tile(
            "Arithmetic",
            operations,
            of_operations,
            f"{figures(estimate.effective_teraflops)} of {estimate.peak_teraflops:.1f} TFLOPS",
        ),
        tile(
            "Weights",
            weights,
            unit,
            f"{report.number_format.bits_per_value:.3g} bits each, "
            + ("they fit on the chip" if estimate.weights_fit_on_chip else "streamed from DDR"),
        ),
    ]
    if report.fidelity is not None:
        found += measured.fidelity_tiles(report.fidelity)
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
    return section(
        "Time", text,
        charts.bracket(low, estimate.latency_ms, high),
        columns, key if columns and estimate.ddr_stall_ms else None,
        element("h3", "By stage", class_="stages") if charts.latency_groups(report.layers) else None,
        charts.latency_groups(report.layers),
        provenance,
    )  # fmt: skip


def files(report: Report) -> Markup:
    """What it was made from, and links to what was made."""
    facts = [joined(element("dt", key), element("dd", element("code", value))) for key, value in report.source.items()]
    links = [
        joined(element("dt", element("a", title, href=relative_link(path))), element("dd", KNOWN_FILES.get(path, path)))
        for title, path in report.links.items()
    ]
    return section(
        "Source and files", "",
        element("dl", *facts, class_="facts") if facts else None,
        element("h3", "Files") if links else None,
        element("dl", *links, class_="facts") if links else None,
    )  # fmt: skip


def _why_no_bitstream(report: Report) -> Markup | None:
    if report.bitstream:
        return None
    reason = (
        report.mismatch or f"The FPGA's bitstreams compute in another number format than {report.number_format.name}."
    )
    return element("p", element("strong", "No bitstream. "), shortened(reason, 1000), class_="note")


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


def _split_lede(report: Report) -> str:
    share = _share(report)
    if share is None:
        return "The FPGA takes the network; the CPU does what comes before and after."
    if share == 1:
        return "The FPGA does every multiply-accumulate."
    text = f"{share:.1%}" if share < SHARE_SHOWN else "more than 99.9%"
    return f"The FPGA does {text} of the multiply-accumulates."


def _bits(report: Report) -> str:
    return f"{report.number_format.bits_per_value:.4g} bits per value."


def _values(report: Report) -> dict[str, str]:
    plain = report.estimate.as_dict()
    return {key: f"{value:.6g}" for key, value in plain.items() if isinstance(value, (int, float))}


def _swatch(colour: str) -> Markup:
    return element("svg", element("rect", width="100%", height="100%", rx=3, class_=colour), aria_hidden="true")
