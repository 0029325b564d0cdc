"""The section on fidelity: what was measured, or how to measure it."""

from __future__ import annotations

from accelform.report.document import Report
from accelform.report.findings import Fidelity, text_db
from accelform.report.page import charts
from accelform.report.page.frame import section, tile
from accelform.report.page.markup import Markup, element, joined, number, shortened
from accelform.report.signal import finite

MEASURE = "accelform fidelity MODEL --images FOLDER --number-format"


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
        return section("Fidelity", text)
    curve = charts.fidelity_curve(report.layers, measured.limit_db)
    return section(
        "Fidelity",
        f"Against the float32 graph, on {number(measured.images)} {'image' if measured.images == 1 else 'images'}. "
        "The signal-to-quantisation-noise ratio (SQNR) of a layer is its output's power over that of its error; "
        f"below {measured.limit_db:g} dB the page calls it wrong.",
        _verdict(report, measured),
        curve,
        _tensors(measured),
        _disagreements(report, measured),
    )


def fidelity_tiles(measured: Fidelity) -> list[Markup]:
    found = []
    images = f"{number(measured.images)} {'image' if measured.images == 1 else 'images'}"
    if measured.agreement is not None:
        top5 = f"top-5 {measured.agreement.top5:.1%}"
        found.append(tile("Top-1 agreement", f"{100 * measured.agreement.top1:.1f}", "%", f"{top5}, {images}"))
    if measured.detections is not None:
        seen = measured.detections
        whole = bool(seen.objects_float32 or seen.objects_format)
        title, share = ("Objects agree", seen.object_agreement) if whole else ("Anchors agree", seen.agreement)
        count = seen.objects_float32 if whole else seen.seen_float32
        found.append(tile(title, f"{100 * share:.1f}", "%", f"{number(count)} seen in float32, {images}"))
    if measured.features:
        worst = min(measured.features, key=lambda row: row.sqnr_db)
        value = finite(worst.sqnr_db)
        found.append(
            tile(
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
    if index < 0:
        return "nothing: scores that are not finite"
    return shortened(report.labels[index], 60) if index < len(report.labels) else f"class {index}"


def _short(report: Report, name: str) -> str:
    return shortened(name.removeprefix(f"{report.network}/"))
