"""Says in words where a network differs from the family that it resembles most."""

from __future__ import annotations

from accelform.featurizers.families import Family
from accelform.featurizers.networks.ssd_300_vgg import MAX_OBJECT_CLASSES
from accelform.topology.compare import Aspect, Comparison, Difference
from accelform_runtime.network.network import Network
from accelform_runtime.network.steps import (
    Add,
    Affine,
    AveragePool,
    Concat,
    Convolution,
    MaxPool,
    Mean,
    Normalise,
    Step,
)


def told(family: Family, comparison: Comparison) -> str:
    """One sentence or two: the nearest family, how much agrees, the first difference, what to do."""
    total = len(comparison.family.steps)
    # A network for other images is told so only if nothing else differs: its steps say more.
    others = [entry for entry in comparison.differences if entry.aspects != ("image",)]
    first = (others or comparison.differences)[0]
    if not others:
        what = _image(comparison)
    elif _only_classes(family, comparison):
        what = _classes(comparison, first)
    elif (strides := _strides(comparison, first)) is not None:
        what = strides
    else:
        what = _difference(comparison, first)
    return f"{family.title} is nearest ({comparison.agreed} of {total} steps agree): {what}"


def _image(comparison: Comparison) -> str:
    mine, theirs = comparison.family.image, comparison.network.image
    return (
        f"the network takes images of {theirs.height} x {theirs.width} x {theirs.channels}; the FPGA's takes "
        f"{mine.height} x {mine.width} x {mine.channels}"
    )


def _only_classes(family: Family, comparison: Comparison) -> bool:
    ends = {output.value for output in comparison.family.outputs}
    return family.classifier is None and all(
        entry.aspects == ("channels",) and entry.step.name in ends for entry in comparison.differences
    )


def _classes(comparison: Comparison, first: Difference) -> str:
    step, other = first.step, first.other
    assert isinstance(step, Convolution)
    assert isinstance(other, Convolution)
    per_position = step.out_channels // (MAX_OBJECT_CLASSES + 1)
    count, rest = divmod(other.out_channels, per_position)
    if rest:
        return (
            f"{_named(other)} gives {other.out_channels} channels, which is no whole number for {per_position} anchors"
        )
    return (
        f"its heads score {count} classes ({_named(other)} gives {other.out_channels} channels for {per_position} "
        f"anchors); the FPGA takes up to {MAX_OBJECT_CLASSES} classes and the background: train with fewer classes"
    )


def _strides(comparison: Comparison, first: Difference) -> str | None:
    """Where a network halves its maps elsewhere than the family: told as one difference, not as many."""
    early = [entry for entry in comparison.differences if _stride(entry.step, entry.other) == "family"]
    late = [entry for entry in comparison.differences if _stride(entry.step, entry.other) == "network"]
    if not early or not late or (first not in early and not isinstance(first.step, MaxPool)):
        return None
    mine = next((entry for entry in early if isinstance(entry.step, Convolution)), early[0])
    theirs = _main_path(comparison, late)
    assert mine.other is not None
    assert theirs.other is not None
    return (
        f"at {_place(comparison.family, theirs.step)} its {_described(theirs.other)} has stride "
        f"{_pair(_stride_of(theirs.other))} {_named(theirs.other)}; the FPGA's has stride "
        f"{_pair(_stride_of(theirs.step))} and strides in the {_described(mine.step)} "
        f"{_place(comparison.family, mine.step)} instead, where this network's has stride "
        f"{_pair(_stride_of(mine.other))} {_named(mine.other)}"
    )


def _main_path(comparison: Comparison, late: list[Difference]) -> Difference:
    """Of the first unit's steps that stride too much the one that isn't on the shortcut."""
    unit = late[0].step.name.rpartition("/")[0]
    same = [entry for entry in late if entry.step.name.rpartition("/")[0] == unit]
    return next((entry for entry in same if "shortcut" not in entry.step.name), same[0])


def _stride(step: Step, other: Step | None) -> str:
    """Which of the two takes the larger steps."""
    if not isinstance(step, (Convolution, MaxPool, AveragePool)) or not isinstance(other, type(step)):
        return ""
    mine, theirs = _stride_of(step), _stride_of(other)
    return "" if mine == theirs else "family" if mine > theirs else "network"


def _stride_of(step: Step) -> tuple[int, int]:
    assert isinstance(step, (Convolution, MaxPool, AveragePool))
    return step.window.stride


def _difference(comparison: Comparison, first: Difference) -> str:
    step, other = first.step, first.other
    place = _place(comparison.family, step)
    if isinstance(step, MaxPool) and step.window.kernel == (1, 1) and not isinstance(other, MaxPool):
        return f"at {place} the FPGA keeps every second row and column only; this network keeps all of them there"
    if other is None:
        if isinstance(step, Concat):
            return f"at {place} the FPGA joins {len(step.inputs)} maps that this network does not join in that order"
        return f"at {place} the FPGA has {_article(_described(step))}; this network has nothing there"
    if first.aspects == ("kind",):
        return (
            f"at {place} the FPGA has {_article(_described(step))}, this network {_article(_described(other))} "
            f"{_named(other)}"
        )
    if first.aspects == ("sources",):
        return (
            f"at {place} the {_described(other)} {_named(other)} reads other values than the FPGA's {_described(step)}"
        )
    theirs = [_aspect(aspect, other, comparison.network) for aspect in first.aspects]
    mine = [_aspect(aspect, step, comparison.family) for aspect in first.aspects]
    return f"at {place} the {_described(other)} {_named(other)} {_and(theirs)}; the FPGA's {_and(mine)}"


def _aspect(aspect: Aspect, step: Step, network: Network) -> str:
    """One setting of one step, as what follows its name."""
    if aspect == "size":
        maps = network.maps[step.name]
        return f"gives maps of {maps.height} x {maps.width}"
    if aspect == "channels":
        return f"gives {network.maps[step.name].channels} channels"
    if aspect == "relu":
        assert isinstance(step, (Convolution, Add, Affine))
        return f"has {'a' if step.relu else 'no'} ReLU"
    assert isinstance(step, (Convolution, MaxPool, AveragePool))
    return f"has {aspect} {_pair(getattr(step.window, aspect), aspect)}"


def _and(phrases: list[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def _described(step: Step) -> str:
    if isinstance(step, (Convolution, MaxPool, AveragePool)):
        kernel = "x".join(map(str, step.window.kernel))
        kind = {"Convolution": "convolution", "MaxPool": "max pool", "AveragePool": "average pool"}[type(step).__name__]
        return f"{kernel} {kind}"
    return {
        Mean: "mean over height and width",
        Add: "addition",
        Concat: "join of maps",
        Affine: "batch norm",
        Normalise: "L2 normalisation",
    }[type(step)]


def _article(words: str) -> str:
    return f"an {words}" if words[0] in "aAL8" else f"a {words}"


def _named(step: Step) -> str:
    return f"(node {step.name})"


def _place(family: Network, step: Step) -> str:
    """The family's name of the step without the network's."""
    return step.name.removeprefix(f"{family.name}/").replace("/bottleneck_v1", "")


def _pair(values: tuple[int, int], aspect: Aspect = "stride") -> str:
    if aspect == "kernel":
        return "x".join(map(str, values))
    return str(values[0]) if values[0] == values[1] else f"{values[0]} by {values[1]}"
