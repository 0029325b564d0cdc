"""How far two signals are apart, from running sums alone: nothing of an image is kept after it was added."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log10, sqrt

import numpy as np
import numpy.typing as npt

FLOOR_DB = -200.0
"""Stands for "no signal, only noise" where a finite number is needed."""


@dataclass(kw_only=True)
class SignalSums:
    """Sums over every image added so far, in float64.

    Attributes:
        signal: of squares of the reference
        noise: of squares of the differences
        other: of squares of what is compared
        product: of products of both
        largest: largest absolute difference
        worst_db: signal-to-noise ratio of the worst image
    """

    signal: float = 0.0
    noise: float = 0.0
    other: float = 0.0
    product: float = 0.0
    largest: float = 0.0
    worst_db: float = inf

    def add(self, reference: npt.NDArray[np.generic], compared: npt.NDArray[np.generic]) -> None:
        """Adds one image's values; both have one shape. A value that is not finite is noise without bounds.

        Raises:
            ValueError: they don't.
        """
        if reference.shape != compared.shape:
            raise ValueError(f"{compared.shape} values can't be compared with {reference.shape}")
        left = np.asarray(reference, np.float64).ravel()
        right = np.asarray(compared, np.float64).ravel()
        if not (np.isfinite(left).all() and np.isfinite(right).all()):
            self.noise = self.largest = inf
            self.worst_db = -inf
            return
        difference = right - left
        signal, noise = float(left @ left), float(difference @ difference)
        self.signal += signal
        self.noise += noise
        self.other += float(right @ right)
        self.product += float(left @ right)
        self.largest = max(self.largest, float(np.abs(difference).max(initial=0.0)))
        self.worst_db = min(self.worst_db, decibels(signal, noise))

    @property
    def sqnr_db(self) -> float:
        """10 log10(signal / noise) over all images together; infinite where nothing differs."""
        return decibels(self.signal, self.noise)

    @property
    def cosine(self) -> float:
        """Cosine of the angle between both, over all images together; 1 where both are zero throughout.

        0 where a value was not finite.
        """
        if self.noise == inf:
            return 0.0
        if self.signal == 0.0 or self.other == 0.0:
            return 1.0 if self.signal == self.other else 0.0
        return self.product / sqrt(self.signal * self.other)


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise): infinite without noise, -infinite without signal or with noise without bounds."""
    if noise == 0.0:
        return inf
    if signal == 0.0 or noise == inf:
        return -inf
    return 10 * log10(signal / noise)


def finite(value_db: float) -> float | None:
    """For JSON and plots: None where nothing differs, at least `FLOOR_DB`."""
    return None if value_db == inf else max(value_db, FLOOR_DB)


def noise_share(value_db: float) -> float:
    """Noise over signal: 0 where nothing differs."""
    return 10 ** (-max(value_db, FLOOR_DB) / 10)
