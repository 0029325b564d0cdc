"""What the page says, without a browser: markup that can't be broken into, and words that follow the data."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup, escape

from accelform.conversion.split import SplitModel
from accelform.featurizers.forecast import forecast
from accelform.report import make_report, write_report
from accelform.report.document import Report
from accelform.report.fidelity import Settings, measure
from accelform.report.page import render
from accelform.report.page.render import environment
from accelform.report.page.texts import amount, figures, number, relative_link, shortened, visible
from accelform.report.page.words import marked
from accelform.report.samples import Sample
from accelform_runtime.numerics.format import load_profile


def report_of(split: SplitModel, number_format: str = "bw-a10-cnn") -> Report:
    return make_report(
        name="net",
        version="1",
        source={"kind": "onnx"},
        split=split,
        fmt=load_profile(number_format),
        estimate=forecast(split.network, number_format="bw-a10-cnn"),
        links={"Served graph": "model.onnx"},
    )


def written(template: str, **values: object) -> str:
    return environment().from_string(template).render(values)


def test_text_and_attributes_are_escaped() -> None:
    """Only what a template or `Markup` says is markup; numbers have six digits, nothing is empty."""
    text = written(
        '<p title="{{ a }}" data-x="{{ x }}">{{ a }}{{ nothing }}{{ made }}</p>',
        nothing=None,
        a='"<\0',
        x=1 / 3,
        made=Markup("<i>"),
    )

    assert text == '<p title="&#34;&lt;\ufffd" data-x="0.333333">&#34;&lt;\ufffd<i></p>'


def test_a_template_that_names_what_is_not_there_fails() -> None:
    """Instead of leaving a gap in the page."""
    with pytest.raises(UndefinedError, match="gone"):
        written("{{ gone }}")


def test_names_cannot_turn_text_around() -> None:
    """Control characters, direction overrides and lone surrogates."""
    assert visible("a\u202eb\0c\ud800\u2028d") == "a\ufffdb\ufffdc\ufffd\u2028d"


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("model.onnx", "./model.onnx"),
        ("../a b/ü.onnx", "./../a%20b/%C3%BC.onnx"),
        ("javascript:alert(1)", "./javascript%3Aalert%281%29"),
        ("//example.com/x", "./example.com/x"),
        ("https://example.com", "./https%3A//example.com"),
        ("a?b#c", "./a%3Fb%23c"),
    ],
)
def test_links_stay_below_the_page(path: str, link: str) -> None:
    """Whatever a file is called."""
    assert relative_link(path) == link


def test_numbers_are_written_for_people() -> None:
    """Thin spaces, three digits, prefixes."""
    assert number(1234567.891, 1) == "1\u2009234\u2009567.9"
    assert [figures(value) for value in (1.7884, 0.014912, 79935.2, 0.0)] == ["1.79", "0.0149", "79\u2009935", "0"]
    assert [amount(value, "B") for value in (17.7e6, 412, 0)] == ["17.7 MB", "412 B", "0 B"]
    assert shortened("abcdefgh", 5) == "ab…gh"


def test_marks_are_taken_from_the_source(split: SplitModel) -> None:
    """Two marks in one source are two marks; the page has each before its text."""
    fmt = load_profile("bw-a10-cnn")
    report = dataclasses.replace(report_of(split), number_format=fmt)
    mark, text = marked(fmt.provenance["block_size"])[0]

    assert marked("sourced: x; y; chosen: z") == [("sourced", "x; y"), ("chosen", "z")]
    assert marked("nobody knows") == [("", "nobody knows")]
    assert f'<span class="mark {mark}">{mark}</span>{escape(text)} ' in render(report)


def test_one_report_is_one_text(split: SplitModel, tmp_path: Path) -> None:
    """Written twice it has the same bytes, no time and no place in it."""
    for folder in ("a", "b"):
        write_report(
            output_dir=tmp_path / folder,
            name="net",
            version="1",
            source={},
            split=split,
            fmt=load_profile("bw-a10-cnn"),
            estimate=forecast(split.network, number_format="bw-a10-cnn"),
        )

    for name in ("report.html", "report.json"):
        first, second = ((tmp_path / folder / name).read_bytes() for folder in ("a", "b"))
        assert first == second
        assert str(tmp_path).encode() not in first


def test_the_data_has_what_the_page_has(split: SplitModel, samples: tuple[Sample, ...]) -> None:
    """A row per step with the forecast's and the measurement's numbers; valid JSON."""
    fmt = load_profile("bw-a10-cnn")
    found = measure(split, samples, fmt=fmt, settings=Settings(threads=1))
    report = dataclasses.replace(
        make_report(
            name="net",
            version="1",
            source={},
            split=split,
            fmt=fmt,
            estimate=forecast(split.network, number_format="bw-a10-cnn"),
            fidelity=found,
        )
    )
    plain = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    costs = {layer.name: layer for layer in report.estimate.layers}

    assert plain["schema"] == 2
    assert [row["name"] for row in plain["layers"]] == [step.name.removeprefix("net/") for step in split.network.steps]
    for row, step, layer in zip(plain["layers"], split.network.steps, found.layers, strict=True):
        maps = split.network.maps[step.name]
        assert row["shape"] == [maps.height, maps.width, maps.channels]
        assert row["kind"] == type(step).__name__
        assert row["sqnr_db"] == pytest.approx(layer.sqnr_db, abs=1e-6)
        if step.name in costs:
            assert row["latency_ms"] == pytest.approx(costs[step.name].latency_ms, abs=1e-6)
            assert row["multiply_accumulates"] == costs[step.name].multiply_accumulates
    assert [part["part"] for part in plain["parts"]] == ["front", "fpga", "head"]
    assert plain["parts"][1]["multiply_accumulates"] == split.network.multiply_accumulates
    assert plain["parts"][1]["parameters"] == sum(
        array.size
        for arrays in split.parameters.values()
        for array in (arrays.weights, arrays.scale, arrays.bias)
        if array is not None
    )


def test_the_page_says_why_there_is_no_bitstream(split: SplitModel) -> None:
    """In the words of the match; of a family in another format, in the format's."""
    family = dataclasses.replace(split, family="resnet50", mismatch="")

    assert "it is nobody&#39;s" in render(report_of(split))
    assert "bitstream msfprn50" in render(report_of(family))
    assert "another number format than mxint8" in render(report_of(family, "mxint8"))


def test_what_was_not_measured_is_not_shown(split: SplitModel) -> None:
    """But how to measure it is."""
    page = render(report_of(split))

    assert "Not measured" in page
    assert "accelform fidelity" in page
    assert "SQNR dB" not in page
