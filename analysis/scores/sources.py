"""Scores from files: the registry's export, or any CSV table that has a dataset, a benchmark, a weight and a value."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from plw.errors import UserError
from plw.registry.export import COLUMNS

NUMBERS = ("prompt_weight", "response_weight", "seed", "r_g", "value", "stderr", "n")

NEEDED = ("dataset", "benchmark", "prompt_weight", "value")
"""Columns that every table of scores must have; the others of the export have the defaults below."""

DEFAULTS: Mapping[str, Any] = {
    "study": "",
    "scale": "",
    "model": "",
    "response_weight": 1.0,
    "seed": 0,
    "r_g": float("nan"),
    "suite": "",
    "metric": "score",
    "stderr": float("nan"),
    "n": float("nan"),
    "headline": True,
}


def read_export(path: Path) -> pd.DataFrame:
    """Read an exported CSV as ``tidy_frame`` takes it.

    Raises:
        UserError: no such file, no CSV, a column is missing, or a number is not one; the line names the row.
    """
    return read_scores(path, needed=COLUMNS)


def read_scores(
    path: Path,
    names: Mapping[str, str] | None = None,
    constants: Mapping[str, Any] | None = None,
    needed: tuple[str, ...] = NEEDED,
) -> pd.DataFrame:
    """Read any CSV of scores, one a row, as ``tidy_frame`` takes it.

    Args:
        path: the file, with a header.
        names: our name -> the file's, for columns that have another name there, as in ``{"value": "score"}``.
        constants: column -> its value in every row, for what the file leaves unsaid, as in ``{"metric": "win_rate"}``.
        needed: columns that must be there; others get defaults that say nothing (one model, response weight 1, seed 0,
            no standard error, every score a headline).

    Raises:
        UserError: no such file, no CSV, a column is missing, or a number is not one; the line names the row.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a CSV table ({error})") from None
    own = {ours: (names or {}).get(ours, ours) for ours in COLUMNS}
    missing = [own[name] for name in needed if own[name] not in frame and name not in (constants or {})]
    if missing:
        raise UserError(f"{path}: column {missing[0]} is missing; needed are {', '.join(own[name] for name in needed)}")
    if frame.empty:
        raise UserError(f"{path}: a header and no scores")
    table = {ours: frame[theirs] for ours, theirs in own.items() if theirs in frame}
    columns = {**DEFAULTS, **table, **(constants or {})}
    rows = pd.DataFrame({name: columns[name] for name in COLUMNS}, index=frame.index)
    for name in set(NUMBERS) & set(table):
        rows[name] = _numbers(path, own[name], frame[own[name]])
    return rows.assign(headline=rows["headline"].isin([True, "true", "True", "1"]))


def _numbers(path: Path, name: str, texts: "pd.Series[str]") -> "pd.Series[float]":
    numbers = pd.to_numeric(texts, errors="coerce")
    bad = texts.index[numbers.isna() & (texts != "")]
    if len(bad):
        raise UserError(f"{path}: row {bad[0] + 2}: {name} is {texts.loc[bad[0]]!r}, not a number")
    return numbers
