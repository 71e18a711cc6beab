"""Which prompt weight for a dataset of a given generation ratio: what the paper says, what a study's own model says.

The rule for the paper's Table 4 between its rows: where both neighbours give a weight, it is read off the straight line
between them; where one is starred, the nearer row speaks (of equals the one with the smaller ratio). Outside of its
rows (0.5 to 8) the nearest row is quoted, and said to be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from analysis.gam.optimum import RatioOptimum, optima
from analysis.inference.ratio_model import RatioFit
from analysis.scores.published import DATASET_NAMES, OPTIMUM, PAPER, TABLE_1, TABLE_4

ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Published:
    """What Table 4 of the paper says of one aggregate at a ratio."""

    aggregate: str
    plw: float | None
    """None where starred: the weight hardly matters."""
    rows: tuple[float, ...]
    """The ratios of the rows that were read: two where it is a line between them."""
    outside: bool
    """Whether the ratio lies outside of the table."""


@dataclass(frozen=True, kw_only=True)
class Own:
    """What a study's ratio model says of one aggregate at a ratio, or why it says nothing."""

    aggregate: str
    optimum: RatioOptimum | None
    refusal: str = ""


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """What the paper and the study's own model say of a ratio, and the weight to try."""

    r_g: float
    published: tuple[Published, ...]
    remarks: tuple[str, ...]
    """On the published numbers."""
    own: tuple[Own, ...]
    no_model: str
    """Why there is no model of the registry at all; empty where there is one."""
    plw: float | None
    """The weight that is advised; None where it hardly matters, or nothing is known of the ratio."""
    hardly_matters: bool
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """The recommendation as plain values, the keys of ``plw recommend --json``."""
        own = [
            {"aggregate": item.aggregate, "refusal": item.refusal or None}
            | (asdict(item.optimum) | {"starred": item.optimum.starred} if item.optimum else {})
            for item in self.own
        ]
        return {
            "r_g": self.r_g, "published": [asdict(item) | {"starred": item.plw is None} for item in self.published],
            "published_source": PAPER, "remarks": list(self.remarks), "own": own, "no_model": self.no_model or None,
            "plw": self.plw, "hardly_matters": self.hardly_matters, "advice": self.sentence,
        }  # fmt: skip


def recommend_weight(
    r_g: float, fits: Sequence[RatioFit], *, no_model: str = "", like_yours: bool = True
) -> Recommendation:
    """Advise on a prompt weight.

    Args:
        r_g: generation ratio of the dataset, above 0.
        fits: the ratio model of a study; may be empty.
        no_model: why ``fits`` is empty, in a line.
        like_yours: whether the study's base models are like those that the advice is for. Those of the embedded world
            are not: their model is shown, and the advice is the paper's.
    """
    published = tuple(read_table_4(name, table, r_g) for name, table in TABLE_4.items())
    own = tuple(_own(item, r_g) for item in fits)
    if not no_model and own and all(item.optimum is None for item in own):
        no_model = own[0].refusal if len({item.refusal for item in own}) == 1 else ""
    plw, hardly_matters, sentence = _sentence(
        r_g, {item.aggregate: item for item in published}, {o.aggregate: o for o in own}, like_yours=like_yours
    )
    return Recommendation(
        r_g=r_g,
        published=published,
        remarks=tuple(_remarks(r_g)),
        own=own,
        no_model=no_model,
        plw=plw,
        hardly_matters=hardly_matters,
        sentence=sentence,
    )


def read_table_4(aggregate: str, table: Mapping[float, float | None], r_g: float) -> Published:
    """A ratio looked up in one column of Table 4, by the rule of this module."""
    rows = sorted(table)
    low = max((row for row in rows if row <= r_g), default=rows[0])
    high = min((row for row in rows if row >= r_g), default=rows[-1])
    outside = not rows[0] <= r_g <= rows[-1]
    below, above = table[low], table[high]
    if low != high and below is not None and above is not None:
        plw = below + (above - below) * (r_g - low) / (high - low)
        return Published(aggregate=aggregate, plw=plw, rows=(low, high), outside=False)
    nearest = low if abs(r_g - low) <= abs(high - r_g) else high
    return Published(aggregate=aggregate, plw=table[nearest], rows=(nearest,), outside=outside)


