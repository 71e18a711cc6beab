"""What a report is put together from: tables, drawings, things to explore and words, in chapters."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.report.context import Context
from analysis.tables.table import Table
from plw.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure for print; ``alt`` says what it shows to those who cannot see it."""

    key: str
    """Stem of its files."""
    title: str
    caption: str
    alt: str
    figure: "Figure"
    folded: bool = False
    """Whether the page shows it only on demand, because a widget beside it shows the same."""


@dataclass(frozen=True, kw_only=True)
class Widget:
    """A part of the page that a person explores; ``analysis/report/web/<key>.js`` draws it from ``data``."""

    key: str
    title: str
    caption: str
    data: Any
    """Plain JSON values, as ``widget_data`` and ``generations`` document them; missing is None."""


@dataclass(frozen=True, kw_only=True)
class Paragraphs:
    """Text of a chapter: paragraphs, then a list."""

    paragraphs: Sequence[str] = ()
    bullets: Sequence[str] = ()
    warning: bool = False
    """Whether the text tells of problems, which the page sets off."""


Part = Table | Drawing | Widget | Paragraphs


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """A heading and the makers of what stands below it, in this order."""

    key: str
    title: str
    makers: Sequence[Callable[[Context], Iterable[Part]]]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A chapter with its parts made, as the page shows it."""

    key: str
    title: str
    parts: Sequence[Part]


def make(chapter: Chapter, context: Context) -> Section:
    """Make every part of a chapter; one that cannot be made leaves a note with the reason in its place."""
    parts: list[Part] = []
    for maker in chapter.makers:
        try:
            parts.extend(maker(context))
        except UserError as error:
            parts.append(Paragraphs(bullets=[f"Not made: {error}"], warning=True))
    return Section(key=chapter.key, title=chapter.title, parts=parts)
