"""The report as people meet it: opened in a browser that can reach nothing."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path

import pytest

from accelform.conversion.split import SplitModel
from accelform.report import write_report
from accelform.report.agreement import Agreement, Disagreement
from accelform.report.findings import Fidelity, LayerFidelity, TensorFidelity
from accelform_runtime.network.network import Network
from accelform_runtime.numerics.format import load_profile
from accelform_runtime.timing.estimate import Estimate, estimate
from accelform_runtime.timing.spec import load_spec

from .conftest import Browser

HOSTILE = "</title></style><script>window.broken=1</script><img src=//example.com/x onerror=window.broken=1>"
SCREENS = (375, 768, 1280)

CONTRAST = """
const rgb = text => text.match(/[\\d.]+/g).map(Number);
const channel = v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
const behind = node => {
  for (; node; node = node.parentElement) {
    const c = rgb(getComputedStyle(node).backgroundColor);
    if (c.length < 4 || c[3] === 1) return c;
  }
  return [255, 255, 255];
};
const boxes = text => {
  const found = Array.from(text.ownerSVGElement.querySelectorAll('rect')).filter(box => {
    const a = box.getBoundingClientRect(), b = text.getBoundingClientRect();
    return a.left <= b.left && a.right >= b.left && a.top <= b.top && a.bottom >= b.bottom;
  });
  return found.length ? rgb(getComputedStyle(found.at(-1)).fill) : behind(text);
};
const weak = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
let seen = 0;
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  const shown = walker.currentNode.textContent.trim() && node.getClientRects().length;
  if (!shown || node.tagName === 'title' || node.tagName === 'SCRIPT') continue;
  seen += 1;
  const svg = node.tagName === 'text';
  const style = getComputedStyle(node);
  const a = light(rgb(svg ? style.fill : style.color)), b = light(svg ? boxes(node) : behind(node));
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < 4.5) weak.push([node.textContent.slice(0, 40), ratio]);
}
return [seen, weak];
"""


def forecast(network: Network) -> Estimate:
    return estimate(network.conv_layers(), load_spec("bw-a10"), load_profile("bw-a10-cnn"))


def measured(network: Network, image: str = "cat.png") -> Fidelity:
    """As if measured: one decibel less with each layer."""
    layers = tuple(
        LayerFidelity(
            name=step.name,
            sqnr_db=60.0 - index,
            worst_db=58.0 - index,
            drop_db=1.0 if index else None,
            added_noise=0.01,
        )
        for index, step in enumerate(network.steps)
    )
    tensor = TensorFidelity(tensor="features:0", sqnr_db=18.25, cosine=0.9931, largest_difference=0.5)
    change = Disagreement(image=image, float32_class=0, float32_probability=0.6, format_class=1, format_probability=0.5)
    return Fidelity(
        number_format="bw-a10-cnn",
        images=40,
        limit_db=10.0,
        layers=layers,
        first_wrong=next((layer.name for layer in layers if layer.sqnr_db < 10), None),
        noisiest=layers[-1].name,
        features=(tensor,),
        outputs=(),
        agreement=Agreement(
            images=40, top1=0.975, top5=1.0, score_distance=0.02, softmax=False, disagreements=(change,)
        ),
        detections=None,
    )


def write(folder: Path, split: SplitModel, *, name: str = "digits", image: str = "cat.png") -> Path:
    files = write_report(
        output_dir=folder,
        name=name,
        version="3",
        source={"path": name, "digest": "sha256:" + "ab" * 32},
        split=split,
        fmt=load_profile("bw-a10-cnn"),
        estimate=forecast(split.network),
        fidelity=measured(split.network, image),
        links={"Served graph": "model.onnx", "Import log": f"../logs/{name}"},
    )
    return files["report.html"]


@pytest.fixture(scope="module")
def page(resnet50: SplitModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("report"), resnet50)


@pytest.fixture
def opened(browser: Browser, page: Path) -> Browser:
    browser.requests()
    browser.complaints()
    browser.scheme("light")
    browser.screen(1280)
    browser.open(page)
    return browser


def test_the_page_needs_nothing_but_itself(opened: Browser, page: Path) -> None:
    """No request besides the file, nothing in the console, styles applied under its own policy."""
    assert opened.requests() == [page.as_uri()]
    assert opened.complaints() == []
    assert opened.script("return getComputedStyle(document.querySelector('.tile')).borderRadius") == "12px"


def test_foreign_code_cannot_run_in_the_page(opened: Browser) -> None:
    """The policy refuses what is not the page's own script, and every address outside."""
    opened.script(
        "const s = document.createElement('script'); s.textContent = 'window.broken = 1'; document.body.append(s);"
        "const i = new Image(); i.src = 'http://example.com/x.png'; document.body.append(i);"
        "return new Promise(done => { i.onerror = done; i.onload = done; })"
    )
    refused = [text for text in opened.complaints() if "Content Security Policy" in text]

    assert opened.script("return window.broken === undefined")
    assert len(refused) == 2
    assert "http://example.com/x.png" in "".join(refused)


