"""What a report is put together from: tables, drawings, things to explore and words, in chapters."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.inference.regression import Regression
from analysis.scores.frame import TidyFrame
from analysis.scores.study import Study
from analysis.tables.table import Table
from plw.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from analysis.inference.ratio_model import RatioFit


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
class Words:
    """Paragraphs, then a list."""

    paragraphs: Sequence[str] = ()
    bullets: Sequence[str] = ()
    warning: bool = False
    """Whether they tell of problems."""


Part = Table | Drawing | Widget | Words


@dataclass(frozen=True, kw_only=True)
class Material:
    """What every part may be made from."""

    study: Study
    frame: TidyFrame
    aggregates: pd.DataFrame
    """From ``analysis.scores.aggregates.aggregates``."""
    fits: Sequence[Regression]
    problems: Sequence[str]
    """One line for each file that could not be read."""
    groups: Mapping[str, str]
    tables: Mapping[str, Table]
    """The study's tables by key: ``analysis.report.catalogue.paper_tables``."""
    figures: Mapping[str, "tuple[Figure, str]"]
    """Figures for print with their captions, by key: ``analysis.report.catalogue.paper_figures``."""
    intervals: pd.DataFrame
    """From ``analysis.inference.bootstrap.bootstrap``."""
    ratio: "Sequence[RatioFit]"
    """From ``analysis.inference.ratio_model.ratio_fits``."""
    generations: int | None
    """Prompts of each benchmark that the page shows at most; None is as many as fit."""


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """A heading and the makers of what stands below it, in this order."""

    key: str
    title: str
    makers: Sequence[Callable[[Material], Iterable[Part]]]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A chapter made."""

    key: str
    title: str
    parts: Sequence[Part]


def make(chapter: Chapter, material: Material) -> Section:
    """Make every part of a chapter; one that cannot be made leaves a note with the reason in its place."""
    parts: list[Part] = []
    for maker in chapter.makers:
        try:
            parts.extend(maker(material))
        except UserError as error:
            parts.append(Words(bullets=[f"Not made: {error}"], warning=True))
    return Section(key=chapter.key, title=chapter.title, parts=parts)
