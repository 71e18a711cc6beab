"""`plw compare`: two models on the items that both answered."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plw.commands.choice import ConfigDir, Overrides, chosen_cell
from plw.commands.score_table import Out, write_numbers
from plw.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from analysis.items.benchmark import ModelItems
    from analysis.items.compare import Comparison

SIDE = "A cell's folder, its eight characters, or a folder with lm-eval's samples_*.jsonl; several runs with commas."

A = Annotated[str, typer.Argument(metavar="A", help=SIDE)]
B = Annotated[str, typer.Argument(metavar="B", help="What A is compared with; differences are B less A.")]
Margin = Annotated[
    float | None,
    typer.Option(help="A difference that would not matter, as a share of the score's range: 0.02 is 2 points."),
]
Metric = Annotated[list[str] | None, typer.Option(help="Compare this metric in place of the headline one; repeatable.")]
Cluster = Annotated[
    str | None, typer.Option(metavar="FIELD", help="Field of lm-eval's documents that several of them may share.")
]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(compare)


def compare(
    a: A,
    b: B,
    overrides: Overrides = None,
    margin: Margin = None,
    metric: Metric = None,
    cluster: Cluster = None,
    config_dir: ConfigDir = None,
    out: Out = None,
) -> None:
    """Compare two models item by item: what differs, by how much, how surely, and what is excluded."""
    from analysis.items.compare import compare_pairs
    from analysis.items.locate import pair_runs, read_side
    from analysis.items.pairs import pair_models
    from plw.console import console

    if margin is not None and not 0 < margin < 1:
        raise UserError(
            f"--margin {margin:g}: allowed is a share of the score's range between 0 and 1 (0.02 is 2 points)"
        )

    def runs() -> Path:
        return Path(chosen_cell(overrides, config_dir).execution.runs)

    sides = pair_runs(*(read_side(name, runs, metric or [], cluster) for name in (a, b)))
    pairs, left_out = pair_models(*sides)
    rows = compare_pairs(pairs, margin)
    _show(sides, rows, console())
    for line in _sentences(sides, rows, left_out, margin):
        console().print(line, markup=False)
    if out is not None:
        write_numbers(out, _numbers(sides, rows, left_out, margin))


def _sentences(sides: Any, rows: "list[Comparison]", left_out: Any, margin: float | None) -> "list[str]":
    from analysis.items.sentences import all_equal, sentences

    if all_equal(rows):
        items = sum(row.n for row in rows)
        of = rows[0].benchmark if len(rows) == 1 else f"{len(rows)} benchmarks"
        return [f"A and B are equal on all {items} items of {of}: there is no difference to test."]
    return _notes(sides) + sentences(rows, left_out, margin)


def _notes(sides: "tuple[list[ModelItems], list[ModelItems]]") -> "list[str]":
    versions = sorted({model.library for side in sides for model in side if model.library})
    return (
        [f"The two were scored by different versions of lm-eval: {', '.join(versions)}."] if len(versions) > 1 else []
    )


def _numbers(
    sides: "tuple[list[ModelItems], list[ModelItems]]", rows: "list[Comparison]", left_out: Any, margin: float | None
) -> dict[str, Any]:
    named = {side: [str(model.folder) for model in models] for side, models in zip(("a", "b"), sides, strict=True)}
    return named | {
        "margin": margin,
        "benchmarks": [row.to_dict() for row in rows],
        "not_compared": [{"benchmark": item.benchmark, "reason": item.reason} for item in left_out],
    }


def _show(sides: "tuple[list[ModelItems], list[ModelItems]]", rows: "Sequence[Comparison]", screen: "Console") -> None:
    from rich.table import Table
    from rich.text import Text

    from analysis.items.sentences import amount

    for side, models in zip("AB", sides, strict=True):
        screen.print(f"{side}: {', '.join(model.label for model in models)}", markup=False)
    columns = (
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
    table = Table(*columns, title="Differences in points, detectable with 80 % power", title_justify="left")
    for row in rows:
        items = str(row.n) if row.clusters == row.n else f"{row.n} in {row.clusters}"
        interval = f"{amount(row, row.low, sign=True)} to {amount(row, row.high, sign=True)}"
        cells = (
            row.benchmark, row.metric, items, f"{row.a:.4g}", f"{row.b:.4g}", amount(row, row.difference, sign=True),
            interval, f"{row.p:.3g}", f"{row.p_holm:.3g}", row.test, amount(row, row.mde),
        )  # fmt: skip
        table.add_row(*map(Text, cells), style="bold" if row.shown else None)
    screen.print(table)
