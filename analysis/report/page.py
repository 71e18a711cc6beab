"""The report as one HTML page that needs nothing else: styles, scripts, numbers and pictures inside, all text escaped.

The scripts of ``analysis/report/web`` draw the widgets from a JSON block; what they write, they write as text. A
content security policy lets the page run these very scripts and styles, by their hashes, and reach nothing.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis.report.json_values import script_json
from analysis.report.parts import Drawing, Section, Widget
from analysis.report.study_data import StudyData
from analysis.report.text import DatasetVerdict
from analysis.report.visible import visible
from analysis.tables.table import Table

WEB = Path(__file__).parent / "web"
PAGE_SCRIPTS = (
    "dom.js", "tip.js", "chart.js", "filter.js", "grid.js", "scores.js", "panel.js", "benchmarks.js", "mechanism.js",
    "curves.js", "surface.js", "generations.js", "main.js",
)  # fmt: skip
"""In this order they make one script: a file uses only what stands in files before it."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """All that the page says. Every string is plain text."""

    name: str
    shown: str
    """Which suite, recipe and judge the page shows."""
    headline: str
    verdicts: Sequence[DatasetVerdict]
    counted: Sequence[str]
    sections: Sequence[Section]
    study: StudyData
    files: Mapping[str, Sequence[str]]
    """Key of a table or figure -> names of its files beside the page."""
    pictures: Mapping[str, bytes]
    """Key of a figure -> PNG."""


@dataclass(frozen=True, kw_only=True)
class PublishedPage:
    """All that a page on published numbers says: nothing to explore, so no script. Every string is plain text."""

    name: str
    headline: str
    counted: Sequence[str]
    sections: Sequence[Section]
    files: Mapping[str, Sequence[str]]
    """Key of a table or figure -> names of its files beside the page."""
    pictures: Mapping[str, bytes]
    """Key of a figure -> PNG."""


def published_html(page: PublishedPage) -> str:
    """Render a page on published numbers."""
    style = (WEB / "report.css").read_text(encoding="utf-8")
    return _environment().get_template("page.html").render(
        page=page,
        style=Markup(style),  # noqa: S704 - our own file
        policy=f"default-src 'none'; style-src {_hash(style)}; img-src data:; base-uri 'none'; form-action 'none'",
        pictures={key: base64.b64encode(png).decode() for key, png in page.pictures.items()},
    )  # fmt: skip


def page_html(page: Page) -> str:
    """Render the page: the template with styles, scripts, data and pictures inside."""
    style = (WEB / "report.css").read_text(encoding="utf-8")
    scripts = [(WEB / name).read_text(encoding="utf-8") for name in PAGE_SCRIPTS]
    script = "".join(["(() => {\n", '"use strict";\n', *scripts, "})();\n"])
    widgets = {part.key: part.data for section in page.sections for part in section.parts if isinstance(part, Widget)}
    return _environment().get_template("template.html").render(
        page=page,
        style=Markup(style),  # noqa: S704 - our own files
        script=Markup(script),  # noqa: S704
        policy=f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        data=Markup(script_json(visible({"study": page.study, "widgets": widgets}))),  # noqa: S704 - escaped there
        pictures={key: base64.b64encode(png).decode() for key, png in page.pictures.items()},
    )  # fmt: skip


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(WEB), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, finalize=_finalized,
    )  # fmt: skip
    environment.tests |= {
        "a_table": lambda part: isinstance(part, Table),
        "a_drawing": lambda part: isinstance(part, Drawing),
        "a_widget": lambda part: isinstance(part, Widget),
    }
    environment.filters |= {"cell_class": _cell_class, "column_class": _column_class, "rows": _rows}
    return environment


def _finalized(value: object) -> object:
    """What the template writes: our own markup as it is, any other text with visible control characters."""
    return value if isinstance(value, Markup) else visible(value)


def _rows(table: Table) -> list[list[str]]:
    return [[str(value) for value in row] for row in table.shown.itertuples(index=False, name=None)]


def _cell_class(value: str) -> str:
    """Words stand to the left and may break, numbers to the right."""
    return "long" if len(value) > 40 else "text" if value[:1].isalpha() else ""


def _column_class(table: Table, column: int) -> str:
    return "text" if column == 0 or any(_cell_class(row[column]) for row in _rows(table)) else ""


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
