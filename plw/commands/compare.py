"""`plw compare`: two models, two values of a field of a grid, or two registries, on the items that both answered."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plw.commands.choice import ConfigDir, Overrides, chosen_cell
from plw.commands.score_table import Out, write_numbers
from plw.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analysis.items.grid import DatasetPair
    from plw.commands.compare_output import Compared

SIDE = (
    "A cell's folder, its eight characters, or a folder with lm-eval's samples_*.jsonl; several runs with commas. "
    "Or cells of the study by a field: p=0 (p is the prompt weight). Or a registry: its runs folder or its URL."
)
COMPARE_EXAMPLES = """Examples:

Two cells: plw compare runs/plw-mini/DATASET/MODEL/p0-r1-s42-1a2b3c4d 5e6f7a8b

Two weights, every dataset, base model and seed paired: plw compare p=0 p=0.1 study=plw scale=mini

The same with one dataset alone: plw compare p=0 p=0.1 --where dataset=world-short scale=mini

Two seeds of the same weights: plw compare seed=42 seed=43 scale=mini

Two registries of one study: plw compare runs /other/machine/runs scale=mini

Two folders of lm-eval: plw compare results/base results/tuned --margin 0.02 --json difference.json
"""

A = Annotated[str, typer.Argument(metavar="A", help=SIDE)]
B = Annotated[str, typer.Argument(metavar="B", help="What A is compared with; differences are B less A.")]
Margin = Annotated[
    float | None,
    typer.Option(
        help="Also test whether A and B are equal but for this: a share of the score's range, 0.02 is 2 points. By "
        "default that is not tested."
    ),
]
Metric = Annotated[list[str] | None, typer.Option(help="Compare this metric in place of the headline one; repeatable.")]
Cluster = Annotated[
    str | None, typer.Option(metavar="FIELD", help="Field of lm-eval's documents that several of them may share.")
]
Where = Annotated[
    list[str] | None,
    typer.Option(metavar="FIELD=VALUE", help="Of a study, compare these cells alone: dataset=NAME; repeatable."),
]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(epilog=COMPARE_EXAMPLES)(compare)


def compare(
    a: A,
    b: B,
    overrides: Overrides = None,
    margin: Margin = None,
    metric: Metric = None,
    cluster: Cluster = None,
    where: Where = None,
    config_dir: ConfigDir = None,
    out: Out = None,
) -> None:
    """Compare item by item: what differs, by how much, how surely, and what is excluded."""
    from plw.commands.compare_output import show, to_json
    from plw.runtime.console import console

    if margin is not None and not 0 < margin < 1:
        raise UserError(
            f"--margin {margin:g}: allowed is a share of the score's range between 0 and 1 (0.02 is 2 points)"
        )
    if _is_grid(a) and _is_grid(b):
        if cluster is not None:
            raise UserError(f"--cluster {cluster}: cells of a study have their clusters; it is for lm-eval's folders")
        pairs = list(_grids(a, b, overrides, config_dir, metric, where))
    elif _is_grid(a) or _is_grid(b):
        raise UserError(f"{a} and {b}: give two cells, two values of one field (p=0 p=0.1), or two registries")
    else:
        if where:
            raise UserError(f"--where {where[0]}: is for cells of a study; A and B are single models here")
        pairs = _models(a, b, overrides, config_dir, metric, cluster)
    found = [_compare(pair, margin) for pair in pairs]
    for one in found:
        show(one, margin, console())
    if out is not None:
        write_numbers(out, to_json(found, (a, b), margin))


def _compare(pair: "DatasetPair", margin: float | None) -> "Compared":
    from analysis.items.compare import compare_pairs
    from analysis.items.pairs import pair_models
    from plw.commands.compare_output import Compared

    pairs, left_out = pair_models(pair.a, pair.b)
    return Compared(pair=pair, rows=compare_pairs(pairs, margin), left_out=left_out)


def _is_grid(name: str) -> bool:
    """Whether a side is cells of a registry and not single models."""
    from plw.paths import REGISTRY_FILE

    return "://" in name or (Path(name) / REGISTRY_FILE).is_file() or ("=" in name and not Path(name).exists())


def _grids(
    a: str,
    b: str,
    overrides: list[str] | None,
    config_dir: Path | None,
    metric: list[str] | None,
    where: list[str] | None,
) -> "Iterator[DatasetPair]":
    from analysis.items.grid import pair_grids, read_fields, restricted
    from plw.commands.grid_sides import grid_side

    config, narrowed = chosen_cell(overrides, config_dir), read_fields(where or [])
    ours, theirs = (restricted(grid_side(name, config), narrowed) for name in (a, b))
    return pair_grids(ours, theirs, metric or [])


def _models(
    a: str,
    b: str,
    overrides: list[str] | None,
    config_dir: Path | None,
    metric: list[str] | None,
    cluster: str | None,
) -> "list[DatasetPair]":
    from analysis.items.grid import DatasetPair
    from analysis.items.locate import pair_runs, read_side

    def runs() -> Path:
        return Path(chosen_cell(overrides, config_dir).execution.runs)

    ours, theirs = pair_runs(*(read_side(name, runs, metric or [], cluster) for name in (a, b)))
    return [DatasetPair(dataset=None, a=ours, b=theirs, unmatched=0)]
