"""What `plw compare` says: a table and sentences of each dataset on the screen, and the numbers as JSON."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from analysis.items.benchmark import ModelItems
    from analysis.items.compare import Comparison
    from analysis.items.grid import DatasetPair
    from analysis.items.pairs import Unpaired

NAMED_CELLS = 6
"""Cells of a side that are named at most."""
COMPARISON_COLUMNS = (
    "benchmark",
    "metric",
    "items",
    "A",
    "B",
    "B - A",
    "95 % interval",
    "p",
    "p (Holm)",
    "test",
    "detectable",
)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The comparison of one dataset, or of two models."""

    pair: "DatasetPair"
    rows: "Sequence[Comparison]"
    left_out: "Sequence[Unpaired]"


def show(found: Compared, margin: float | None, screen: "Console") -> None:
    """Print one comparison: its sides, the table, the sentences."""
    from rich.table import Table
    from rich.text import Text

    from plw.runtime.console import numbers_right

    if found.pair.dataset is not None:
        screen.print(f"\n{found.pair.dataset}", markup=False, style="bold")
    for side, models in zip("AB", (found.pair.a, found.pair.b), strict=True):
        more = f" and {len(models) - NAMED_CELLS} more" if len(models) > NAMED_CELLS else ""
        screen.print(f"{side}: {', '.join(_label(model) for model in models[:NAMED_CELLS])}{more}", markup=False)
    table = Table(*COMPARISON_COLUMNS, title="Differences in points, detectable with 80 % power", title_justify="left")
    for row in found.rows:
        table.add_row(*map(Text, _cells(row)), style="bold" if row.shown else None)
    screen.print(numbers_right(table))
    for line in _lines(found, margin):
        screen.print(line, markup=False)


def to_json(found: Sequence[Compared], names: tuple[str, str], margin: float | None) -> dict[str, Any]:
    """The numbers of all comparisons; docs/items.md has the fields."""
    sides = {
        side: [str(model.folder) for one in found for model in getattr(one.pair, side)] if len(found) == 1 else name
        for side, name in zip("ab", names, strict=True)
    }
    return sides | {
        "margin": margin,
        "benchmarks": [{"dataset": one.pair.dataset} | row.to_dict() for one in found for row in one.rows],
        "not_compared": [
            {"dataset": one.pair.dataset, "benchmark": item.benchmark, "reason": item.reason}
            for one in found
            for item in one.left_out
        ],
    }


def _label(model: "ModelItems") -> str:
    """A cell is told by its folder's name, and among cells of several base models by that too."""
    return model.label if model.cell is None else f"{model.cell.get('model', '')} {model.label}".strip()


def _cells(row: "Comparison") -> tuple[str, ...]:
    from analysis.items.sentences import amount, score_texts

    items = str(row.n) if row.clusters == row.n else f"{row.n} in {row.clusters}"
    bounded = math.isfinite(row.low)
    interval = f"{amount(row, row.low, sign=True)} to {amount(row, row.high, sign=True)}" if bounded else "–"
    detectable = amount(row, row.mde) if math.isfinite(row.mde) else "–"
    return (
        row.benchmark, row.metric, items, *score_texts(row), amount(row, row.difference, sign=True),
        interval, f"{row.p:.3g}", f"{row.p_holm:.3g}", row.test, detectable,
    )  # fmt: skip


def _lines(found: Compared, margin: float | None) -> list[str]:
    from analysis.items.sentences import run_sentences, sentences

    lines = [*_versions(found), *sentences(found.rows, found.left_out, margin), *run_sentences(found.rows)]
    if found.pair.unmatched:
        lines.append(f"Left out: {found.pair.unmatched} cells without a counterpart that has items.")
    return lines


def _versions(found: Compared) -> list[str]:
    versions = sorted({model.library for side in (found.pair.a, found.pair.b) for model in side if model.library})
    return (
        [f"The two were scored by different versions of lm-eval: {', '.join(versions)}."] if len(versions) > 1 else []
    )
