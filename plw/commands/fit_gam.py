"""`plw fit gam`: the paper's ratio model, for any table of scores."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plw.commands.score_table import BenchmarkColumn, Engine, File, Out, PlwColumn, ScoreColumn, write_numbers
from plw.errors import UserError, named
from plw.progress import count

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from analysis.gam.optimum import RatioOptimum

MAX_RATIOS = 12
"""Ratios of the data whose best weight is shown; of more, as many evenly spread ones."""


class Method(StrEnum):
    """Criterion that chooses the smoothing parameters."""

    gcv = "gcv"
    reml = "reml"
    ml = "ml"


Ratio = Annotated[str, typer.Option(help="Column of the generation ratio R_g.")]
MethodChoice = Annotated[Method, typer.Option(help="How smooth: gcv as mgcv's default, reml or ml.")]
GamEngine = Annotated[Engine, typer.Option(help="python, or r: mgcv where R is installed.")]
Grid = Annotated[
    Path | None, typer.Option(metavar="GRID.csv", help="Predict at these weights, ratios, benchmarks, not at FILE's.")
]


def add_to(app: typer.Typer) -> None:
    """Register `plw fit gam`."""
    app.command()(gam)


def gam(
    file: File,
    score: ScoreColumn = "score",
    plw: PlwColumn = "plw",
    ratio: Ratio = "ratio",
    benchmark: BenchmarkColumn = "benchmark",
    method: MethodChoice = Method.gcv,
    engine: GamEngine = Engine.python,
    predict: Grid = None,
    out: Out = None,
) -> None:
    """Additive model of Table 4 and the contours: score ~ te(PLW, R_g, k=3) + benchmark."""
    from analysis.scores.csv_table import read_columns
    from plw.runtime.console import console

    rows = read_columns(file, units=(plw, score), numbers=(ratio,), labels=(benchmark,))
    _refuse_negative(file, rows[ratio])
    at = rows
    if predict is not None:
        at = read_columns(predict, units=(plw,), numbers=(ratio,), labels=(benchmark,))
        _refuse_negative(predict, at[ratio])
        _refuse_unknown(predict, at[benchmark], file, rows[benchmark])
    columns, grid = ([list(table[name]) for name in (plw, ratio, benchmark)] for table in (rows, at))
    numbers, found = _fitted(file, list(rows[score]), columns, grid, method, engine)
    numbers["messages"] = [*numbers["messages"], *_outside(at, rows, (plw, ratio))]
    _show(numbers, found, console())
    if out is not None:
        write_numbers(out, numbers)


def _fitted(
    file: Path, score: list[float], columns: list[list[Any]], grid: list[list[Any]], method: Method, engine: Engine
) -> "tuple[dict[str, Any], list[RatioOptimum]]":
    """The numbers of the fit, and the best weight at the data's ratios where Python has fitted."""
    import numpy as np

    from analysis.gam.fit import fit_gam, gam_json
    from analysis.gam.mgcv import fit_gam_r
    from analysis.gam.optimum import optima

    plw, ratio, benchmark = columns
    try:
        if engine is Engine.r:
            return fit_gam_r(score, plw, ratio, benchmark, (grid[0], grid[1], grid[2]), method=method.value), []
        fit = fit_gam(score, plw, ratio, benchmark, method=method.value)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    ratios = np.unique(ratio)
    if len(ratios) > MAX_RATIOS:
        ratios = np.quantile(ratios, np.linspace(0, 1, MAX_RATIOS))
    found = optima(fit, [float(value) for value in ratios])
    numbers = gam_json(fit, *fit.predict(grid[0], grid[1], grid[2]))
    return numbers | {"optima": [vars(best) | {"starred": best.starred} for best in found]}, found


def _refuse_negative(file: Path, ratio: "pd.Series[float]") -> None:
    from analysis.scores.csv_table import line_of

    bad = [place for place, value in enumerate(ratio) if value < 0]
    if bad:
        value = ratio.iloc[bad[0]]
        raise UserError(
            f"{file}: row {line_of(file, bad[0])}: {ratio.name} is {value:g}; allowed is a ratio of 0 or more"
        )


def _outside(at: "pd.DataFrame", rows: "pd.DataFrame", columns: Sequence[str]) -> list[str]:
    """Which predictions are made where there are no data; beyond them the surface goes on in straight lines."""
    lines = []
    for name in columns:
        low, high = rows[name].min(), rows[name].max()
        beyond = at[name][(at[name] < low) | (at[name] > high)]
        if len(beyond):
            values = f"{beyond.min():g}" if beyond.nunique() == 1 else f"{beyond.min():g} to {beyond.max():g}"
            lines.append(
                f"{count(len(beyond), 'prediction')} outside the data, which have {name} from {low:g} to {high:g}: "
                f"{name} {values}; the surface is only continued there"
            )
    return lines


def _refuse_unknown(grid: Path, asked: "pd.Series[str]", file: Path, known: "pd.Series[str]") -> None:
    from analysis.scores.csv_table import line_of

    names = sorted(set(known))
    for place, name in enumerate(asked):
        if name not in names:
            has = f"{file} does not have; it has {named(names)}"
            raise UserError(f"{grid}: row {line_of(grid, place)}: {asked.name} is {name!r}, which {has}")


def _show(numbers: "dict[str, Any]", found: "list[RatioOptimum]", screen: "Console") -> None:
    from rich.table import Table
    from rich.text import Text

    smoothing = ", ".join(f"{value:.4g}" for value in numbers["smoothing"])
    names = {"gcv": "GCV", "reml": "minus the restricted log-likelihood", "ml": "minus the marginal log-likelihood"}
    lines = [
        f"score ~ te(PLW, R_g, k=3) + benchmark: {numbers['n']} scores of "
        f"{count(len(numbers['benchmarks']), 'benchmark')}, by {numbers['engine']}",
        f"effective degrees of freedom {numbers['edf_total']:.3f}, of the surface {numbers['edf_surface']:.3f} of 8",
        f"{names[numbers['method']]} {numbers['score']:.6g}, smoothing parameters {smoothing}",
        f"residual variance {numbers['scale']:.4g}, log-likelihood {numbers['log_likelihood']:.3f}",
    ]
    for line in [*lines, *numbers["messages"]]:
        screen.print(line, markup=False)
    if not found:
        return
    table = Table(title="Best weight by ratio (* the weight hardly matters)", title_justify="left")
    for name in ("R_g", "PLW", "95% interval", "predicted range"):
        table.add_column(name, justify="right")
    for best in found:
        cells = (
            f"{best.ratio:.3g}",
            f"{best.plw:.3g}{'*' * best.starred}",
            f"{best.low:.2g} to {best.high:.2g}",
            f"{best.predicted_range:.1%}",
        )
        table.add_row(*map(Text, cells))
    screen.print(table)
