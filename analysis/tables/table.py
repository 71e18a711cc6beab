"""What a table is, and how its numbers are written."""

from dataclasses import dataclass

import pandas as pd

SHOWN_SERIES = "this report"
"""What a column of series calls the suite, recipe and judge that the report rests on."""

UNLIKE = "†"
NOT_COMPARED = f"{UNLIKE} has not the base models of the other weights in the same shares, so it is in no best."
"""What the mark says below a table in which a best weight is named."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table: ``raw`` has full numbers, ``shown`` the same rows or a layout of them as text."""

    key: str
    """Stem of its files."""
    title: str
    raw: pd.DataFrame
    shown: pd.DataFrame
    caption: str


def number(value: float | None, digits: int) -> str:
    """A number with thousands separated, or a dash."""
    return "–" if value is None or pd.isna(value) else f"{value:z,.{digits}f}"


def interval_text(low: float | None, high: float | None, digits: int = 2) -> str:
    """``-0.93 to 6.04``, a dash where there is no interval."""
    return "–" if low is None or pd.isna(low) else f"{number(low, digits)} to {number(high, digits)}"


def significant(value: float | None) -> str:
    """A number with three significant digits, as in ``0.0823``; a dash where there is none."""
    return "–" if value is None or pd.isna(value) else f"{value:.3g}"


def with_error(value: float | None, error: float | None) -> str:
    """``0.512 (0.034)``, without the brackets where no error is known."""
    if value is None or pd.isna(value):
        return "–"
    return f"{value:z.3f}" if error is None or pd.isna(error) else f"{value:z.3f} ({error:.3f})"


def p_value(p: float | None) -> str:
    """A p-value with three decimals, ``<0.001`` below that, a dash where there is none."""
    return "–" if p is None or pd.isna(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def texts(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({name: ["–" if pd.isna(value) else str(value) for value in frame[name]] for name in frame})
