"""Writes a study's report: tables (CSV, Markdown, LaTeX), figures (PNG, PDF), and one HTML page to explore it all."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.figures.theme import picture
from analysis.inference.ratio_model import ratio_fits
from analysis.inference.regression import Regression, regressions
from analysis.inference.residuals import residual_checks
from analysis.report.catalogue import every_interval, paper_figures, paper_tables
from analysis.report.chapters import CHAPTERS
from analysis.report.freshness import begin, finish, is_fresh, source_fingerprint
from analysis.report.page import Page, page_html
from analysis.report.parts import Drawing, Material, Section, make
from analysis.report.text import counted, headline, verdicts
from analysis.report.widget_data import study_data
from analysis.scores.aggregates import aggregates
from analysis.scores.frame import TidyFrame, tidy_frame
from analysis.scores.study import Study, read_study, read_table_1
from analysis.tables.ablation import ablation_table
from analysis.tables.latex import latex
from analysis.tables.markdown import table_csv, table_markdown
from analysis.tables.table import Table
from plw.errors import UserError
from plw.files import write_bytes_atomic, write_text_atomic
from plw.progress import Progress, no_progress

TABLE_FORMATS: dict[str, Callable[[Table], str]] = {"csv": table_csv, "md": table_markdown, "tex": latex}
"""Suffix -> how a table is written."""

FIGURE_FORMATS = ("png", "pdf")

STEPS = 4 + len(CHAPTERS)


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
    generations: int | None = None,
) -> Path:
    """Write the report of one study and scale into a folder; the same registry gives the same files.

    A report that was written from the same registry, settings and code is left as it is, unless ``force`` is set.

    Args:
        registry_url: SQLAlchemy address of the registry.
        runs: folder of the results, read for the datasets' statistics in the train records, answers and verdicts.
        out: folder of the report; made where it is missing.
        study: name of the study.
        scale: name of the scale.
        groups: benchmark -> group, for every benchmark of the suite.
        benchmark_info: benchmark -> ``task``, ``shots`` and ``metric``, as Table 2 shows them.
        progress: told of each of the steps.
        force: write it also where nothing has changed.
        generations: prompts of each benchmark whose answers the page holds at most; None is as many as keep it small.

    Returns:
        Path of ``index.html``.

    Raises:
        UserError: no registry, no such study in it, no headline score, or a folder that cannot be written.
    """
    tell = progress or no_progress
    tell(0, STEPS, "reading the registry")
    read = read_study(registry_url, runs, study, scale)
    page = out / "index.html"
    settings = {
        "groups": dict(groups),
        "benchmarks": {k: dict(v) for k, v in benchmark_info.items()},
        "generations": generations,
    }
    source = source_fingerprint(read, settings)
    if not force and is_fresh(out, source):
        tell(STEPS, STEPS, "nothing has changed")
        return page
    frame = tidy_frame(read.scores, groups, read.cells)
    try:
        out.mkdir(parents=True, exist_ok=True)
        begin(out)
    except OSError as error:
        raise UserError(f"{out}: cannot make the report's folder ({error.strerror})") from None
    tell(1, STEPS, "fitting the regression")
    fits = regressions(frame.rows)
    tell(2, STEPS, "making the tables and figures")
    material = _material(read, frame, fits, groups=groups, info=benchmark_info, generations=generations)
    sections = []
    for number, chapter in enumerate(CHAPTERS):
        tell(3 + number, STEPS, chapter.title)
        sections.append(make(chapter, material))
    tell(STEPS - 1, STEPS, "writing the files")
    files, pictures = _write_files(out, sections)
    found = verdicts(material)
    text = page_html(
        Page(
            name=f"Study {study} at scale {scale}",
            headline=headline(found),
            verdicts=found,
            counted=counted(material),
            sections=[section for section in sections if section.parts],
            study=study_data(read),
            files=files,
            pictures=pictures,
        )
    )
    write_text_atomic(page, text)
    finish(out, source)
    tell(STEPS, STEPS, str(page))
    return page


def _material(
    read: Study,
    frame: TidyFrame,
    fits: Sequence[Regression],
    *,
    groups: Mapping[str, str],
    info: Mapping[str, Mapping[str, Any]],
    generations: int | None,
) -> Material:
    """All that the chapters are made from."""
    statistics, problems = read_table_1(read.runs, read.name, read.scale)
    checks = {
        # Random effects are kept: drawn anew, two base models leave the checks without power (docs/statistics.md).
        fit.dataset: residual_checks(fit.fit, conditional=True)
        for fit in fits
        if fit.fit is not None and fit.converged
    }
    made: dict[str, Any] = {
        "intervals": every_interval(frame), "ratio": ratio_fits(frame), "checks": checks,
    }  # fmt: skip
    tables = paper_tables(
        frame=frame, fits=fits, statistics=statistics, stages=read.stages, groups=groups, benchmark_info=info,
        scale=read.scale, **made,
    )  # fmt: skip
    if "recipe" in read.scores and read.scores.loc[read.scores["headline"].astype(bool), "recipe"].nunique() > 1:
        tables.append(ablation_table(read.scores, groups))
    return Material(
        study=read, frame=frame, aggregates=aggregates(frame), fits=fits, problems=problems,
        tables={table.key: table for table in tables},
        figures=paper_figures(frame=frame, scores=read.scores, **made),
        intervals=made["intervals"], ratio=made["ratio"], groups=groups, generations=generations,
    )  # fmt: skip


def _write_files(out: Path, sections: Sequence[Section]) -> tuple[dict[str, list[str]], dict[str, bytes]]:
    """Write every table and figure in all formats.

    Returns:
        Names of the files by the part's key, and the figures' PNG bytes.
    """
    files: dict[str, list[str]] = {}
    pictures = {}
    for part in (part for section in sections for part in section.parts):
        if isinstance(part, Table):
            for suffix, render in TABLE_FORMATS.items():
                write_text_atomic(out / f"{part.key}.{suffix}", render(part))
            files[part.key] = [f"{part.key}.{suffix}" for suffix in TABLE_FORMATS]
        elif isinstance(part, Drawing):
            drawn = {suffix: picture(part.figure, suffix) for suffix in FIGURE_FORMATS}
            for suffix, data in drawn.items():
                write_bytes_atomic(out / f"{part.key}.{suffix}", data)
            files[part.key] = [f"{part.key}.{suffix}" for suffix in FIGURE_FORMATS]
            pictures[part.key] = drawn["png"]
    return files, pictures
