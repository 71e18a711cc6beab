"""Writes a study's report: tables as CSV and Markdown, figures as PNG and PDF, and one HTML page of it all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.aggregates import aggregates, cell_aggregates
from analysis.frame import PERCENT_METRICS, TidyFrame, describe_holes, tidy_frame
from analysis.freshness import begin, finish, is_fresh, source_fingerprint
from analysis.latex import latex
from analysis.page import Picture, Section, page_html
from analysis.regression import GLMM, ORDINARY, Regression, r_available, regressions
from analysis.render import table_csv, table_markdown
from analysis.style import dataset_order, picture
from analysis.tables import Table, read_table_1
from plw.errors import UserError
from plw.files import write_bytes_atomic, write_text_atomic
from plw.progress import Progress, silent
from plw.registry.rows import CellRow, StageRow
from plw.registry.schema import FAILED, RUNNING
from plw.registry.store import Registry

STEPS = 6


@dataclass(frozen=True, kw_only=True)
class Study:
    """What the registry holds of one study."""

    name: str
    scale: str
    cells: Sequence[CellRow]
    stages: Sequence[StageRow]
    scores: pd.DataFrame


def write_report(
    registry_url: str,
    runs: Path,
    out: Path,
    *,
    study: str,
    scale: str,
    groups: Mapping[str, str],
    benchmark_info: Mapping[str, Mapping[str, Any]],
    progress: Progress | None = None,
    force: bool = False,
) -> Path:
    """Write the report of one study and scale into a folder; the same registry gives the same files.

    A report that was written from the same registry, settings and code is left as it is, unless ``force`` is set.

    Args:
        registry_url: SQLAlchemy address of the registry.
        runs: folder of the results, read for the datasets' statistics in the train records.
        out: folder of the report; made where it is missing.
        study: name of the study.
        scale: name of the scale.
        groups: benchmark -> group, for every benchmark of the suite.
        benchmark_info: benchmark -> ``task``, ``shots`` and ``metric``, as Table 2 shows them.
        progress: told of each of the steps.
        force: write it also where nothing has changed.

    Returns:
        Path of ``index.html``.

    Raises:
        UserError: no registry, no such study in it, no headline score, or a folder that cannot be written.
    """
    tell = progress or silent
    tell(0, STEPS, "reading the registry")
    read = read_study(registry_url, study, scale)
    page = out / "index.html"
    settings = {
        "groups": dict(groups),
        "benchmarks": {k: dict(v) for k, v in benchmark_info.items()},
        "r": r_available(),
    }
    source = source_fingerprint(read.cells, read.stages, read.scores, settings)
    if not force and is_fresh(out, source):
        tell(STEPS, STEPS, "nothing has changed")
        return page
    frame = tidy_frame(read.scores, groups, read.cells)
    table = aggregates(frame)
    try:
        out.mkdir(parents=True, exist_ok=True)
        begin(out)
    except OSError as error:
        raise UserError(f"{out}: cannot make the report's folder ({error.strerror})") from None
    tell(1, STEPS, "fitting the regression")
    fits = regressions(frame.rows)
    tell(2, STEPS, "reading the records")
    statistics, problems = read_table_1(runs, study, scale)
    tables = {made.key: made for made in _tables(frame, fits, statistics, read, groups, benchmark_info)}
    tell(3, STEPS, "drawing the figures")
    pictures = _draw(read, frame, out)
    tell(4, STEPS, "writing the tables")
    for made in tables.values():
        write_text_atomic(out / f"{made.key}.csv", table_csv(made))
        write_text_atomic(out / f"{made.key}.md", table_markdown(made))
        write_text_atomic(out / f"{made.key}.tex", latex(made))
    tell(5, STEPS, "writing the page")
    sections = _sections(read, frame, fits, tables, pictures, problems, benchmarks=len(groups))
    write_text_atomic(page, page_html(f"Study {study} at scale {scale}", _lead(read, frame, table, fits), sections))
    finish(out, source)
    tell(STEPS, STEPS, str(page))
    return page


def read_study(registry_url: str, study: str, scale: str) -> Study:
    """Everything of one study and scale.

    Raises:
        UserError: no registry there, or nothing of that study in it; the line names what it holds.
    """
    with Registry.open(registry_url, create=False) as registry:
        cells = registry.cells(study=study, scale=scale)
        if not cells:
            names = sorted({f"{cell.study}-{cell.scale}" for cell in registry.cells()})
            found = f"it holds {', '.join(names)}" if names else "it is empty"
            raise UserError(f"the registry has nothing of study {study} at scale {scale}; {found}")
        stages = registry.stage_rows(study=study, scale=scale)
        scores = registry.scores_frame(study=study, scale=scale)
    return Study(name=study, scale=scale, cells=cells, stages=stages, scores=scores)


def _tables(
    frame: TidyFrame,
    fits: Sequence[Regression],
    statistics: pd.DataFrame,
    read: Study,
    groups: Mapping[str, str],
    info: Mapping[str, Mapping[str, Any]],
) -> list[Table]:
    from analysis.paper import paper_tables

    return paper_tables(
        frame=frame,
        fits=fits,
        statistics=statistics,
        stages=read.stages,
        groups=groups,
        benchmark_info=info,
        scale=read.scale,
    )


def _draw(read: Study, frame: TidyFrame, out: Path) -> dict[str, Picture]:
    from analysis.paper import ALTS, TITLES, paper_figures

    pictures = {}
    for key, (figure, caption) in paper_figures(frame=frame, scores=read.scores).items():
        png = picture(figure, "png")
        write_bytes_atomic(out / f"{key}.png", png)
        write_bytes_atomic(out / f"{key}.pdf", picture(figure, "pdf"))
        pictures[key] = Picture(key=key, title=TITLES[key], caption=caption, alt=ALTS[key], png=png)
    return pictures


def _lead(read: Study, frame: TidyFrame, table: pd.DataFrame, fits: Sequence[Regression]) -> list[str]:
    rows = frame.rows
    seeds = sorted(set(rows["seed"]))
    counted = [
        _count(rows["dataset"].nunique(), "dataset"),
        _count(rows["model"].nunique(), "base model"),
        _count(rows["prompt_weight"].nunique(), "prompt weight"),
        _count(len(seeds), "seed") + f" ({', '.join(str(seed) for seed in seeds)})",
    ]
    complete = len(cell_aggregates(frame))
    first = (
        f"{_count(len(read.cells), 'cell')} of {', '.join(counted)}; "
        f"{_count(rows['benchmark'].nunique(), 'benchmark')}, {_count(len(rows), 'headline score')}; "
        f"{complete} of the cells have every benchmark."
    )
    order = dataset_order(table["dataset"])
    best = [
        f"{row.dataset}: PLW {row.prompt_weight:g} ({row.relative:.3f})"
        for row in sorted(table[table["best_relative"]].itertuples(), key=lambda row: order.index(str(row.dataset)))
    ]
    engine = ORDINARY if any(fit.engine == ORDINARY for fit in fits) else GLMM
    tests = [f"{fit.dataset}: {_verdict(fit)}" for fit in sorted(fits, key=lambda fit: order.index(fit.dataset))]
    sentences = [first]
    if best:
        sentences.append(
            f"Best weight by the relative aggregate, before any correction for choosing it: {'; '.join(best)}."
        )
    if tests:
        sentences.append(f"Does the weight matter ({engine})? {'; '.join(tests)}.")
    return sentences


def _verdict(fit: Regression) -> str:
    if fit.p is None or not fit.converged:
        return "no reliable answer, see Table 3"
    sign = f"p {'< 0.001' if fit.p < 0.001 else f'= {fit.p:.3f}'}"
    top = "no optimum inside" if fit.optimum is None else f"highest at PLW {fit.optimum:.3g}"
    simpler = "" if fit.engine in (GLMM, ORDINARY) else " (by a simpler model, see Table 3)"
    return f"{sign}, {top}{simpler}"


def _sections(
    read: Study,
    frame: TidyFrame,
    fits: Sequence[Regression],
    tables: Mapping[str, Table],
    pictures: Mapping[str, Picture],
    problems: Sequence[str],
    *,
    benchmarks: int,
) -> list[Section]:
    mechanism: list[Table | Picture] = [pictures["figure2_mechanism"]] if "figure2_mechanism" in pictures else []
    data: list[Table | Picture] = [tables[key] for key in ("table1_datasets", "table2_benchmarks") if key in tables]
    missing = _missing(read, frame, problems, benchmarks)
    results: list[Table | Picture] = [pictures["figure1_aggregates"], tables["results"], tables["table3_regression"]]
    shown = {part.key for part in [*results, *mechanism, *data, tables["stage_times"]]}
    everything: list[Table | Picture] = [*pictures.values(), *tables.values()]
    further = [part for part in everything if part.key not in shown]
    return [
        Section(key="results", title="Results", parts=results),
        Section(key="further", title="Benchmarks, intervals, seeds, published numbers", parts=further),
        Section(
            key="mechanism",
            title="Mechanism",
            paragraphs=[] if mechanism else ["No diagnostic was measured."],
            parts=mechanism,
        ),
        Section(key="data", title="Datasets and benchmarks", parts=data),
        Section(
            key="missing",
            title="What is missing",
            paragraphs=[]
            if missing
            else ["Nothing: every cell of the grid has every headline score, no stage failed."],
            bullets=missing,
            warning=True,
        ),
        Section(key="time", title="Time", parts=[tables["stage_times"]]),
        Section(key="methods", title="How each number was made", bullets=[*_methods(fits), *frame.notes]),
    ]


def _missing(read: Study, frame: TidyFrame, problems: Sequence[str], benchmarks: int) -> list[str]:
    lines = describe_holes(frame.holes, benchmarks)
    labels = {
        cell.cell: f"{cell.dataset}, {cell.model}, PLW {cell.prompt_weight:g}, seed {cell.seed}" for cell in read.cells
    }
    for stage in read.stages:
        if stage.status == FAILED:
            lines.append(
                f"{labels[stage.cell]}: stage {stage.name} failed after {stage.attempts} attempts: {stage.error}"
            )
        elif stage.status == RUNNING:
            lines.append(f"{labels[stage.cell]}: stage {stage.name} was not finished when this was written")
    return lines + [f"Not read: {problem}" for problem in problems]


def _methods(fits: Sequence[Regression]) -> list[str]:
    model = (
        "Table 3 is a beta regression with logit link: fixed w_p and w_p², correlated random slopes of both by "
        "benchmark without random intercept, random intercept by base model; scores squeezed by (y (n - 1) + 0.5) / n, "
        "n the dataset's scores; p from a Wald test of both terms. Where that did not converge, a simpler random part "
        "was taken and the table says which. "
    )
    version = next((fit.details["version"] for fit in fits if fit.details), None)
    ordinary = (
        "Table 3 is an ordinary quadratic fit, not the paper's model: least squares of the scaled scores on w_p and "
        "w_p², p from an F test. It has no random effects, so its p-value takes the scores of one benchmark for "
        "independent."
    )
    glmm = any(fit.engine.startswith(GLMM) for fit in fits)
    percent = ", ".join(sorted(PERCENT_METRICS))
    return [
        "A headline score is the one metric of a benchmark that the suite names. The simple aggregate is the mean of a "
        f"cell's headline scores on 0 to 1: {percent} are divided by 100, all others are taken as they are.",
        "The relative aggregate is the mean of the headline scores after scaling each benchmark within each dataset, "
        "over all weights, base models and seeds, to 0 at its smallest and 1 at its largest score.",
        "Cells that lack a benchmark count in no aggregate, but their scores count in the scaling and in Table 3. "
        "Missing scores are never filled in.",
        "w_p is PLW ** 0.30103. Standard errors of aggregates treat benchmarks, base models and seeds as independent.",
        model + (f"Fitted by {version}." if version else "R gave no fit.") if glmm else ordinary,
        "λ* is (-b1 / (2 b2)) ** (1 / 0.30103). The starred best weights are chosen on the same scores that they are "
        "shown with.",
    ]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
