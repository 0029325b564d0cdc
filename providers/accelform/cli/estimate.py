"""accelform estimate MODEL: what the FPGA would make of a network, without converting or deploying anything."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from accelform.cli.printing import named, say, table
from accelform.errors import ModelSourceMissing

if TYPE_CHECKING:
    from accelform_runtime.network.network import Network
    from accelform_runtime.timing import Estimate, LayerEstimate

DEFAULT_FORMAT: Final = "bw-a10-cnn"
_NO_IMAGES: Final = (
    "No latency is given: the forecast is of networks that read images. What decides for one that reads\n"
    "a vector, its way to the FPGA and back, is not in it."
)
PRACTICALLY_ALL: Final = 0.999
_OF_IMAGES: Final = ("_ms", "_per_second", "teraflops")
"""Ends of an estimate's names that mean something for networks that read images only."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is estimated; `mismatch` tells why there is no bitstream for it, empty if there is one.

    `fpga_share` is the FPGA's part of all multiply-accumulates, whose time the estimate is; None where not known.
    """

    name: str
    title: str
    family: str | None
    mismatch: str
    network: Network
    fpga_share: float | None = None


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="a family, or a model file or folder (default: every family)"
    )
    parser.add_argument(
        "--number-format", default=DEFAULT_FORMAT, metavar="NAME", help=f"of the weights (default: {DEFAULT_FORMAT})"
    )
    parser.add_argument("--layers", action="store_true", help="also print a row per convolution")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace) -> int:
    """Estimates and prints. Returns 0."""
    from accelform.featurizers.families import FAMILIES
    from accelform.featurizers.forecast import forecast

    subjects = [_subject(args.model)] if args.model else [_subject(name) for name in FAMILIES]
    found = [(subject, forecast(subject.network, number_format=args.number_format)) for subject in subjects]
    if args.json:
        rows = [as_plain(subject, estimate, layers=args.layers) for subject, estimate in found]
        print(json.dumps(rows[0] if args.model else rows, indent=2))
    elif args.model:
        print(_page(*found[0], layers=args.layers))
    else:
        print(_overview(found))
        for subject, estimate in found if args.layers else []:
            print(f"\n{subject.title}\n{_layers(estimate.layers)}")
    return 0


def as_plain(subject: Subject, estimate: Estimate, *, layers: bool) -> dict[str, Any]:
    """The estimate as plain data, with what it is of."""
    plain = estimate.as_dict()
    if not layers:
        del plain["layers"]
    if not _reads_images(subject.network):
        plain |= {name: None for name in plain if name.endswith(_OF_IMAGES)}
    return {
        "model": subject.name,
        "family": subject.family,
        "bitstream": _bitstream(subject, estimate) or None,
        "mismatch": subject.mismatch,
        "fpga_share": subject.fpga_share,
        "estimate": plain,
    }


def _subject(model: str) -> Subject:
    """A family of that name, else the model at that path.

    Raises:
        ModelSourceMissing, NotAModel and the other errors of sources: there is no such model, or it can't be read.
    """
    from accelform.featurizers.families import FAMILIES

    if model in FAMILIES:
        family = FAMILIES[model]
        return Subject(name=model, title=family.title, family=model, mismatch="", network=family.network())
    from accelform.sources import read_source

    path = Path(model)
    if not path.exists():
        raise ModelSourceMissing(
            f"{model} is neither a family nor a file or folder. Families: {', '.join(FAMILIES)}; "
            "a model's path is relative to the working directory."
        )
    source = read_source(path, progress=say)
    known = FAMILIES.get(source.family or "")
    title = f"{source.path.name}: {known.title if known else source.network.name}"
    return Subject(
        name=model,
        title=title,
        family=source.family,
        mismatch=source.mismatch,
        network=source.network,
        fpga_share=source.fpga_share,
    )


def _bitstream(subject: Subject, estimate: Estimate) -> str:
    from accelform.featurizers.bitstreams import bitstream

    return bitstream(subject.family, estimate.number_format, mismatch=subject.mismatch)


def _page(subject: Subject, estimate: Estimate, *, layers: bool) -> str:
    reads_images = _reads_images(subject.network)
    rows = (*(_image_rows if reads_images else _vector_rows)(estimate), *_share_row(subject))
    what = "image" if reads_images else "input"
    lines = [f"{subject.title} on {estimate.fpga}, {estimate.number_format}: one {what}", ""]
    lines += [f"{name:<22}  {value:>14}  {note}".rstrip() for name, value, note in rows]
    lines += ["", _bitstream_line(subject, estimate)]
    if not reads_images:
        lines += ["", _NO_IMAGES]
        return "\n".join(lines)
    if layers:
        lines += ["", _layers(estimate.layers)]
    lines += ["", "Where the numbers are from"]
    lines.append(named(list(estimate.provenance.items())))
    return "\n".join(lines)


def _image_rows(estimate: Estimate) -> tuple[tuple[str, str, str], ...]:
    return (
        ("latency", f"{estimate.latency_ms:.3f} ms", _bracket(estimate)),
        ("without fitted values", f"{estimate.latency_unfitted_ms:.3f} ms", ""),
        ("one tap per vector", f"{estimate.latency_per_tap_ms:.3f} ms", ""),
        ("occupancy", f"{estimate.occupancy_ms:.3f} ms", f"at least {estimate.occupancy_analytic_ms:.3f} ms"),
        ("throughput", f"{estimate.throughput_per_second:.0f} images/s", "one FPGA, one image at a time"),
        ("work", f"{estimate.multiply_accumulates / 1e9:.4g} GMAC", _use(estimate)),
        ("weights", f"{estimate.weight_bytes / 1e6:.4g} MB", _streaming(estimate)),
    )


def _share_row(subject: Subject) -> tuple[tuple[str, str, str], ...]:
    if subject.fpga_share is None or subject.fpga_share > PRACTICALLY_ALL:
        return ()
    return (("on the FPGA", f"{subject.fpga_share:.1%}", "of the multiply-accumulates; the times are of that part"),)


def _vector_rows(estimate: Estimate) -> tuple[tuple[str, str, str], ...]:
    return (
        ("work", f"{estimate.multiply_accumulates:,} MAC", "dense layers only"),
        ("weights", f"{estimate.weight_bytes:,} bytes", f"in {estimate.number_format}"),
    )


def _reads_images(network: Network) -> bool:
    return network.image.height * network.image.width > 1


def _overview(found: Sequence[tuple[Subject, Estimate]]) -> str:
    head = ("family", "ms", "between ms", "occupied ms", "images/s", "GMAC", "MB", "waits ms")
    rows = [
        (
            subject.name,
            f"{estimate.latency_ms:.3f}",
            f"{estimate.latency_low_ms:.2f}-{estimate.latency_high_ms:.2f}",
            f"{estimate.occupancy_ms:.3f}",
            f"{estimate.throughput_per_second:.0f}",
            f"{estimate.multiply_accumulates / 1e9:.2f}",
            f"{estimate.weight_bytes / 1e6:.1f}",
            f"{estimate.ddr_stall_ms:.2f}",
        )
        for subject, estimate in found
    ]
    first = found[0][1]
    return f"One image on {first.fpga}, {first.number_format}; MB of weights\n\n{table(head, rows)}"


def _layers(layers: Sequence[LayerEstimate]) -> str:
    head = ("convolution", "MMAC", "tiles", "cycles", "busy", "MB", "waits", "ms")
    rows = [
        (
            row.name,
            f"{row.multiply_accumulates / 1e6:.1f}",
            str(row.tiles),
            f"{row.cycles:.0f}",
            f"{row.utilisation:.0%}",
            f"{row.weight_bytes / 1e6:.3f}",
            f"{row.stall_ms:.3f}",
            f"{row.latency_ms:.4f}",
        )
        for row in layers
    ]
    return f"Layer by layer: MB of weights, waits and all in ms\n\n{table(head, rows)}"


def _bracket(estimate: Estimate) -> str:
    return f"{estimate.latency_low_ms:.3f} to {estimate.latency_high_ms:.3f}, as far as the public knowledge goes"


def _use(estimate: Estimate) -> str:
    share = estimate.effective_teraflops / estimate.peak_teraflops
    return f"{estimate.effective_teraflops:.2f} of {estimate.peak_teraflops:.2f} TFLOPS, {share:.0%}"


def _streaming(estimate: Estimate) -> str:
    return f"streamed in {estimate.ddr_ms:.3f} ms, of which {estimate.ddr_stall_ms:.3f} ms are waited for"


def _bitstream_line(subject: Subject, estimate: Estimate) -> str:
    name = _bitstream(subject, estimate)
    if name:
        return f"bitstream               {name}"
    if subject.mismatch:
        return f"bitstream               none, the network runs in emulation only: {subject.mismatch}"
    return f"bitstream               none, there is one in {DEFAULT_FORMAT} only: {estimate.number_format} is emulated"
