"""Whether a number that was sampled over time grows: the slope, in the last half, of what it falls back to."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from itertools import combinations

WINDOWS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trend:
    """What a number did in the last half of a run."""

    name: str
    first: float
    """At the half, by the fitted line."""
    growth: float
    """From there to the end, by the fitted line."""
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether the growth is within its bound."""
        return self.growth <= self.allowed


def trend(
    name: str, seconds: Sequence[float], values: Sequence[float], *, share: float = 0.0, absolute: float = 0.0
) -> Trend:
    """The trend of `values` taken at `seconds`; allowed is `share` of the value at the half, at least `absolute`.

    The last half is cut into ten windows. Each window's least value is what is left when garbage is collected and
    connections have gone; a leak raises it, a large call does not. The slope is the median over all pairs of windows.
    Raises ValueError where there are fewer than two samples for a window.
    """
    half = seconds[0] + (seconds[-1] - seconds[0]) / 2 if seconds else 0.0
    points = [(at, value) for at, value in zip(seconds, values, strict=True) if at >= half]
    if len(points) < 2 * WINDOWS:
        raise ValueError(f"{len(points)} samples in the last half are too few to see a slope of {name}; run it longer")
    start, span = points[0][0], points[-1][0] - points[0][0]
    least: dict[int, float] = {}
    for at, value in points:
        window = min(WINDOWS - 1, int((at - start) / span * WINDOWS))
        least[window] = min(value, least.get(window, value))
    slope = statistics.median((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(sorted(least.items()), 2))
    first = statistics.median(value - slope * window for window, value in least.items())
    return Trend(name=name, first=first, growth=slope * (WINDOWS - 1), allowed=max(absolute, share * first))
