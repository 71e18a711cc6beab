"""A CSV table of scores as a person hands it over, checked column by column."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from plw.errors import UserError

FIRST_ROW = 2
"""The line of a file that holds the first row, after the header."""


def read_scores(
    path: Path, *, units: Sequence[str] = (), numbers: Sequence[str] = (), labels: Sequence[str] = ()
) -> pd.DataFrame:
    """Read some columns of a CSV file.

    Args:
        path: of the file, with a header.
        units: columns of numbers from 0 to 1, such as scores and weights.
        numbers: columns of any finite numbers.
        labels: columns of names; they are read as text.

    Raises:
        UserError: no such file, no CSV, no rows, a missing column, an empty label, or a value that is no number or not
            within 0 to 1; the line names the file, the row as an editor counts it, and the column.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except pd.errors.EmptyDataError:
        raise UserError(f"{path}: the file is empty") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a CSV table ({' '.join(str(error).split())})") from None
    wanted = [*units, *numbers, *labels]
    missing = [name for name in wanted if name not in table]
    if missing:
        raise UserError(f"{path}: column {missing[0]!r} is missing; the file has {', '.join(map(str, table.columns))}")
    if table.empty:
        raise UserError(f"{path}: there is no row under the header")
    read = {name: _numbers(path, table[name], unit=name in units) for name in [*units, *numbers]}
    return pd.DataFrame(read | {name: _labels(path, table[name]) for name in labels})


def _numbers(path: Path, column: "pd.Series[str]", *, unit: bool) -> "pd.Series[float]":
    value_N = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    allowed = "a number from 0 to 1" if unit else "a finite number"
    bad = ~np.isfinite(value_N) | (unit & ~((value_N >= 0) & (value_N <= 1)))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        found = repr(column.iloc[row]) if column.iloc[row] else "empty"
        raise UserError(f"{path}: row {row + FIRST_ROW}: {column.name} is {found}; allowed is {allowed}")
    return pd.Series(value_N, index=column.index)


def _labels(path: Path, column: "pd.Series[str]") -> "pd.Series[str]":
    empty = np.flatnonzero(column.str.strip() == "")
    if len(empty):
        raise UserError(f"{path}: row {empty[0] + FIRST_ROW}: {column.name} is empty; a name is needed")
    return column
