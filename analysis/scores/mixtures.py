"""Refuses to compare cells that share a name and not what the name stands for.

A cell is named in a study by its dataset, model and recipe. Where a file was edited, or a field changed, while a study
was run, cells of one name are of two contents, and a difference between weights would be one between data.
"""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from plw.errors import UserError, shortened
from plw.progress import count
from plw.registry.rows import STANDS_FOR, CellRow, name_contents
from plw.results.identity import canonical_json, field_diff

SCORING_LIBRARIES = ("lm-eval", "alpaca_eval", "transformers")
"""Libraries whose version may change a score: of benchmarks, of AlpacaEval, of a judge from weights."""
MAX_CELLS_NAMED = 10
LONG = "long_generation"
"""Group of benchmarks whose number of items may differ between cells: a judge's unreadable verdicts do not count."""


def refuse_mixed_cells(cells: Iterable[CellRow]) -> None:
    """Compare the cells that are shown together.

    Args:
        cells: of one registry.

    Raises:
        UserError: two of one dataset's, model's or recipe's name are of different contents; the line has their folders
            and the fields.
    """
    chosen = [(cell, name_contents(cell.payload)) for cell in sorted(cells, key=lambda cell: cell.created)]
    for name in STANDS_FOR:
        first: dict[tuple[str, ...], tuple[CellRow, dict[str, Any], str]] = {}
        for cell, contents in chosen:
            about, text = contents[name], canonical_json(contents[name])
            other, before, same = first.setdefault(cell.place_of(name), (cell, about, text))
            if text != same:
                differ = shortened("; ".join(field_diff(before, about)), 160)
                raise UserError(
                    f"{other.folder} and {cell.folder} have one {name}.name, {getattr(cell, name)}, and differ in "
                    f"{differ}, so they do not compare. Remove the folder of one and call `plw registry gc`, "
                    f"or train it under a {name}.name of its own"
                )


def mixed_libraries(rows: pd.DataFrame) -> list[str]:
    """A sentence for each library whose versions differ between the cells: scores of both stand side by side.

    Args:
        rows: headline scores that are shown, with ``library_version``.
    """
    known = [str(words).partition(" ") for words in rows["library_version"]]
    rows = rows.assign(library=[words[0] for words in known], version=[words[2] for words in known])
    lines = []
    for library, of_library in rows[rows["library"].isin(SCORING_LIBRARIES)].groupby("library", sort=True):
        mixed = of_library.groupby(["suite", "benchmark", "judge"], dropna=False)["version"].transform("nunique") > 1
        of_library = of_library[mixed]
        if of_library.empty:
            continue
        cells = of_library.groupby("version")["cell"].nunique().sort_values(ascending=False, kind="stable")
        said = [f"{version} in {count(number, 'cell')}" for version, number in cells.items()]
        fewer = of_library[of_library["version"] != cells.index[0]].drop_duplicates("cell")
        named = [f"{version}: {_cells(few)}" for version, few in fewer.groupby("version", sort=True)]
        benchmarks = ", ".join(sorted(set(of_library["benchmark"])))
        lines.append(
            f"Several versions of {library} scored {benchmarks}: {', '.join(said)}; differences between these cells "
            f"may be the library's. {'. '.join(named)}."
        )
    return lines


def _cells(rows: pd.DataFrame) -> str:
    names = [f"{row.dataset}, {row.model}, PLW {row.prompt_weight:g}, seed {row.seed}" for row in rows.itertuples()]
    more = [f"{len(names) - MAX_CELLS_NAMED} more"] if len(names) > MAX_CELLS_NAMED else []
    return "; ".join(names[:MAX_CELLS_NAMED] + more)


def refuse_mixed_scores(rows: pd.DataFrame, groups: Iterable[tuple[str, str]]) -> None:
    """Compare how a benchmark was scored in the cells that are shown.

    Args:
        rows: headline scores of one suite.
        groups: (benchmark, group) of each benchmark.

    Raises:
        UserError: its headline is of two metrics, or over two numbers of documents.
    """
    group_of = dict(groups)
    for (suite, benchmark), of_one in rows.groupby(["suite", "benchmark"], sort=True):
        for column, words in (("metric", "the metric"), ("n", "the number of items")):
            if column == "n" and group_of.get(str(benchmark)) == LONG:
                continue
            found = of_one[of_one[column].notna()].drop_duplicates(column)
            if len(found) > 1:
                first, second = (row for _, row in found.head(2).iterrows())
                raise UserError(
                    f"suite {suite}: {benchmark} was scored in two ways, {words} is {_shown(first[column])} for "
                    f"{_cell_words(first)} and {_shown(second[column])} for {_cell_words(second)}: give the changed "
                    "suite a suite.name of its own, or remove the stage folders of one and run it again"
                )


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _cell_words(row: "pd.Series[Any]") -> str:
    return f"{row['dataset']}, {row['model']}, PLW {row['prompt_weight']:g}, seed {row['seed']}"