def test_the_table_has_a_row_per_layer(opened: Browser, resnet50: SplitModel) -> None:
    """In execution order, with the numbers of the forecast."""
    network = resnet50.network
    rows = opened.script(
        "return Array.from(document.querySelectorAll('table.layers tbody tr'), row => "
        "Array.from(row.cells, cell => cell.textContent))"
    )
    costs = {layer.name: layer for layer in forecast(network).layers}

    assert [row[1] for row in rows] == [step.name.removeprefix("resnet_v1_50/") for step in network.steps]
    for row, step in zip(rows, network.steps, strict=True):
        maps = network.maps[step.name]
        assert row[3] == f"{maps.height} × {maps.width} × {maps.channels}"
        assert row[9] == (f"{costs[step.name].latency_ms:.4f}" if step.name in costs else "–")


@pytest.mark.parametrize("column", range(11))
def test_every_column_sorts_both_ways(opened: Browser, column: int) -> None:
    """Figures by value and not by their text; what has none stays at the end either way."""
    click = f"document.querySelectorAll('table.layers th button')[{column}].click();"
    read = (
        "return Array.from(document.querySelectorAll('table.layers tbody tr'), row => "
        f"row.cells[{column}].dataset.value ?? row.cells[{column}].textContent)"
    )
    before = opened.script(read)
    for _ in range(2):
        opened.script(click)
        order = opened.script(
            f"return document.querySelectorAll('table.layers th button')[{column}].closest('th').ariaSort"
        )
        values = opened.script(read)
        there = [value for value in values if value != ""]
        assert values[: len(there)] == there
        assert sorted(values) == sorted(before)
        if column not in (1, 2):
            numbers = [float(value) for value in there]
            assert numbers == sorted(numbers, reverse=order == "descending")
        else:
            ends = (there[0], there[-1])
            assert (min(ends), max(ends)) == (ends if order == "ascending" else ends[::-1])


def test_bars_are_as_wide_as_their_numbers(opened: Browser, resnet50: SplitModel) -> None:
    """Within half a pixel, in the table and by stage; columns are as tall as theirs."""
    width = "box.getBoundingClientRect().width"
    bars = opened.script(
        "return Array.from(document.querySelectorAll('table.layers .bar'), bar => "
        f"[Number(bar.closest('td').dataset.value), ...Array.from(bar.querySelectorAll('rect'), box => {width})])"
    )
    longest = max(value for value, _, _ in bars)
    stages = opened.script(
        "return Array.from(document.querySelectorAll('.group-bar'), bar => [parseFloat(bar.nextElementSibling"
        f".textContent), ...Array.from(bar.querySelectorAll('rect'), box => {width})])"
    )
    heights = opened.script(
        "return Array.from(document.querySelectorAll('.latency-columns .of-compute'),"
        "box => box.getBoundingClientRect().height)"
    )
    times = [layer.latency_ms for layer in forecast(resnet50.network).layers]

    assert len(bars) == len(resnet50.network.convolutions)
    assert all(full == pytest.approx(track * value / longest, abs=0.5) for value, track, full in bars)
    assert [full / track for _, track, full in stages] == pytest.approx(
        [value / max(stages)[0] for value, _, _ in stages], abs=0.005
    )
    assert heights == pytest.approx([150 * value / max(times) for value in times], abs=0.5)


