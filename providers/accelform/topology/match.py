"""Recognises a network as one of the families whose bitstreams exist, by its structure alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from accelform.featurizers.families import FAMILIES, Family
from accelform.featurizers.networks.ssd_300_vgg import BOX_COORDINATES, HEADS, MAX_OBJECT_CLASSES
from accelform.topology.compare import Comparison, compare
from accelform.topology.words import told
from accelform_runtime.network.network import Network
from accelform_runtime.network.steps import AveragePool, Convolution, MaxPool, Normalise, Step


@dataclass(frozen=True, kw_only=True)
class Match:
    """What a network is.

    Attributes:
        family: name of the family that the network begins with, or None
        network: of a family: its featurizer under the family's names, with this network's paddings; else the network
        mapping: the family's step names -> the network's
        first_difference: why there is no bitstream for it; empty if there is one
        title: what the family is called
    """

    family: str | None
    network: Network
    mapping: Mapping[str, str] = field(default_factory=dict)
    first_difference: str = ""
    title: str = ""

    @property
    def has_bitstream(self) -> bool:
        return self.family is not None and not self.first_difference


def match(network: Network) -> Match:
    """Compares `network` with every family. A family agrees if its featurizer is how the network begins.

    A network whose channel counts are all divided by one power of two is recognised too, but has no bitstream.
    """
    best: Comparison | None = None
    nearest: Family | None = None
    for family in FAMILIES.values():
        for variant in _variants(family, network):
            comparison = compare(variant, network)
            if best is None or comparison.share > best.share:
                best, nearest = comparison, family
            if not comparison.differences:
                return _matched(family, comparison)
    assert best is not None
    assert nearest is not None
    return Match(family=None, network=network, first_difference=told(nearest, best), title=nearest.title)


def _matched(family: Family, comparison: Comparison) -> Match:
    found, mapping = comparison.family, comparison.mapping
    steps = tuple(_own(step, comparison.network.by_name[mapping[step.name]]) for step in found.steps)
    divisor = found.width_divisor
    reason = ""
    if divisor > 1:
        reason = (
            f"this is {family.title} with every channel count divided by {divisor}: bitstreams exist for the full "
            f"width only, so it runs in emulation"
        )
    network = Network(
        name=found.name, image=found.image, steps=steps, outputs=found.outputs, width_divisor=found.width_divisor
    )
    return Match(family=family.name, network=network, mapping=mapping, first_difference=reason, title=family.title)


def _own(step: Step, other: Step) -> Step:
    """The family's step with the settings that may differ taken from the network's."""
    if isinstance(step, (Convolution, MaxPool, AveragePool)):
        assert isinstance(other, (Convolution, MaxPool, AveragePool))
        return replace(step, window=other.window)
    if isinstance(step, Normalise):
        assert isinstance(other, Normalise)
        return replace(step, epsilon=other.epsilon)
    return step


def _variants(family: Family, network: Network) -> list[Network]:
    """The family at full width, and at the width and with the number of classes that the network seems to have."""
    full = _network(family.name, 1, None)
    divisors = [1]
    first, other = full.convolutions[0], network.convolutions[:1]
    if other and first.out_channels % other[0].out_channels == 0:
        divisor = first.out_channels // other[0].out_channels
        if 1 < divisor <= family.max_width_divisor and divisor & (divisor - 1) == 0:
            divisors.append(divisor)
    classes: list[int | None] = [None]
    if family.classifier is None and (count := _ssd_classes(network)) is not None:
        classes = [count]
    return [_network(family.name, divisor, count) for divisor in divisors for count in classes]


@cache
def _network(family: str, divisor: int, classes: int | None) -> Network:
    return FAMILIES[family].network(width_divisor=divisor, classes=classes)


def _ssd_classes(network: Network) -> int | None:
    """The number of object classes that the heads of an SSD seem to have been trained for, if the FPGA takes it."""
    anchors = sum(head.anchors for head in HEADS)
    ends = [network.by_name.get(output.value) for output in network.outputs]
    widths = [step.out_channels for step in ends if isinstance(step, Convolution)]
    boxes = anchors * BOX_COORDINATES
    scores = sum(widths) - boxes
    if len(widths) != 2 * len(HEADS) or scores <= 0 or scores % anchors:
        return None
    count = scores // anchors - 1
    return count if 1 <= count <= MAX_OBJECT_CLASSES else None
