"""`plw fit`: the paper's statistical models, for any table of scores."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plw.commands.score_table import BenchmarkColumn, Engine, File, Out, PlwColumn, ScoreColumn, write_numbers
from plw.progress import count

if TYPE_CHECKING:
    from rich.console import Console

    from analysis.glmm.bootstrap import Bootstrap
    from analysis.glmm.fit import GlmmFit

fit_app = typer.Typer(help="Fit models to a CSV table of scores, or to a study's items.", no_args_is_help=True)


class Polynomial(StrEnum):
    """Bases of the parabola. The random slopes have no intercept, so they are two models."""

    raw = "raw"
    orthogonal = "orthogonal"


Model = Annotated[str, typer.Option(help="Column that names the base model.")]
SeedColumn = Annotated[str | None, typer.Option(help="Column of the training seed: seeds get a random intercept too.")]
Poly = Annotated[Polynomial, typer.Option(help="Basis of the parabola.")]
GlmmEngine = Annotated[Engine, typer.Option(help="python, or r: glmmTMB where R is installed.")]


@fit_app.command()
def glmm(
    file: File,
    score: ScoreColumn = "score",
    plw: PlwColumn = "plw",
    benchmark: BenchmarkColumn = "benchmark",
    model: Model = "model",
    seed: SeedColumn = None,
    poly: Poly = Polynomial.raw,
    engine: GlmmEngine = Engine.python,
    bootstrap: Annotated[int, typer.Option(min=0, help="Draws for a bootstrap interval of the optimum.")] = 0,
    bootstrap_seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    out: Out = None,
) -> None:
    """Beta mixed model of Table 3: score ~ w_p + w_p^2, slopes by benchmark, intercepts by base model."""
    from analysis.glmm.bootstrap import bootstrap_optimum
    from analysis.glmm.fit import glmm_json
    from plw.runtime.console import console, step_bar

    fit = _fitted(file, score, plw, benchmark, model, seed, poly, engine)
    screen = console()
    drawn = None
    if bootstrap:
        with step_bar("bootstrap", screen) as progress:
            drawn = bootstrap_optimum(fit, bootstrap, bootstrap_seed, progress)
    _show(fit, drawn, screen)
    if out is not None:
        write_numbers(out, glmm_json(fit) | ({} if drawn is None else {"bootstrap": vars(drawn)}))


@fit_app.command()
def power(
    file: File,
    score: ScoreColumn = "score",
    plw: PlwColumn = "plw",
    benchmark: BenchmarkColumn = "benchmark",
    model: Model = "model",
    seed: SeedColumn = None,
    seeds: Annotated[list[int] | None, typer.Option(min=1, help="Seeds a study would have; repeatable.")] = None,
    benchmarks: Annotated[list[int] | None, typer.Option(min=2, help="Benchmarks it would have; repeatable.")] = None,
    studies: Annotated[int, typer.Option(min=1, help="Simulated studies for each size.")] = 200,
    random_seed: Annotated[int, typer.Option(min=0, help="Seed of the simulation.")] = 0,
    out: Out = None,
) -> None:
    """How often studies of other sizes would find an effect as large as this table's, by simulation from its fit."""
    from analysis.inference.power import simulated_power
    from analysis.tables.checks import power_table
    from plw.runtime.console import console, step_bar

    fit = _fitted(file, score, plw, benchmark, model, seed, Polynomial.raw, Engine.python)
    screen = console()
    sizes = {"seeds": tuple(seeds or (1, 3)), "benchmarks": tuple(benchmarks or (len(fit.design.benchmarks),))}
    with step_bar("power", screen) as progress:
        frame = simulated_power(fit, **sizes, studies=studies, seed=random_seed, progress=progress)
    table = power_table({"": frame})
    _table(screen, table.title, [str(name) for name in table.shown], table.shown.to_numpy().tolist())
    for line in (table.caption, *fit.messages):
        screen.print(line, markup=False)
    if out is not None:
        write_numbers(out, {"power": frame.to_dict("records")})


