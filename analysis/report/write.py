"""Writes a study's report: tables (CSV, Markdown, LaTeX), figures (PNG, PDF), and one HTML page to explore it all."""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.figures.theme import picture
from analysis.report.chapters import CHAPTERS
from analysis.report.context import make_context
from analysis.report.freshness import is_fresh, source_fingerprint, write_files
from analysis.report.page import Page, page_html
from analysis.report.parts import Drawing, Section, make
from analysis.report.text import size_sentences, study_headline, verdicts
from analysis.report.visible import visible
from analysis.scores.benchmarks import Configured
from analysis.scores.choice import Wanted
from analysis.scores.study import Study, read_study, study_frame
from analysis.tables.latex import latex
from analysis.tables.markdown import table_csv, table_markdown
from analysis.tables.table import Table
from plw.errors import UserError
from plw.progress import Progress, no_progress

TABLE_FORMATS: dict[str, Callable[[Table], str]] = {"csv": table_csv, "md": table_markdown, "tex": latex}
"""Suffix -> how a table is written."""

FIGURE_FORMATS = ("png", "pdf")

VERDICTS = "verdicts.json"
COMPARISONS = "comparisons.json"

STEPS = 3 + len(CHAPTERS)


def write_report(
    registry_url: str,
    runs: Path,
    out: Path,
    *,
    study: str,
    scale: str,
    wanted: Wanted | None = None,
    configured: Configured | None = None,
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
        wanted: the suite, recipe and judge to show where there are several; by default the newest of each.
        configured: what the config says of a suite, for what the stages' files do not tell.
        progress: told of each of the steps.
        force: write it also where nothing has changed.
        generations: prompts of each benchmark whose answers the page holds at most; None is as many as keep it small.

    Returns:
        Path of ``index.html``.

    Raises:
        UserError: no registry, no such study in it, nothing of a name that is wanted, no headline score, or a folder
            that cannot be written.
    """
    tell = progress or no_progress
    tell(0, STEPS, "reading the registry")
    read = read_study(registry_url, runs, study, scale, wanted=wanted, configured=configured)
    page = out / "index.html"
    source = source_fingerprint(read, _settings(read, generations))
    if not force and is_fresh(out, source):
        tell(STEPS, STEPS, "nothing has changed")
        return page
    frame = study_frame(read)
    make_folder(out)
    tell(1, STEPS, "fitting the models")
    context = make_context(read, frame, generations)
    sections = []
    for number, chapter in enumerate(CHAPTERS):
        tell(2 + number, STEPS, chapter.title)
        sections.append(make(chapter, context))
    tell(STEPS - 1, STEPS, "writing the files")
    files, names, pictures = rendered(sections)
    files[VERDICTS] = _json_lines([verdict.to_dict() for verdict in context.verdicts])
    if context.comparisons.rows:
        files[COMPARISONS] = _json_lines(context.comparisons.to_list())
        names.setdefault("comparisons", []).append(COMPARISONS)
    text = page_html(
        Page(
            name=f"Study {study} at scale {scale}",
            shown=read.choice.text,
            headline=study_headline(context),
            verdicts=verdicts(context),
            counted=size_sentences(context),
            sections=[section for section in sections if section.parts],
            study=context.axes,
            files=names | {"verdicts": [VERDICTS]},
            pictures=pictures,
        )
    )
    try:
        write_files(out, source, files | {page.name: text.encode()})
    except OSError as error:
        raise not_written(out, error) from None
    tell(STEPS, STEPS, str(page))
    return page


def _settings(read: Study, generations: int | None) -> dict[str, Any]:
    """What decides a report beside the study's rows."""
    return {
        "groups": dict(read.benchmarks.groups),
        "benchmarks": {name: dict(about) for name, about in read.benchmarks.info.items()},
        "choice": read.choice.text,
        "others": [asdict(other) for other in read.choice.others],
        "generations": generations,
    }


def _json_lines(found: Sequence[dict[str, Any]]) -> bytes:
    return (json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def make_folder(out: Path) -> None:
    """Make the folder and try to write there, before minutes of fitting."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise not_written(out, error) from None


def not_written(out: Path, error: OSError) -> UserError:
    return UserError(f"{out}: cannot write the report there ({error.strerror}); name another folder: --out FOLDER")


def rendered(sections: Sequence[Section]) -> tuple[dict[str, bytes], dict[str, list[str]], dict[str, bytes]]:
    """Every table and figure in all formats.

    Returns:
        Name of a file -> its contents, a part's key -> the names of its files, a figure's key -> its PNG.
    """
    files: dict[str, bytes] = {}
    names: dict[str, list[str]] = {}
    pictures: dict[str, bytes] = {}
    for part in (part for section in sections for part in section.parts):
        made: dict[str, bytes] = {}
        if isinstance(part, Table):
            made = {suffix: visible(render(part)).encode() for suffix, render in TABLE_FORMATS.items()}
        elif isinstance(part, Drawing):
            made = {suffix: picture(part.figure, suffix) for suffix in FIGURE_FORMATS}
            pictures[part.key] = made["png"]
        if isinstance(part, Table | Drawing):
            files |= {f"{part.key}.{suffix}": data for suffix, data in made.items()}
            names[part.key] = [f"{part.key}.{suffix}" for suffix in made]
    return files, names, pictures
