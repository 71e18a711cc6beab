"""Tables beyond the paper's four: intervals, the corrected choice of a weight, seeds, benchmarks, differences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from analysis.inference.bootstrap import BOOTSTRAP_DRAWS, STAR_UNITS, UNITS
from analysis.inference.regression import Regression
from analysis.levels import CONFIDENCE
from analysis.scores.aggregates import AGGREGATE_COLUMNS, best_of
from analysis.scores.choice import Alternative
from analysis.scores.datasets import dataset_kind, dataset_order
from analysis.scores.published import DATASET_NAMES, OPTIMUM, PAPER, SMALL_P, TABLE_1, TABLE_3, TABLE_4
from analysis.tables.table import NOT_COMPARED, SHOWN_SERIES, UNLIKE, Table, number, significant, with_error

REASONS = {"mini": "embedded world, not the paper's models, data and benchmarks"}
"""Scale -> why its numbers differ from the published ones, whatever they are."""

NO_WIDTH = 1e-9

OPEN_CHOICES = "the paper leaves the loss's normaliser and the squeeze of 0 and 1 open"


def intervals_table(intervals: pd.DataFrame) -> Table:
    """Bootstrap intervals of both aggregates by weight and dataset; ``intervals`` is from ``bootstrap_aggregates``."""
    raw = intervals[intervals["quantity"] == "aggregate"]
    shown = _by_weight(raw)
    caption = (
        f"Aggregate [{CONFIDENCE:.0%} percentile bootstrap interval, {BOOTSTRAP_DRAWS} draws of {UNITS[0]}]. "
        "The intervals are of each number by itself: they hold how far benchmarks and base models lie apart, which a "
        "comparison of two weights on the same benchmarks does not; for that see the gains."
    )
    return Table(key="intervals", title="Aggregates with intervals", raw=raw, shown=shown, caption=caption)


def gains_table(intervals: pd.DataFrame) -> Table | None:
    """What each weight gains over PLW 0, paired by benchmark, base model and seed; None where there is no PLW 0."""
    gains = intervals[intervals["quantity"] != "aggregate"]
    over_zero = gains[gains["quantity"] == "gain over PLW 0"]
    if over_zero.empty:
        return None
    caption = (
        f"Mean difference from PLW 0 on the same benchmark, base model and seed [{CONFIDENCE:.0%} percentile "
        f"bootstrap interval, {BOOTSTRAP_DRAWS} draws of {UNITS[0]}]. * the interval excludes 0, before any correction "
        "for looking at several weights; one without any width is no certainty and has none. The CSV has the gains "
        "over PLW 1 too, and intervals that take the base models as given."
    )
    if not over_zero[["benchmarks", "base_models"]].ge(STAR_UNITS).all(axis=None):
        caption += (
            f" Of fewer than {STAR_UNITS} benchmarks or {STAR_UNITS} base models there is no star: by chance alone all "
            "move one way in more than 5 % of studies, and intervals by draws of them are too narrow. What chance in a "
            "training does to all benchmarks alike is seen between base models only; verdicts have it in their error."
        )
    return Table(
        key="gains", title="Gain over PLW 0", raw=gains, shown=_by_weight(over_zero, star=True), caption=caption
    )


def leave_one_out_table(chosen: pd.DataFrame) -> Table:
    """The best weight before and after correction for choosing it; ``chosen`` is from ``selection``."""
    table = chosen.reindex(columns=[*chosen.columns.union(["best", "held_out", "optimism", "chosen"], sort=False)])
    rows = []
    for row in _ordered(table).to_dict("records"):
        shown = {
            "dataset": row["dataset"],
            "aggregate": row["kind"],
            "best PLW": significant(row.get("best_weight")),
            "its score": number(row["best"], 3),
            "left-out score": number(row["held_out"], 3),
            "optimism": number(row["optimism"], 3),
        }
        for baseline in ("0", "1"):
            shown[f"gain over PLW {baseline}"] = number(row.get(f"best_gain_{baseline}"), 3)
            gain, error = (row.get(f"held_out_gain_{baseline}{end}") for end in ("", "_se"))
            shown[f"left-out gain over PLW {baseline}"] = with_error(gain, error)
        rows.append(shown | {"chosen": row["chosen"] if isinstance(row["chosen"], str) else "–"})
    caption = (
        "The best weight by all benchmarks, and what its lead is worth: each benchmark is left out in turn, the "
        "weight is chosen by the aggregate of the others and scored on the one left out (left-out score, its mean). "
        "Optimism is the difference. Gains: (standard error over benchmarks). Chosen: weights and how often each was. "
        "The correction is for benchmarks: what chance in a training does to all benchmarks of a cell alike chooses "
        "the weight and is measured with it, so of few training runs the left-out gain is still too large, and its "
        "standard error too small."
    )
    return Table(
        key="selection",
        title="The best weight, chosen by other benchmarks",
        raw=table,
        shown=pd.DataFrame(rows),
        caption=caption,
    )


def seeds_table(components: pd.DataFrame) -> Table:
    """How much of an aggregate is the seed; ``components`` is from ``seed_components``."""
    ordered = _ordered(components)
    shown = pd.DataFrame({"dataset": ordered["dataset"], "aggregate": ordered["kind"]}, dtype=str)
    shown["seeds"] = [str(value) for value in ordered["seeds"]]
    shown["SD of seeds"] = [
        f"{row['seed_sd']:.4f} [{row['seed_sd_low']:.4f}, {number(row['seed_sd_high'], 4)}]" if row["df"] else "–"
        for row in ordered.to_dict("records")
    ]
    shown["SD paired"] = [number(value, 4) for value in ordered["paired_sd"]]
    shown["SD of weights"] = [number(value, 4) for value in ordered["weights_sd"]]
    known = bool((ordered["df"] > 0).any())
    caption = (
        "Standard deviation of a cell's aggregate over seeds, all else equal [95% interval]; the same after what a "
        "seed does at every weight alike is taken off, which is what a comparison of weights sees; and the standard "
        "deviation between weights. An upper end of – is unknown: no two seeds differ, which is no certainty."
        if known
        else "Each cell was run with one seed, so its spread over seeds is unknown; run more with seed=1,2,3."
    )
    return Table(key="seeds", title="Spread over seeds", raw=components, shown=shown, caption=caption)


def groups_table(grouped: pd.DataFrame) -> Table:
    """Aggregates of the paper's groupings of benchmarks; ``grouped`` is from ``grouped_aggregates``."""
    rows = []
    for (grouping, benchmarks), part in grouped.groupby(["grouping", "benchmarks"], sort=False):
        for dataset in dataset_order(part["dataset"]):
            of_dataset = part[part["dataset"] == dataset].set_index("prompt_weight")
            row = {"benchmarks": f"{grouping} ({benchmarks})", "dataset": dataset}
            for kind in AGGREGATE_COLUMNS:
                row |= _ends_and_best(of_dataset[kind], of_dataset["compared"], kind)
            rows.append(row)
    caption = (
        "Aggregates of the paper's groupings of benchmarks (their number): at PLW 0, at the best weight (which one), "
        "and at PLW 1. The CSV has every weight." + f" {NOT_COMPARED}" * (not grouped["compared"].all())
    )
    return Table(
        key="groups", title="Aggregates by type of benchmark", raw=grouped, shown=pd.DataFrame(rows), caption=caption
    )


