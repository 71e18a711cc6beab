"""What the report says in sentences: the verdicts, what was counted, what is missing, how each number was made."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.figures.theme import dataset_colours
from analysis.inference.regression import GLMM, Regression
from analysis.levels import SIGNIFICANCE
from analysis.report.context import Context
from analysis.scores.datasets import dataset_order
from analysis.scores.frame import describe_missing
from analysis.tables.captions import count
from plw.registry.schema import FAILED, RUNNING
from plw.score import PERCENT_METRICS


@dataclass(frozen=True, kw_only=True)
class DatasetVerdict:
    """What the study says about one dataset: does the weight matter, and which did best."""

    dataset: str
    colour: str
    matters: bool | None
    """Whether the test of both terms of the weight is below ``SIGNIFICANCE``; None where there is no reliable fit."""
    sentences: Sequence[str]


def verdicts(context: Context) -> list[DatasetVerdict]:
    """One for each dataset, in the paper's order."""
    table, fits = context.aggregates, {fit.dataset: fit for fit in context.fits}
    names = dataset_order({*table["dataset"], *fits})
    colours = dataset_colours(names)
    made = []
    for name in names:
        best = [
            f"Best of the {table.loc[table['dataset'] == name, 'prompt_weight'].nunique()} weights tried: "
            f"PLW {row.prompt_weight:g}, relative aggregate {row.relative:.3f}."
            for row in table[table["best_relative"] & (table["dataset"] == name)].itertuples()
        ]
        matters, words = _test(fits.get(name))
        made.append(DatasetVerdict(dataset=name, colour=colours[name], matters=matters, sentences=[words, *best[:1]]))
    return made


def headline(found: Sequence[DatasetVerdict]) -> str:
    """The study's answer in one line."""
    kinds = {
        "the prompt weight matters for": [verdict.dataset for verdict in found if verdict.matters],
        "no effect of the prompt weight is shown for": [v.dataset for v in found if v.matters is False],
        "there is no reliable test for": [verdict.dataset for verdict in found if verdict.matters is None],
    }
    said = "; ".join(f"{words} {_listed(names)}" for words, names in kinds.items() if names)
    return f"{said[:1].upper()}{said[1:]}." if said else "No dataset has scores to compare."


def counted(context: Context) -> list[str]:
    """How large the study is, and by which model the verdicts were found."""
    rows = context.frame.rows
    seeds = sorted(set(rows["seed"]))
    axes = [
        count(rows["dataset"].nunique(), "dataset"),
        count(rows["model"].nunique(), "base model"),
        count(rows["prompt_weight"].nunique(), "prompt weight"),
        count(len(seeds), "seed") + f" ({', '.join(str(seed) for seed in seeds)})",
    ]
    size = (
        f"{count(len(context.study.cells), 'cell')} of {', '.join(axes)}; "
        f"{count(rows['benchmark'].nunique(), 'benchmark')}, {count(len(rows), 'headline score')}; "
        f"{len(context.cells)} of the cells have every benchmark."
    )
    if not context.fits:
        return [size]
    tested = (
        f"Tested by: {GLMM}; an effect is p below {SIGNIFICANCE:g} (F), each dataset by itself, without a correction"
    )
    return [size, f"{tested} for several datasets. The best weights tried are not corrected for having been chosen."]


def missing_lines(context: Context) -> list[str]:
    """Missing scores, failed and unfinished stages and unreadable files, one line each."""
    study = context.study
    lines = describe_missing(context.frame.missing, len(context.groups))
    labels = {
        cell.cell: f"{cell.dataset}, {cell.model}, PLW {cell.prompt_weight:g}, seed {cell.seed}" for cell in study.cells
    }
    for stage in study.stages:
        if stage.status == FAILED:
            attempts = count(stage.attempts, "attempt")
            lines.append(f"{labels[stage.cell]}: stage {stage.name} failed after {attempts}: {stage.error}")
        elif stage.status == RUNNING:
            lines.append(f"{labels[stage.cell]}: stage {stage.name} was not finished when this was written")
    return lines + [f"Not read: {problem}" for problem in context.problems]


def methods(fits: Sequence[Regression]) -> list[str]:
    """How each number of the page was made, one paragraph each."""
    version = next((fit.details["version"] for fit in fits if fit.details), None)
    model = (
        "Table 3 is a beta regression with logit link: fixed w_p and w_p², correlated random slopes of both by "
        "benchmark without random intercept, random intercept by base model; scores squeezed by (y (n - 1) + 0.5) / n, "
        "n the dataset's scores; p from a Wald test of both terms, as in the paper, and from an F test, which holds "
        "its level where benchmarks are few. Where the full model had no maximum, a simpler random part was taken and "
        "the table says which. "
    )
    percent = ", ".join(sorted(PERCENT_METRICS))
    return [
        "A headline score is the one metric of a benchmark that the suite names. The simple aggregate is the mean of a "
        f"cell's headline scores on 0 to 1: {percent} are divided by 100, all others are taken as they are.",
        "The relative aggregate is the mean of the headline scores after scaling each benchmark within each dataset, "
        "over all weights, base models and seeds, to 0 at its smallest and 1 at its largest score.",
        "Cells that lack a benchmark count in no aggregate, but their scores count in the scaling and in Table 3. "
        "Missing scores are never filled in.",
        "w_p is PLW ** 0.30103. Standard errors of aggregates treat benchmarks, base models and seeds as independent.",
        model + (f"Fitted by {version}." if version else ""),
        "λ* is (-b1 / (2 b2)) ** (1 / 0.30103). The starred best weights are chosen on the same scores that they are "
        "shown with.",
    ]


def _test(fit: Regression | None) -> tuple[bool | None, str]:
    if fit is None or fit.p_f is None or not fit.converged:
        return None, "No reliable answer from the regression, see Table 3."
    matters = fit.p_f < SIGNIFICANCE
    p = f"p {'< 0.001' if fit.p_f < 0.001 else f'= {fit.p_f:.3f}'}"
    top = "no optimum inside 0 to 1" if fit.optimum is None else f"curve highest at PLW {fit.optimum:.3g}"
    simpler = "" if fit.engine == GLMM else " (by a simpler model, see Table 3)"
    return matters, f"{'Matters' if matters else 'No effect shown'}: {p}, {top}{simpler}."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
