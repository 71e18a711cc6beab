"""Tables of paired items: each weight against the smallest, and the noise floor."""

import math
from collections.abc import Iterable, Sequence

import pandas as pd

from analysis.inference.noise import BASE_DRAWN, ITEMS_DRAWN, SEED_DRAWN
from analysis.inference.paired_weights import MARGIN, NotCompared, WeightComparison, reference_name
from analysis.items.sentences import listed
from analysis.tables.table import Table, number

EACH_WEIGHT = "Each weight against the smallest, item by item"
GROUP_ORDER = ("multiple_choice", "short_generation", "translation", "long_generation")


def comparisons_table(rows: Sequence[WeightComparison], left_out: Sequence[NotCompared] = ()) -> Table:
    """Each weight's difference from the smallest, a row a dataset and benchmark; all numbers stand in the CSV.

    Args:
        rows: what was compared.
        left_out: what could not be, for the caption.
    """
    raw = pd.DataFrame([row.to_dict() for row in rows])
    weights = sorted({row.weight for row in rows if row.from_smallest})
    smallest = reference_name(rows)
    best = {row.dataset: row.weight for row in rows if not row.from_smallest}
    shown = []
    order = list(dict.fromkeys(row.dataset for row in rows))
    ordered = sorted(rows, key=lambda row: (order.index(row.dataset), _order(row)))
    for dataset, group, benchmark in dict.fromkeys(map(_place, ordered)):
        of_benchmark = [row for row in rows if _place(row) == (dataset, group, benchmark)]
        by_weight = {row.weight: row for row in of_benchmark if row.from_smallest}
        line = {"dataset": dataset, "benchmark": benchmark, smallest: _score_at_start(by_weight.values())}
        line |= {f"{weight:g}": _difference(by_weight.get(weight)) for weight in weights}
        detectable = [_points(row, row.found.mde) for row in by_weight.values() if math.isfinite(row.found.mde)]
        line["detectable"] = number(pd.Series(detectable).median(), 1) if detectable else "–"
        over_1 = next((row for row in of_benchmark if not row.from_smallest), None)
        if best:
            line["best over 1"] = _difference(over_1)
        shown.append(line)
    chosen = listed([f"{weight:g} on {dataset}" for dataset, weight in best.items()]) if best else ""
    caption = (
        f"Difference from {smallest} in points of a hundred, on the items that the paired cells answered; at it the "
        "score. * shown after Holm's correction for all weights and benchmarks of the dataset; "
        f"= shown to be within {MARGIN * 100:g} points of {smallest} by two one-sided tests of 5 %, uncorrected. "
        "Detectable: the difference that a study of this size finds four times in five at one weight, uncorrected, "
        "median over weights. " + (f"Best over 1: PLW {chosen}, chosen on the same scores. " if best else "")
        + _sample(rows) + " The CSV and comparisons.json have intervals, p and n."
        + _not_compared(rows, left_out)
    )  # fmt: skip
    return Table(
        key="comparisons", title=EACH_WEIGHT, raw=raw, shown=pd.DataFrame(shown), caption=caption,
    )  # fmt: skip


def noise_table(noise: pd.DataFrame) -> Table:
    """Spread by chance and the floor of each benchmark; ``noise`` is from ``noise_floor``."""
    shown = []
    ordered = noise.assign(_order=[GROUP_ORDER.index(g) if g in GROUP_ORDER else 9 for g in noise["group"]])
    for benchmark, rows in ordered.sort_values(["_order", "benchmark"]).groupby("benchmark", sort=False):
        line = {"benchmark": str(benchmark)}
        by_source = {row["source"]: row for row in rows.to_dict("records")}
        for source in (SEED_DRAWN, BASE_DRAWN, ITEMS_DRAWN):
            row = by_source.get(source, {})
            line[f"{source}: SD"] = number(row.get("sd"), 2)
            line[f"{source}: floor"] = number(row.get("floor"), 2)
        shown.append(line)
    caption = (
        "Points of a hundred. Seed: standard deviation of one cell over seeds, all else equal; two cells that differ "
        "in the seed alone differ by less than the floor in 95 % of cases. Base model: standard deviation over base "
        "models of the change from the smallest weight; one base's change lies within the floor of their mean in 95 % "
        "of cases. Items: standard error of the paired difference over documents, where base models are few. Degrees "
        "of freedom and intervals are in the CSV. Where nothing differs, SD 0, there is no floor: that is no certainty."
    )
    return Table(key="noise", title="The noise floor", raw=noise, shown=pd.DataFrame(shown), caption=caption)


def noise_sentence(noise: pd.DataFrame) -> str:
    """What difference is none, or how to learn it."""
    seeds = noise[noise["source"] == SEED_DRAWN]
    if seeds.empty:
        return (
            "What the training's seed alone changes is not known: no cell was run with a second seed. Another axis "
            "gives it: `plw run -m ... seed=42,43`."
        )
    seeds = seeds.dropna(subset=["floor"])
    if seeds.empty:
        return "No two seeds of a cell differ in any score; that is no certainty, and gives no floor."
    low, *_, high = [*seeds.sort_values("floor").to_dict("records")] * (2 if len(seeds) == 1 else 1)
    return (
        "Two cells that differ in the seed alone differ by up to "
        f"{low['floor']:.1f} points ({low['benchmark']}) to {high['floor']:.1f} points ({high['benchmark']}): smaller "
        "differences of two single cells are not told from it."
    )


def _place(row: WeightComparison) -> tuple[str, str, str]:
    return row.dataset, row.group, row.found.benchmark


def _order(row: WeightComparison) -> int:
    """Benchmarks by their group; the datasets stay in their order."""
    return GROUP_ORDER.index(row.group) if row.group in GROUP_ORDER else len(GROUP_ORDER)


def _sample(rows: Sequence[WeightComparison]) -> str:
    units = {row.found.over for row in rows}
    if units == {None}:
        return "Intervals are over items: they hold for these trained models, which trained anew may differ by more."
    named = listed(sorted(f"{unit}s" for unit in units if unit))
    return f"The {named} are taken as a sample of others like them."


def _not_compared(rows: Sequence[WeightComparison], left_out: Sequence[NotCompared]) -> str:
    """Each benchmark that is missing, with the reason; and where, if it is compared elsewhere."""
    elsewhere = {row.found.benchmark for row in rows}
    of_reason: dict[str, dict[str, None]] = {}
    for item in left_out:
        where = f" on {item.dataset} at {item.weight:g} against {item.reference:g}" * (item.benchmark in elsewhere)
        of_reason.setdefault(item.reason, {})[f"{item.benchmark}{where}"] = None
    said = "; ".join(f"{listed(list(names))} ({reason})" for reason, names in of_reason.items())
    return f" Not compared: {said}." if said else ""


def _points(row: WeightComparison, value: float) -> float:
    return value * 100 / row.found.scale if row.found.scale else value


def _difference(row: WeightComparison | None) -> str:
    if row is None:
        return "–"
    mark = "*" if row.found.shown else "=" if row.found.equivalent else ""
    return f"{_points(row, row.found.difference):+z.1f}{mark}"


def _score_at_start(rows: Iterable[WeightComparison]) -> str:
    first = next(iter(rows), None)
    return "–" if first is None else f"{_points(first, first.found.a):.1f}"