def curves_table(curves: pd.DataFrame, further: Mapping[str, pd.DataFrame] | None = None) -> Table:
    """Every benchmark at PLW 0, at its best weight and at PLW 1.

    Args:
        curves: from ``benchmark_curves``.
        further: label -> the curves of another suite, recipe or judge; its rows follow, named in a column ``series``.
    """
    tables = {SHOWN_SERIES: curves, **(further or {})}
    rows = []
    for label, of_series in tables.items():
        for benchmark, part in of_series.groupby("benchmark", sort=False):
            row = ({"series": label} if further else {}) | {"benchmark": str(benchmark)}
            for dataset in dataset_order(curves["dataset"]):
                of_dataset = part[part["dataset"] == dataset].set_index("prompt_weight")
                shown = _ends_and_best(of_dataset["mean"], of_dataset["compared"], "").values()
                row[dataset] = " / ".join(shown) if len(of_dataset) else "–"
            rows.append(row)
    raw = curves
    if further:
        raw = pd.concat([of.assign(series=label) for label, of in tables.items()], ignore_index=True)
        raw = raw[["series", *curves.columns]]
    caption = (
        "Mean score over base models and seeds at PLW 0 / at its best weight (which one) / at PLW 1. The CSV has every "
        "weight with a 95% interval from the benchmark's standard errors over documents."
        + f" {NOT_COMPARED}"
        * (not raw["compared"].all())
    )
    return Table(key="benchmarks", title="Score by benchmark", raw=raw, shown=pd.DataFrame(rows), caption=caption)


