"""How a cost grows with the number of things: what there is without any, what each adds, if later ones add more."""

from __future__ import annotations

import statistics
from collections.abc import Mapping


def line(costs: Mapping[int, float]) -> tuple[float, float]:
    """The fixed cost and the cost of each thing, by least squares over `costs`, which is by number of things."""
    slope, intercept = statistics.linear_regression(list(costs), list(costs.values()))
    return intercept, slope


def later_over_earlier(costs: Mapping[int, float]) -> float:
    """What a thing adds among the most things, over what one adds among the fewer before; 1 is linear.

    Needs costs for three numbers at least. Raises ValueError with fewer.
    """
    if len(costs) < 3:
        raise ValueError(f"{len(costs)} numbers of things are too few to tell whether a cost grows linearly")
    (first, a), *_, (middle, b), (last, c) = sorted(costs.items())
    return ((c - b) / (last - middle)) / ((b - a) / (middle - first))
