"""The levels that the whole analysis keeps: of its intervals, of its tests, and of what is few."""

CONFIDENCE = 0.95
"""Share of studies whose interval is to hold the truth."""

SIGNIFICANCE = 0.05
"""A p-value below it counts as an effect."""

TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
"""The quantiles at the ends of an interval."""

FEW_UNITS = 30
"""Fewer independent items leave an error that is rough itself."""
