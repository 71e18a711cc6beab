"""Tables of scores from CSV files as a person hands them over: the registry's export, or any table of one's own."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from plw.errors import NAME_LENGTH, UserError, named, printable, shortened
from plw.files.reading import read_text
from plw.registry.export import COLUMNS

SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""What other tables have between their columns, in words."""

NUMBERS = ("prompt_weight", "response_weight", "seed", "r_g", "value", "stderr", "n")
"""Columns of the export that hold numbers; an empty field is a missing one."""

REQUIRED = ("dataset", "benchmark", "prompt_weight", "value")
"""Columns that every table of scores must have; the others of the export have the defaults below."""

DEFAULTS: Mapping[str, Any] = {
    "study": "",
    "scale": "",
    "model": "",
    "response_weight": 1.0,
    "weighting": "",
    "seed": 0,
    "r_g": float("nan"),
    "recipe": "",
    "suite": "",
    "judge": "",
    "metric": "score",
    "stderr": float("nan"),
    "n": float("nan"),
    "headline": True,
}


def read_columns(
    path: Path, *, units: Sequence[str] = (), numbers: Sequence[str] = (), labels: Sequence[str] = ()
) -> pd.DataFrame:
    """Read some columns of a CSV file, every field of which must be there.

    Args:
        path: of the file, with a header.
        units: columns of numbers from 0 to 1, such as scores and weights.
        numbers: columns of any finite numbers.
        labels: columns of names; they are read as text.

    Raises:
        UserError: no such file, no CSV, no rows, a column named twice or missing, an empty label, one that an earlier
            row writes with other blanks or case, or a value that is no number or not within 0 to 1; the line names the
            file, the row as an editor counts it, and the column.
    """
    wanted = [*units, *numbers, *labels]
    if twice := [name for name in wanted if wanted.count(name) > 1]:
        raise UserError(f"{path}: column '{twice[0]}' is named for two things; name a column of its own for each")
    table = _read_fields(path, wanted)
    read = {name: _finite(path, table[name], unit=name in units) for name in [*units, *numbers]}
    return pd.DataFrame(read | {name: _labels(path, table[name]) for name in labels})


