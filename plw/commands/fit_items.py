"""`plw fit items`: a mixed model of a study's single items."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plw.commands.score_table import Out, write_numbers
from plw.errors import UserError
from plw.progress import count

if TYPE_CHECKING:
    from rich.console import Console

    from analysis.inference.item_model import ItemFit


class Family(StrEnum):
    """Distribution of an item's value."""

    binomial = "binomial"
    gaussian = "gaussian"


ItemFile = Annotated[Path, typer.Argument(metavar="ITEMS.parquet", help="What `plw items export` wrote.")]
DatasetName = Annotated[str | None, typer.Option(help="Data that the cells were trained on, where there are several.")]
BenchmarkNames = Annotated[list[str] | None, typer.Option(help="Repeatable: several make one model.")]
MetricName = Annotated[str | None, typer.Option(help="In place of the headline metric.")]
StageName = Annotated[str | None, typer.Option(help="Where several stages scored one benchmark (two judges).")]
ResponseWeight = Annotated[float | None, typer.Option(help="Where a study varies both weights, that of its cells.")]
FamilyChoice = Annotated[Family, typer.Option(help="Binomial is for right or wrong alone; see the docs.")]


def add_to(app: typer.Typer) -> None:
    """Register `plw fit items`."""
    app.command(name="items")(mixed_items)


def mixed_items(
    file: ItemFile,
    dataset: DatasetName = None,
    benchmark: BenchmarkNames = None,
    metric: MetricName = None,
    stage: StageName = None,
    response_weight: ResponseWeight = None,
    family: FamilyChoice = Family.gaussian,
    out: Out = None,
) -> None:
    """Mixed model of single items, crossed with cells, by R's lme4: the weight's curve over base models."""
    from analysis.inference.item_model import fit_items
    from analysis.inference.item_rows import choose_rows
    from plw.results.items import read_item_export
    from plw.runtime.console import console

    table = read_item_export(file).to_pandas()
    try:
        rows = choose_rows(
            table, dataset=dataset, benchmarks=benchmark or (), metric=metric, stage=stage,
            response_weight=response_weight,
        )  # fmt: skip
        fit = fit_items(rows, family.value)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    _show_items(fit, console())
    if out is not None:
        write_numbers(out, fit.to_dict())


def _show_items(fit: "ItemFit", screen: "Console") -> None:
    from rich.table import Table

    told, effect, df = fit.to_dict(), fit.effect, fit.design.df
    title = (
        f"{told['dataset']}, {', '.join(told['benchmarks'])}: {told['items']} items, {told['cells']} cells of "
        f"{count(len(told['base_models']), 'base model')}, {fit.design.family}, by {fit.engine}"
    )
    table = Table("fixed effect", "estimate", "standard error", title=title, title_justify="left")
    for name, value in fit.fixed.items():
        table.add_row({"w": "w_p", "w2": "w_p²"}.get(name, name), f"{value:.4f}", f"{fit.fixed_se[name]:.4f}")
    screen.print(table)
    lines = [
        f"weight {effect.to_weight:g} against {effect.from_weight:g}: mean {effect.at_from:.4f} to {effect.at_to:.4f}, "
        f"difference {effect.difference:+.4f}, 95% interval {effect.low:.4f} to {effect.high:.4f} (t, {df} df)",
        f"flat curve: p {fit.p:.3g}, with {fit.design.over}s as the sample ({df} df)",
    ]
    if fit.lrt.p is not None:
        lines.append(
            f"likelihood ratio: χ²({fit.lrt.df}) {fit.lrt.chisq:.3f}, p {fit.lrt.p:.3g}, as if the sample were large"
        )
    for one in told["random"]:
        term = f"{one['term'] or ''}{' with ' + one['with'] if one['with'] else ''}"
        lines.append(f"{'covariance' if one['with'] else 'variance'} by {one['group']} {term}: {one['variance']:.4g}")
    for line in [*lines, *fit.messages]:
        screen.print(line, markup=False)