def test_the_curve_follows_the_measurement(opened: Browser) -> None:
    """A point per layer, falling as the decibels do, those below the limit marked and below its line."""
    points = opened.script(
        "return Array.from(document.querySelectorAll('.fidelity-curve circle'), point => "
        "[point.getBoundingClientRect().x, Number(point.getAttribute('cy')), point.classList.contains('of-bad')])"
    )
    (limit,) = opened.script(
        "return Array.from(document.querySelectorAll('.fidelity-curve .limit'),line => Number(line.getAttribute('y1')))"
    )

    assert len(points) == 74
    assert all(left[0] < right[0] and left[1] < right[1] for left, right in pairwise(points) if right[1] < 150)
    assert [bad for _, _, bad in points] == [height > limit for _, height, _ in points]


@pytest.mark.parametrize("width", SCREENS)
def test_nothing_runs_over_the_screen(opened: Browser, width: int, tmp_path: Path) -> None:
    """Only the region around the table scrolls sideways, and only where it has to."""
    opened.screen(width)

    inner, whole, wider = opened.script(
        "const inner = document.documentElement.clientWidth;"
        "document.querySelectorAll('details').forEach(item => item.open = true);"
        "const over = Array.from(document.querySelectorAll('body *')).filter(node => !node.closest('.wide')"
        "  && node.getClientRects().length && node.getBoundingClientRect().right > inner + 1);"
        "return [inner, document.documentElement.scrollWidth, over.map(node => node.outerHTML.slice(0, 80))]"
    )
    scrolls = opened.script(
        "return Array.from(document.querySelectorAll('.wide'), box => box.scrollWidth > box.clientWidth + 1)"
    )

    assert width - 20 < inner <= width  # a scroll bar may take some
    assert whole <= inner
    assert wider == []
    assert width < 1280 or not any(scrolls)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_text_can_be_read(opened: Browser, scheme: str, width: int) -> None:
    """Contrast of at least 4.5 to 1 (WCAG AA) of every text on what is behind it."""
    opened.scheme(scheme)
    opened.screen(width)
    opened.script("document.querySelectorAll('details').forEach(item => item.open = true)")
    seen, weak = opened.script(CONTRAST)
    ground = opened.script("return getComputedStyle(document.body).backgroundColor")

    assert seen > 500
    assert weak == []
    assert ground == ("rgb(245, 246, 248)" if scheme == "light" else "rgb(14, 19, 25)")


def test_strangers_names_stay_text(browser: Browser, resnet50: SplitModel, tmp_path: Path) -> None:
    """Names of the model, layers, tensors, labels, images and files come from files of unknown origin."""
    plain = resnet50.network.as_dict()
    first = plain["steps"][0]["name"]
    for step in plain["steps"]:
        step["name"] = step["name"].replace(first, HOSTILE)
        for key in ("source", "left", "right"):
            if key in step:
                step[key] = step[key].replace(first, HOSTILE)
    plain["name"] = f"{HOSTILE}\u202eevil"
    hostile = dataclasses.replace(
        resnet50,
        network=Network.from_dict(plain),
        family=None,
        mismatch=HOSTILE + "x" * 3000,
        labels=(HOSTILE, "javascript:alert(1)"),
        inputs=(dataclasses.replace(resnet50.inputs[0], name=HOSTILE * 20),),
    )
    page = write(tmp_path, hostile, name=HOSTILE, image=HOSTILE)
    browser.requests()
    browser.complaints()
    browser.screen(375)
    browser.open(page)

    assert browser.script("return window.broken === undefined")
    assert browser.requests() == [page.as_uri()]
    assert browser.complaints() == []
    assert browser.script("return document.querySelectorAll('img, iframe, script').length") == 1
    assert browser.script("return document.querySelector('h1').firstChild.textContent.trim()") == HOSTILE
    assert browser.script("return document.documentElement.scrollWidth") <= 375
    assert all(
        address.startswith("file:")
        for address in browser.script("return Array.from(document.querySelectorAll('a'), link => link.href)")
    )
    assert "no bitstream" in browser.script("return document.querySelector('.badges').textContent")
