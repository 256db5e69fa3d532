"""Intervals of means over queries, by bootstrap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flagvec.arguments import finite_number

RESAMPLES = 10_000
CONFIDENCE = 0.95
# So many resamples are held at once.
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over queries with its interval.

    Args:
        value: The mean.
        low: The lower end of the interval; equal to the mean if there is one query.
        high: Its upper end.

    Example:
        >>> str(Estimate(0.8441, 0.8123, 0.8749))
        '0.844 (0.812 to 0.875)'
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    def signed(self) -> str:
        """Return a difference as text, with signs.

        Example:
            >>> Estimate(0.0123, -0.002, 0.03).signed()
            '+0.012 (-0.002 to +0.030)'
        """
        return f"{self.value:+.3f} ({self.low:+.3f} to {self.high:+.3f})"

    def to_json(self) -> dict[str, float]:
        """Return the numbers by name."""
        return {"value": self.value, "low": self.low, "high": self.high}


def mean_with_interval(values: NDArray[np.float64], confidence: float, seed: int) -> Estimate:
    """Return the mean of values, one a query, with its percentile bootstrap interval over queries.

    Args:
        values: (queries,) values of a measure, or differences between two searches of the same queries. The latter
            gives the paired bootstrap.
        confidence: How often such an interval holds the mean of the queries' population, 0 to 1.
        seed: Chooses the 10,000 resamples.

    Raises:
        ValueError: `confidence` is not between 0 and 1.
    """
    from scipy.stats import bootstrap

    mean = float(np.mean(values))
    if len(values) < 2:
        return Estimate(mean, mean, mean)
    interval = bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=_BATCH,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(mean, float(interval.low), float(interval.high))


def checked_confidence(confidence: float) -> float:
    """Return the confidence of intervals.

    Raises:
        TypeError: It is not a number.
        ValueError: It is not between 0 and 1.
    """
    if not 0 < finite_number("confidence", confidence, "a number") < 1:
        raise ValueError(f"confidence={confidence}: give a number between 0 and 1, such as 0.95")
    return confidence