def _fitted(
    file: Path, score: str, plw: str, benchmark: str, model: str, seed: str | None, poly: Polynomial, engine: Engine
) -> "GlmmFit":
    from analysis.glmm.fit import fit_glmm
    from analysis.glmm.glmmtmb import fit_glmm_r
    from analysis.scores.csv_table import read_columns
    from plw.errors import UserError

    rows = read_columns(file, units=(score, plw), labels=(benchmark, model, *([seed] if seed else [])))
    fit = fit_glmm if engine is Engine.python else fit_glmm_r
    try:
        found = fit(
            rows[score].to_numpy(), rows[plw].to_numpy(), list(rows[benchmark]), list(rows[model]),
            polynomial=poly.value, seed_N=list(rows[seed]) if seed else None,
        )  # fmt: skip
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    repeated = int(rows.duplicated([benchmark, model, plw, *([seed] if seed else [])]).sum())
    if not repeated:
        return found
    of_seed = f" and {seed}" if seed else ""
    line = (
        f"{count(repeated, 'score')} of a {benchmark}, {model} and {plw}{of_seed} that an earlier row has too: taken "
        "for independent repeats. Name seeds by --seed; fit datasets, response weights and recipes apart"
    )
    return replace(found, messages=(*found.messages, line))


def _show(fit: "GlmmFit", drawn: "Bootstrap | None", screen: "Console") -> None:
    rows = [
        [name, f"{fit.fixed[key]:.4f}", _number(fit.fixed_se[key], ".4f")]
        for key, name in (("intercept", "intercept"), ("w", "w_p"), ("w2", "w_p²"))
    ]
    title = f"Beta mixed model, {fit.random_part}, {fit.polynomial} polynomial, {fit.n} scores, by {fit.engine}"
    _table(screen, title, ["fixed effect", "estimate", "standard error"], rows)
    tests = [
        ["Wald", f"χ²({fit.wald.df})", _number(fit.wald.chisq, ".3f"), _number(fit.wald.p, ".3g")],
        ["Wald, few benchmarks", f"F({fit.wald_f.df1}, {fit.wald_f.df2})", _number(fit.wald_f.f, ".3f"),
         _number(fit.wald_f.p, ".3g")],
        ["likelihood ratio", f"χ²({fit.lrt.df})", _number(fit.lrt.chisq, ".3f"), _number(fit.lrt.p, ".3g")],
    ]  # fmt: skip
    _table(screen, "Do both terms differ from 0?", ["test", "distribution", "statistic", "p"], tests)
    lines = [f"log-likelihood {fit.log_likelihood:.3f}, dispersion {fit.dispersion:.2f}"]
    lines += [f"variance by {name}: {_number(fit.random[name], '.4g')}" for name in fit.random if name != "benchmark"]
    if fit.random["benchmark"] is not None:
        (one, both), (_, two) = fit.random["benchmark"]
        lines.append(f"slopes by benchmark: variances {one:.4g} and {two:.4g}, covariance {both:.4g}")
    if fit.optimum.plw is not None:
        ends = f"{_number(fit.optimum.low, '.3g')} to {_number(fit.optimum.high, '.3g')}"
        lines.append(f"optimum: PLW {fit.optimum.plw:.3g}, 95% interval {ends}")
    if drawn is not None:
        ends = f"{_number(drawn.low, '.3g')} to {_number(drawn.high, '.3g')}"
        lines.append(
            f"bootstrap: 95% interval {ends}; {drawn.inside:.0%} of {drawn.n} curves have a top inside, "
            f"{drawn.failed} did not converge"
        )
    for line in [*lines, *fit.messages]:
        screen.print(line, markup=False)


def _table(screen: "Console", title: str, columns: list[str], rows: list[list[Any]]) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name)
    for row in rows:
        table.add_row(*map(str, row))
    screen.print(table)


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