def read_scores(
    path: Path,
    names: Mapping[str, str] | None = None,
    constants: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Read any CSV of scores, one a row, as ``tidy_frame`` takes it: the registry's export, or a table of one's own.

    Columns beyond ``REQUIRED`` may be missing; they get defaults that say nothing (one model, response weight 1, seed
    0, no standard error, every score a headline).

    Args:
        path: the file, with a header.
        names: our name -> the file's, for columns that have another name there, as in ``{"value": "score"}``.
        constants: column -> its value in every row, for what the file leaves unsaid, as in ``{"metric": "win_rate"}``.

    Raises:
        UserError: no such file, no CSV, a column is missing, or a number is not one; the line names the row.
    """
    own = {ours: (names or {}).get(ours, ours) for ours in COLUMNS}
    frame = _read_fields(path, [own[name] for name in REQUIRED if name not in (constants or {})])
    table = {ours: frame[theirs] for ours, theirs in own.items() if theirs in frame}
    columns = {**DEFAULTS, **table, **(constants or {})}
    rows = pd.DataFrame({name: columns[name] for name in COLUMNS}, index=frame.index)
    for name in set(table) - set(NUMBERS):
        _shown(path, frame[own[name]])
    for name in set(NUMBERS) & set(table):
        rows[name] = _numbers(path, frame[own[name]])
    return rows.assign(headline=rows["headline"].isin([True, "true", "True", "1"]))


def _read_fields(path: Path, wanted: Sequence[str]) -> pd.DataFrame:
    """Every field as text, after the wanted columns were found in the header."""
    if path.suffix.lower() == ".parquet":
        raise UserError(f"{path}: a parquet table; save it as CSV")
    text = read_text(path)
    if text.lstrip().startswith(("[", "{")):
        raise UserError(f"{path}: JSON and no CSV table; save it as CSV")
    header = text.partition("\n")[0]
    separator = max(SEPARATORS, key=header.count)
    if "," not in header and separator in header:
        raise UserError(
            f"{path}: {SEPARATORS[separator]} stand between the columns; separate them by commas, and write numbers "
            "with a decimal point"
        )
    try:
        _check_widths(path, text)
        table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, index_col=False)
    except pd.errors.EmptyDataError:
        raise UserError(f"{path}: the file is empty") from None
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV table ({' '.join(str(error).split())})") from None
    missing = [name for name in wanted if name not in table]
    if missing:
        raise UserError(f"{path}: column {missing[0]!r} is missing; the file has {named(table.columns)}")
    if table.empty:
        raise UserError(f"{path}: there is no row under the header")
    return table


def _check_widths(path: Path, text: str) -> None:
    """Refuse what pandas reads in its own way: longer rows move every column, of equal names the first is taken."""
    rows = _rows(text)
    _, header = next(rows, (1, []))
    twice = [name for name in header if name.strip() and header.count(name) > 1]
    if twice:
        raise UserError(f"{path}: the header has the column {shortened(printable(twice[0]), NAME_LENGTH)!r} twice")
    for line, fields in rows:
        if len(fields) != len(header):
            ends = "; it ends in a comma" if len(fields) > len(header) and not fields[-1].strip() else ""
            raise UserError(f"{path}: row {line} has {len(fields)} fields, the header {len(header)}{ends}")


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """The fields of each row, the header's first, with the line on which it begins; blank lines are no rows."""
    reader = csv.reader(io.StringIO(text))
    start = 1
    for fields in reader:
        if len(fields) > 1 or (fields and fields[0].strip()):
            yield start, fields
        start = reader.line_num + 1


def line_of(path: Path, place: int) -> int:
    """The line of a file, as an editor counts, on which a row of its table begins.

    Args:
        path: of the file, with a header.
        place: the row's number in the table, from 0; blank lines are no rows, and a field in quotes may hold lines.
    """
    for seen, (line, _) in enumerate(_rows(read_text(path)), start=-1):
        if seen == place:
            return line
    raise IndexError(f"{path} has no row {place}")


def _finite(path: Path, column: "pd.Series[str]", *, unit: bool) -> "pd.Series[float]":
    value_N = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    allowed = "a number from 0 to 1" if unit else "a finite number"
    bad = ~np.isfinite(value_N) | (unit & ~((value_N >= 0) & (value_N <= 1)))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        found = repr(shortened(column.iloc[row], NAME_LENGTH)) if column.iloc[row] else "empty"
        raise UserError(f"{path}: row {line_of(path, row)}: {column.name} is {found}; allowed is {allowed}")
    return pd.Series(value_N, index=column.index)


def _labels(path: Path, column: "pd.Series[str]") -> "pd.Series[str]":
    empty = np.flatnonzero(column.str.strip() == "")
    if len(empty):
        raise UserError(f"{path}: row {line_of(path, int(empty[0]))}: {column.name} is empty; a name is needed")
    written: dict[str, str] = {}
    for name in _shown(path, column).unique():
        first = written.setdefault(name.strip().casefold(), name)
        if first != name:
            raise UserError(
                f"{path}: row {_first_line(path, column, name)}: {column.name} is {shortened(name, NAME_LENGTH)!r}, "
                f"and row {_first_line(path, column, first)} has "
                f"{shortened(first, NAME_LENGTH)!r}; write one name alike everywhere, case and blanks included"
            )
    return column


def _shown(path: Path, column: "pd.Series[str]") -> "pd.Series[str]":
    """The column, every text of which can stand in a table and on a page."""
    for text in column.unique():
        if isinstance(text, str) and printable(text) != text:
            found = shortened(printable(text), NAME_LENGTH)
            line = _first_line(path, column, text)
            raise UserError(f"{path}: row {line}: {column.name} holds control characters: {found}")
    return column


def _first_line(path: Path, column: "pd.Series[str]", text: str) -> int:
    return line_of(path, int(np.flatnonzero(column == text)[0]))


def _numbers(path: Path, column: "pd.Series[str]") -> "pd.Series[float]":
    numbers = pd.to_numeric(column, errors="coerce")
    bad = np.flatnonzero(numbers.isna() & (column != ""))
    if len(bad):
        found = shortened(column.iloc[bad[0]], NAME_LENGTH)
        raise UserError(f"{path}: row {line_of(path, int(bad[0]))}: {column.name} is {found!r}, not a number")
    return numbers