def _own(item: RatioFit, r_g: float) -> Own:
    if item.fit is None:
        return Own(aggregate=item.aggregate, optimum=None, refusal=item.refusal)
    low, high = item.fit.ratio_range
    if not low <= r_g <= high:
        refusal = f"R_g {r_g:.3g} lies outside of the registry's ratios, {low:.3g} to {high:.3g}"
        return Own(aggregate=item.aggregate, optimum=None, refusal=refusal)
    return Own(aggregate=item.aggregate, optimum=optima(item.fit, [r_g])[0])


def _remarks(r_g: float) -> list[str]:
    rows = sorted(TABLE_4[ALL])
    if rows[0] <= r_g <= rows[-1]:
        return []
    remarks = [
        f"R_g {r_g:.3g} lies outside of the paper's Table 4 ({rows[0]:g} to {rows[-1]:g}); its nearest row is quoted"
    ]
    if r_g < rows[0]:
        short = TABLE_1["short"]["r_g"]
        remarks.append(
            f"the paper's regression for {DATASET_NAMES['short']} (R_g {short:g}) has its optimum at "
            f"{OPTIMUM['short']:g}"
        )
    return remarks


def _sentence(
    r_g: float, published: Mapping[str, Published], own: Mapping[str, Own], *, like_yours: bool
) -> tuple[float | None, bool, str]:
    """The weight, whether it hardly matters, and the words; the registry's own model goes first where it can tell."""
    ours, printed = own[ALL].optimum if ALL in own else None, published[ALL]
    if ours is not None and like_yours and (ours.starred or not ours.undetermined):
        return _by_own(ours, printed)
    beside = _beside(ours, like_yours=like_yours)
    if printed.plw is not None:
        where = ", the nearest ratio that it tells of" if printed.outside else ""
        source = f"the paper's ratio model for all benchmarks{where}"
        return printed.plw, False, f"Try a prompt weight of about {printed.plw:.2g}: so {source}{beside}."
    wanted = [item for item in published.values() if item.plw is not None]
    but = "".join(f", but for {item.aggregate} it prefers {item.plw:.2g}" for item in wanted)
    changes = (
        f"the paper's ratio model for all benchmarks changes by less than 5% of the scores' range over all weights{but}"
    )
    if printed.outside:
        sentence = (
            f"It hardly matters at R_g {printed.rows[0]:g}, the nearest ratio that the paper tells of, and nothing is "
            f"known of {r_g:.3g}: {changes}{beside}."
        )
        return None, False, sentence
    return None, True, f"It hardly matters here: at R_g {r_g:.3g} {changes}{beside}."


def _by_own(ours: RatioOptimum, printed: Published) -> tuple[float | None, bool, str]:
    interval = f"95% interval {ours.low:.2g} to {ours.high:.2g}"
    if printed.plw is None:
        paper = "the paper finds that it hardly matters"
    else:
        place = "in" if ours.low <= printed.plw <= ours.high else "outside"
        paper = f"the paper's weight, {printed.plw:.2g}, is {place} that interval"
    if ours.starred:
        sentence = (
            f"It hardly matters here: this registry's model for all benchmarks changes by {ours.predicted_range:.1%} "
            f"of the scores' range over all weights (best {ours.plw:.2g}, {interval}); {paper}."
        )
        return None, True, sentence
    source = "this registry's model for all benchmarks"
    return ours.plw, False, f"Try a prompt weight of about {ours.plw:.2g} ({interval}): so {source}; {paper}."


def _beside(ours: RatioOptimum | None, *, like_yours: bool) -> str:
    if ours is None:
        return ""
    if not like_yours:
        return "; this registry's models are the embedded world's and no evidence for others"
    return f"; this registry's model cannot tell ({ours.low:.2g} to {ours.high:.2g})"