def others_table(others: Sequence[Alternative]) -> Table:
    """Suites, recipes and judges that the study has scores of and the report does not show; ``others`` of a choice."""
    raw = pd.DataFrame([asdict(other) for other in others])
    shown = raw.assign(
        finished=[
            f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M}" if value else "–" for value in raw["finished"]
        ],
        option=[f"plw report --{other.kind} {other.name}" for other in others],
    )
    shown = shown.rename(columns={"finished": "last score (UTC)", "option": "to see it"}).astype(str)
    caption = (
        "Scores of two suites, recipes or judges do not compare, so a report rests on one of each: the newest, unless "
        "another is named. The others are drawn beside it as further series, and no test or interval counts them. The "
        "recipes are counted within the suite shown, the judges within its recipe."
    )
    return Table(key="others", title="What this report does not rest on", raw=raw, shown=shown, caption=caption)


def differences_table(
    statistics: pd.DataFrame,
    fits: Sequence[Regression],
    scale: str,
    optima: Mapping[str, Mapping[float, float | None]] | None = None,
) -> Table:
    """Our numbers beside the paper's: R_g, the coefficients of Table 3 and the optimum, with what makes them differ.

    Args:
        statistics: the rows of Table 1; may be empty.
        fits: the regressions of Table 3.
        scale: name of the study's scale.
        optima: of our Table 4, where there is one: aggregate, as ``published.TABLE_4`` names it -> R_g -> optimum, None
            where it is starred.
    """
    rows = [*_ratios(statistics), *(row for fit in fits for row in _coefficients(fit)), *_optima(optima or {})]
    columns = ["quantity", "dataset", "published", "ours", "ours_se", "reason"]
    raw = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[2:5], float))
    kinds = raw["dataset"].map(lambda name: dataset_kind(str(name)))
    printed_small = (raw["quantity"] == "p") & (kinds == SMALL_P)
    raw = raw[raw["published"].notna() | printed_small]
    order = dataset_order(raw["dataset"])
    raw = raw.iloc[sorted(range(len(raw)), key=lambda place: order.index(raw["dataset"].iloc[place]))]
    raw = raw.reset_index(drop=True)
    raw.insert(5, "difference", (raw["ours"] - raw["published"]).where(raw["quantity"] != "p"))
    if scale in REASONS:
        raw["reason"] = REASONS[scale]
    shown = raw[["quantity", "dataset"]].assign(
        paper=[DATASET_NAMES.get(dataset_kind(str(name)), "the ratio model") for name in raw["dataset"]],
        published=[
            "<0.001" if name == "p" and pd.isna(value) else significant(value)
            for name, value in zip(raw["quantity"], raw["published"], strict=True)
        ],
        ours=[
            significant(ours) + ("" if pd.isna(error) else f" ({error:.3g})")
            for ours, error in zip(raw["ours"], raw["ours_se"], strict=True)
        ],
        difference=[significant(value) for value in raw["difference"]],
        reason=raw["reason"],
    )
    caption = (
        f"Numbers of this study beside the published ones ({PAPER}), where the paper gives one; ours (standard "
        "error). A dash: there is none here. p-values are not subtracted."
    )
    shown = shown.rename(columns={"paper": "in the paper"})
    return Table(
        key="differences", title="What differs from the published numbers", raw=raw, shown=shown, caption=caption
    )


