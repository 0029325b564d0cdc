"""Formats side by side, and formats made from others by turning knobs."""

from __future__ import annotations

import dataclasses

import pytest

from accelform.conversion.split import SplitModel
from accelform.errors import UnknownNumberFormat
from accelform.report.fidelity import Settings, measure
from accelform.report.samples import Sample
from accelform.report.sweep import sweep, variants
from accelform_runtime.numerics.format import load_profile

QUIET = Settings(threads=1, layers=False)


def test_a_sweep_is_its_single_measurements(split: SplitModel, samples: tuple[Sample, ...]) -> None:
    """The same numbers, though float32's outputs are worked out once; each with its forecast."""
    formats = [load_profile(name) for name in ("msfp12", "mxint8")]
    rows = sweep(split, samples, formats, settings=QUIET)

    for row, fmt in zip(rows, formats, strict=True):
        assert row.fidelity == measure(split, samples, fmt=fmt, settings=QUIET)
        assert row.estimate.number_format == fmt.name
        assert row.as_dict()["bits_per_weight"] == fmt.bits_per_value
        assert "layers" not in row.as_dict()["estimate"]
    assert rows[0].estimate.weight_bytes < rows[1].estimate.weight_bytes
    assert rows[0].fidelity.features[0].sqnr_db < rows[1].fidelity.features[0].sqnr_db


def test_every_combination_is_made_once() -> None:
    """A value that a base has already leaves it as it is; a format without blocks has no knobs."""
    bases = [load_profile("bw-a10-cnn"), load_profile("float32")]
    found = variants(bases, mantissa_bits=[4, 5], block_sizes=[16, 128])

    assert [fmt.name for fmt in found] == [
        "bw-a10-cnn m=4 N=16",
        "bw-a10-cnn m=4",
        "bw-a10-cnn N=16",
        "bw-a10-cnn",
        "float32",
    ]
    assert (found[0].mantissa_bits, found[0].block_size) == (4, 16)
    assert found[0].provenance["mantissa_bits"].startswith("chosen: on the command line, instead of 5")
    assert found[0].provenance["rounding"] == bases[0].provenance["rounding"]


def test_a_turned_knob_changes_the_measurement(split: SplitModel, samples: tuple[Sample, ...]) -> None:
    """A made format runs like any other: shorter blocks keep more, and truncation keeps less."""
    (base,) = variants([load_profile("bw-a10-cnn")])
    (short,) = variants([base], block_sizes=[16])
    (rough,) = variants([base], roundings=["truncate"])
    whole, finer, coarser = (
        min(tensor.sqnr_db for tensor in row.fidelity.features)
        for row in sweep(split, samples, [base, short, rough], settings=QUIET)
    )

    assert coarser < whole < finer


def test_a_combination_that_cannot_be_is_refused() -> None:
    """With the base's name, the knob and the reason."""
    with pytest.raises(UnknownNumberFormat, match=r"bw-a10-cnn can't have m=40: .*from 1 to"):
        variants([load_profile("bw-a10-cnn")], mantissa_bits=[40])


def test_layers_are_not_looked_at(split: SplitModel, samples: tuple[Sample, ...]) -> None:
    """A sweep needs what leaves the FPGA, whatever the settings say."""
    (row,) = sweep(split, samples, [load_profile("msfp13")], settings=dataclasses.replace(QUIET, layers=True))

    assert row.fidelity.layers == ()
