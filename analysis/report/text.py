"""What the report says in sentences: the verdicts, what was counted, what is missing, how each number was made."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.figures.theme import dataset_colours
from analysis.inference.regression import GLMM, Regression
from analysis.inference.verdicts import ScopeVerdict, VerdictScope
from analysis.items.sentences import listed
from analysis.levels import SIGNIFICANCE
from analysis.report.context import Context
from analysis.report.item_headline import items_sentence
from analysis.report.verdict_text import dataset_sentences, study_sentences
from analysis.report.weight_grid_parts import choice_headline
from analysis.scores.datasets import dataset_order
from analysis.scores.frame import VARIANT, describe_missing, variant_words
from analysis.scores.repeats import repeated_seeds
from plw.errors import UserError
from plw.progress import count
from plw.registry.schema import FAILED, RUNNING
from plw.results.score import PERCENT_METRICS


@dataclass(frozen=True, kw_only=True)
class DatasetVerdict:
    """What the study says about one dataset: does the weight matter, and which did best."""

    dataset: str
    colour: str
    moved: bool
    """Whether any kind of benchmark, or any benchmark, is shown to move with the weight."""
    sentences: Sequence[str]


def study_headline(context: Context) -> str:
    """The study's answer, a line a dataset; of both weights first, where it varies both."""
    of_prompt = study_sentences(context.verdicts)
    datasets = dict.fromkeys(verdict.dataset for verdict in context.verdicts)
    by_item = {name: items_sentence(context.verdicts, context.comparisons.rows, name) for name in datasets}
    several = len(datasets) > 1
    said = [f"{f'{name}: ' if several else ''}{line}" for name, line in by_item.items() if line]
    of_prompt = ("\n" if several else " ").join([of_prompt, *said])
    if not context.varies_both:
        return of_prompt
    of_prompt = f"At response weight {context.response_weight:g}: {of_prompt}"
    try:
        study, _ = context.both_weights
    except UserError:
        # The chapter on both weights has the reason.
        return of_prompt
    return f"{choice_headline(study)}\n{of_prompt}"


def verdicts(context: Context) -> list[DatasetVerdict]:
    """One for each dataset, in the paper's order: each kind of benchmark, then the paper's own test and choice."""
    table, fits = context.aggregates, {fit.dataset: fit for fit in context.fits}
    names = dataset_order({*table["dataset"], *fits})
    colours = dataset_colours(names)
    made = []
    for name in names:
        best = _best_weight(table[table["dataset"] == name])
        by_item = items_sentence(context.verdicts, context.comparisons.rows, name)
        sentences = [
            *dataset_sentences(context.verdicts, name),
            *([by_item] if by_item else []),
            _table_3(fits.get(name)),
            *best,
        ]
        moved = any(verdict.moved for verdict in context.verdicts if verdict.dataset == name)
        made.append(DatasetVerdict(dataset=name, colour=colours[name], moved=moved, sentences=sentences))
    return made


def _best_weight(table: pd.DataFrame) -> list[str]:
    """The best of one dataset's weights, and which of them could not be compared; nothing where no two could."""
    unlike = [f"{weight:g}" for weight in table.loc[~table["compared"], "prompt_weight"]]
    tried = f"the {int(table['compared'].sum())} weights {'with the same base models' if unlike else 'tried'}"
    without = f" Not compared, for base models that they lack: PLW {listed(unlike)}." if unlike else ""
    return [
        f"Best of {tried}: PLW {row.prompt_weight:g}, relative aggregate {row.relative:.3f}.{without}"
        for row in table[table["best_relative"]].itertuples()
    ][:1]


def size_sentences(context: Context) -> list[str]:
    """How large the study is, and by which model the verdicts were found."""
    rows = context.frame.rows
    seeds = sorted(set(rows["seed"]))
    axes = [
        count(rows["dataset"].nunique(), "dataset"),
        count(rows["model"].nunique(), "base model"),
        count(rows["prompt_weight"].nunique(), "prompt weight"),
        count(len(seeds), "seed") + f" ({', '.join(str(seed) for seed in seeds)})",
    ]
    measured = (
        f"{', '.join(axes)}; {count(rows['benchmark'].nunique(), 'benchmark')}, {count(len(rows), 'headline score')}"
    )
    variants = [tuple(getattr(cell, name) for name in VARIANT) for cell in context.study.cells]
    all_cells, complete = count(len(variants), "cell"), len(context.cells)
    have = "has" if complete == 1 else "have"
    size = f"{all_cells} of {measured}; {complete:,} of the cells {have} every benchmark."
    if len(set(variants)) > 1:
        shown = variants.count(context.frame.variant)
        rest = "The chapter Both weights is of all of them. The others" if context.varies_both else "The chapters"
        size = (
            f"{all_cells}. {rest} are, unless they say otherwise, of the {shown:,} with "
            f"{variant_words(context.frame.variant, variants)}: {measured}; {complete:,} of these {have} every "
            "benchmark."
        )
    if len(context.study.shown) < len(context.study.cells):
        size += (
            f" Shown singly, in the grid, the charts of cells and the answers: {len(context.study.shown):,} cells, "
            "spread evenly; tables and aggregates count all."
        )
    size += _never_scored(context) + _repeated(context)
    others = [f"{other.kind} {other.name}" for other in context.study.choice.others]
    unseen = [f"Not counted here: {listed(others)}; see What else this study holds."] if others else []
    tested = any(verdict.p is not None for verdict in context.verdicts)
    return [size, *unseen, *([_tested(context)] if tested else [])]


