"""How every figure looks: a journal's widths, type that is readable there, colours that anybody can tell apart."""

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib import font_manager

from analysis.scores.datasets import PAPER_KINDS, dataset_kind

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN_INCHES, PAGE_INCHES = 3.3, 6.9
DPI = 200
DATASETS_ACROSS = 4
"""Datasets that stand beside each other at most, where each has a column."""

BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
"""Okabe and Ito's colours, which stay apart in every common kind of colour blindness; yellow is too faint for lines."""

_OF_DATASET = dict(zip(PAPER_KINDS, (BLUE, VERMILLION, GREEN, PURPLE, ORANGE), strict=True))
_OTHERS = (SKY, PURPLE, ORANGE, "#000000", BLUE, VERMILLION, GREEN, "#7A7A7A")
BOX = "□"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

NAMES_AS_THEY_ARE: dict[Any, Any] = {"text.parse_math": False}
"""Names of benchmarks, datasets and models are anybody's text: a `$` in one is no mathematics, which may not parse."""

FURTHER_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Source Han Sans SC", "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei", "Droid Sans Fallback", "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "SimHei",
    "Noto Sans Devanagari", "Noto Sans Thai", "Arial Unicode MS",
)  # fmt: skip
"""Fonts of scripts that DejaVu lacks; those that a machine has draw the names that need them."""


def _installed_fonts() -> list[str]:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in FURTHER_FONTS if name in installed)]


RC: dict[Any, Any] = {
    "font.family": _installed_fonts(),
    "font.size": 7.5,
    "axes.labelsize": 7.5,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.6,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "pdf.fonttype": 42,
    "svg.hashsalt": "plw",
    **NAMES_AS_THEY_ARE,
}


def dataset_colours(datasets: Iterable[str]) -> dict[str, str]:
    """Dataset -> colour. The paper's five have theirs in every study, by the last word of the name; others follow."""
    names = sorted(set(datasets))
    known = {name: _OF_DATASET[dataset_kind(name)] for name in names if dataset_kind(name) in _OF_DATASET}
    free = [colour for colour in _OTHERS if colour not in known.values()] or list(_OTHERS)
    rest = [name for name in names if name not in known]
    return known | {name: free[index % len(free)] for index, name in enumerate(rest)}


def markers(names: Iterable[str]) -> dict[str, str]:
    """Name -> marker, so that a figure can be read without its colours."""
    return {name: MARKERS[index % len(MARKERS)] for index, name in enumerate(names)}


def short_names(names: Iterable[str], most: int) -> dict[str, str]:
    """Name -> what a figure shows of it: whole, or its two ends where it has more than so many characters.

    A letter that no font has is a box. Of names whose ends are alike the part is shown in which they differ; those
    that look alike all the same get their number. The tables and the page have every name whole.
    """
    drawn = {name: "".join(letter if ord(letter) in _drawable() else BOX for letter in name) for name in names}
    short = {name: _ends(text, most) for name, text in drawn.items()}
    for ends in {text for text, often in Counter(short.values()).items() if often > 1}:
        alike = [name for name in drawn if short[name] == ends]
        start = _first_difference([drawn[name] for name in alike])
        short |= {name: _around(drawn[name], most, start) for name in alike}
    shown: dict[str, str] = {}
    for name, text in short.items():
        number = f"…{len(shown) + 1}"
        shown[name] = _ends(drawn[name], most - len(number)) + number if text in shown.values() else text
    return shown


@cache
def _drawable() -> frozenset[int]:
    """Code points of which one of the fonts has a picture."""
    fonts = (font_manager.get_font(font_manager.findfont(name)) for name in RC["font.family"])
    return frozenset().union(*(font.get_charmap() for font in fonts))


def _ends(name: str, most: int) -> str:
    tail = (most - 1) // 2
    return name if len(name) <= most else f"{name[: most - 1 - tail]}…{name[len(name) - tail :]}"


def _first_difference(texts: Sequence[str]) -> int:
    """The first place at which the texts are not all the same."""
    places = (place for place, letters in enumerate(zip(*texts, strict=False)) if len(set(letters)) > 1)
    return next(places, min(map(len, texts)))


def _around(text: str, most: int, place: int) -> str:
    """So many characters of a text from a little before a place in it."""
    first = max(0, min(place - most // 3, len(text) - most + 1))
    if len(text) <= most or not first:
        return text if len(text) <= most else f"{text[: most - 1]}…"
    last = first + most - 1
    return f"…{text[first:]}" if last >= len(text) else f"…{text[first : last - 1]}…"


def rows_of_datasets(datasets: Sequence[str], most: int = DATASETS_ACROSS) -> list[list[str]]:
    """The datasets of each row of a figure in which each has a column; all but the last row are of equal length."""
    return [list(datasets[at : at + most]) for at in range(0, len(datasets), most)]


def panel_names(names: Iterable[str], across: int, width: float = PAGE_INCHES) -> dict[str, str]:
    """Names as titles of panels (bold, 7.5 points) of which so many stand beside each other on a width in inches."""
    return short_names(names, max(8, int((width / across - 0.35) / 0.08)))


def picture(figure: "Figure", kind: str) -> bytes:
    """The figure as ``png`` or ``pdf``; the same figure gives the same bytes."""
    out = BytesIO()
    metadata = {"Software": None} if kind == "png" else {"CreationDate": None, "Producer": None, "Creator": None}
    # Labels of ticks are made only now.
    with mpl.rc_context(NAMES_AS_THEY_ARE), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the tables and the page have it whole.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(out, format=kind, metadata=metadata)
    # Everything has its place now; finding it again for another kind would take a quarter of the time of both.
    figure.set_layout_engine("none")
    return out.getvalue()