def _ratios(statistics: pd.DataFrame) -> Iterator[dict[str, object]]:
    for item in statistics.to_dict("records"):
        published = TABLE_1.get(dataset_kind(str(item["dataset"])), {}).get("r_g")
        pair = {"published": published, "ours": item["r_g"]}
        yield {"quantity": "R_g", "dataset": item["dataset"], **pair, "reason": ""}


def _coefficients(fit: Regression) -> Iterator[dict[str, object]]:
    kind = dataset_kind(fit.dataset)
    names = {"intercept": "intercept", "w": "w_p", "w2": "w_p²", "p": "p", "optimum": "λ*"}
    published = TABLE_3.get(kind, {}) | {"optimum": OPTIMUM.get(kind)}
    for name, label in names.items():
        pair = {"published": published.get(name), "ours": getattr(fit, name)}
        error = getattr(fit, f"{name}_se", None)
        yield {"quantity": label, "dataset": fit.dataset, **pair, "ours_se": error, "reason": OPEN_CHOICES}


def _optima(ours: Mapping[str, Mapping[float, float | None]]) -> Iterator[dict[str, object]]:
    for aggregate, by_ratio in ours.items():
        for ratio, published in TABLE_4.get(aggregate, {}).items():
            pair = {"published": published, "ours": by_ratio.get(ratio)}
            yield {"quantity": f"λ* at R_g {ratio:g}", "dataset": f"Table 4, {aggregate}", **pair, "reason": ""}


def _by_weight(intervals: pd.DataFrame, *, star: bool = False) -> pd.DataFrame:
    """Rows by aggregate and weight, a column a dataset; of the bootstrap over benchmarks and models."""
    intervals = intervals[intervals["unit"] == UNITS[0]]
    texts = {
        (row["kind"], row["prompt_weight"], row["dataset"]): _with_interval(
            row["estimate"], row["low"], row["high"], star=star and _may_star(row)
        )
        for row in intervals.to_dict("records")
    }
    datasets, weights = dataset_order(intervals["dataset"]), sorted(set(intervals["prompt_weight"]))
    return pd.DataFrame(
        [
            {"aggregate": kind, "PLW": f"{weight:g}"}
            | {name: texts.get((kind, weight, name), "–") for name in datasets}
            for kind in AGGREGATE_COLUMNS
            for weight in weights
        ]
    )


def _with_interval(value: float, low: float, high: float, *, star: bool) -> str:
    if pd.isna(low):
        return number(value, 3)
    return f"{value:z.3f} [{low:z.3f}, {high:z.3f}]" + "*" * (star and _excludes_0(low, high))


def _may_star(row: Mapping[Any, Any]) -> bool:
    return bool(min(row["benchmarks"], row["base_models"]) >= STAR_UNITS)


def _excludes_0(low: float, high: float) -> bool:
    """Whether an interval lies on one side of 0; one without any width, but for rounding, is no certainty."""
    return high - low > NO_WIDTH and (low > 0 or high < 0)


def _ends_and_best(values: "pd.Series[float]", fair: "pd.Series[bool]", kind: str) -> dict[str, str]:
    """The score at PLW 0, the best one with its weight, and that at PLW 1; a dash where there is none.

    Of one weight alone, between 0 and 1, its score stands in the place of the best.

    Args:
        values: the scores by weight.
        fair: whether each weight can be compared with the others.
        kind: what the scores are, for the columns' names.
    """
    lead = f"{kind}, " if kind else ""
    highest = best_of(values, fair)
    best = "–" if pd.isna(highest) else f"{highest:.3f} ({values[fair].idxmax():g})"
    if list(values.index) not in ([0.0], [1.0]) and len(values) == 1:
        best = f"{number(values.iloc[0], 3)} ({values.index[0]:g})"
    first, last = (
        number(values.get(weight), 3) + UNLIKE * (weight in values.index and not fair[weight]) for weight in (0.0, 1.0)
    )
    return {f"{lead}PLW 0": first, f"{lead}best": best, f"{lead}PLW 1": last}


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    """Datasets in the paper's order, the simple aggregate first."""
    order = dataset_order(table["dataset"])
    places = table["dataset"].map(order.index), table["kind"].map(list(AGGREGATE_COLUMNS).index)
    return table.assign(_first=places[0], _second=places[1]).sort_values(["_first", "_second"], ignore_index=True)
