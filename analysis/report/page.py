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
LONG_CELL = 40
"""Characters of a table's cell from which on its column may break lines."""
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
    environment.filters |= {"column_classes": _column_classes, "rows": _rows, "code": _code, "marked": _marked}
    return environment


def _finalized(value: object) -> object:
    """What the template writes: our own markup as it is, any other text with visible control characters."""
    return value if isinstance(value, Markup) else visible(value)


def _rows(table: Table) -> list[list[str]]:
    return [[str(value) for value in row] for row in table.shown.itertuples(index=False, name=None)]


def _column_classes(table: Table) -> list[str]:
    """Columns with words stand to the left, those of numbers to the right; long words may break.

    A column has one class: of values some of which begin with a digit, some with a letter, all stand on one edge.
    """
    columns = zip(*_rows(table), strict=True) if len(table.shown) else [[] for _ in table.shown.columns]
    return [_column_class(column, first=not place) for place, column in enumerate(columns)]


def _column_class(values: Sequence[str], *, first: bool) -> str:
    if any(len(value) > LONG_CELL for value in values):
        return "long"
    return "text" if first or any(value[:1].isalpha() for value in values) else ""


def _marked(value: str) -> Markup:
    """A cell whose marks behind a number (best, shown, not compared) take no room, so that digits stand in columns."""
    number = value.rstrip("*=†")
    if number == value or (not number[-1:].isalnum() and number[-1:] not in (")", "]")):
        return Markup.escape(visible(value))
    return Markup('{}<span class="mark-behind">{}</span>').format(visible(number), value[len(number) :])


def _code(text: str) -> Markup:
    """Plain text of ours in which what stands between two backticks is a command; one backtick alone is itself."""
    parts = str(visible(text)).split("`")
    if len(parts) % 2 == 0:
        return Markup.escape("`".join(parts))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else Markup.escape(part) for place, part in enumerate(parts)
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
