"""Values that are all alike: their standard error is 0, and what they exclude comes from how many they are."""

import math

ALIKE = "exact, all alike"
"""The test of differences that are one and the same, and not 0."""

LEFT_OF_ZERO = 1e-12
"""A standard error of less than this share of the values is what floating point leaves of 0."""


def alike_interval(value: float, lowest: float, highest: float, count: int, level: float) -> tuple[float, float]:
    """Of the mean of values within ``lowest`` to ``highest``, where all of ``count`` that were seen are ``value``.

    A share of 1 - ((1 - level) / 2)^(1 / count) may be other ones all the same, at either end. Without an end nothing
    is excluded on its side.
    """
    share = 1 - ((1 - level) / 2) ** (1 / count)
    return (1 - share) * value + share * lowest, (1 - share) * value + share * highest


def alike_p(value: float, lowest: float, highest: float, count: int) -> float:
    """Two-sided, of a mean of 0: where ``alike_interval`` ends at 0. Without ends it is the sign test's."""
    if value == 0:
        return 1.0
    end = lowest if value > 0 else highest
    other = 0.5 if math.isinf(end) else end / (end - value)
    return float(min(1.0, 2 * other**count))