def _never_scored(context: Context) -> str:
    """Benchmarks that no cell of any dataset, or of some, has: no cell counts as without them, nor has an aggregate."""
    rows = context.frame.rows
    scored = {str(name): set(of_dataset["benchmark"]) for name, of_dataset in rows.groupby("dataset")}
    nowhere = sorted(set(context.frame.groups) - set(rows["benchmark"]))
    said = [f"{listed(nowhere, 'or')} anywhere"] if nowhere else []
    for dataset in dataset_order(scored):
        lacking = sorted(set(context.frame.groups) - scored[dataset] - set(nowhere))
        said += [f"{listed(lacking, 'or')} on {dataset}"] if lacking else []
    return f" There is no score of {'; of '.join(said)}: no number here is of these." if said else ""


def _repeated(context: Context) -> str:
    """Seeds that are one training under several names."""
    repeats = repeated_seeds(context.frame.rows)
    if repeats.empty:
        return ""
    named = [f"{row.dataset}, {row.model}, seed {row.seed} (of {row.of})" for row in repeats.head(3).itertuples()]
    named += [f"{len(repeats) - len(named)} more"] * (len(repeats) > len(named))
    return (
        f" Seeds that repeat every score of another to the digit: {'; '.join(named)}. They count once in the verdicts, "
        "and as runs of their own in tables and intervals."
    )


def _tested(context: Context) -> str:
    """How the verdicts were found, and of which base models they are."""
    scope = _of_which_bases(context.verdicts)
    return (
        f"A kind of benchmark is shown to move where p is below {SIGNIFICANCE:g} after Holm's correction within its "
        f"dataset, by a test in which effects of opposite sign do not cancel; {scope}. Points, scores and best weights "
        "of kinds and benchmarks above are those of the fitted curve, a parabola in w_p cut at the ends of the score's "
        "range, and not of single cells, except where it says that no parabola goes through the mean scores; mean "
        "scores are in the tables. Kinds, single benchmarks and single base models are three looks, each corrected for "
        "itself alone: where the weight does nothing, one of the three names something that moves on 8 % of simulated "
        "datasets with six base models, and on 16 % with two (scripts/coverage_headline.py). Several datasets are not "
        "corrected for. The best weights tried are not corrected for having been chosen."
    )


def _of_which_bases(verdicts: Sequence[ScopeVerdict]) -> str:
    """Whether base models count as a sample, of datasets where they do and others where they are too few."""
    tested = [verdict for verdict in verdicts if verdict.p is not None and verdict.over_bases is not None]
    of = {
        sample: {v.dataset: v.base_models for v in tested if v.over_bases is sample and v.scope != VerdictScope.ALL}
        for sample in (True, False)
    }
    most = max(of[False].values(), default=0)
    these = "this base model" if most == 1 else f"these {most} base models"
    given = f"the verdicts are of {these}, others may differ"
    if not of[True]:
        return given
    if not of[False]:
        return "base models are taken as a sample"
    return f"base models are taken as a sample, but on {listed(list(of[False]))} {given}"


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
        f"cell's headline scores on 0 to 1: {percent} are divided by 100, and where lower is better the score is then "
        "turned round to 1 - score, so that up is better everywhere; the chart Each benchmark by weight and the "
        "comparisons item by item have scores as reported. All others are taken as they are.",
        "The relative aggregate is the mean of the headline scores after scaling each benchmark within each dataset, "
        "over all weights, base models and seeds, to 0 at its smallest and 1 at its largest score.",
        "Cells that lack a benchmark count in no aggregate, but their scores count in the scaling and in Table 3. "
        "Missing scores are never filled in.",
        "w_p is PLW ** 0.30103. Standard errors of aggregates treat benchmarks, base models and seeds as independent.",
        model + (f"Fitted by {version}." if version else ""),
        "λ* is (-b1 / (2 b2)) ** (1 / 0.30103). The starred best weights are chosen on the same scores that they are "
        "shown with.",
    ]


def left_out(context: Context) -> list[str]:
    """Why there is no ratio model, one line a reason."""
    refusals: dict[str, list[str]] = {}
    for item in context.ratio:
        if item.fit is None:
            refusals.setdefault(item.refusal, []).append(item.aggregate)
    return [f"No ratio model of {listed(names, 'or')}: {reason}." for reason, names in refusals.items()]


def _table_3(fit: Regression | None) -> str:
    """The paper's own verdict: of the mean over benchmarks, by its model."""
    if fit is not None and fit.w is None:
        return f"The paper's model (Table 3) cannot be fitted: {fit.messages[0]}."
    if fit is None or fit.p_f is None or not fit.converged:
        return "The paper's model (Table 3): no reliable answer."
    p = f"p {'< 0.001' if fit.p_f < 0.001 else f'= {fit.p_f:.3f}'}"
    top = ", no optimum inside 0 to 1" if fit.optimum is None else f", curve highest at PLW {fit.optimum:.3g}"
    # The top of a curve that may be flat is nowhere; Table 3 has it, with its interval.
    top = top if fit.p_f < SIGNIFICANCE else ""
    simpler = "" if fit.engine == GLMM else " (by a simpler model, see Table 3)"
    said = (
        "the mean over benchmarks moves" if fit.p_f < SIGNIFICANCE else "the mean over benchmarks is not shown to move"
    )
    return f"The paper's model (Table 3): {said}, {p}{top}{simpler}."
