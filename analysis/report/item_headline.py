"""What paired items say of a dataset whose scores decide nothing: two weights of one base model, for the most part."""

from collections.abc import Sequence

from analysis.inference.paired_weights import WeightComparison
from analysis.inference.verdicts import ScopeVerdict, VerdictScope
from analysis.items.sentences import amount, difference_interval, listed, p_text, unit
from analysis.report.verdict_text import NAMED


def items_sentence(
    verdicts: Sequence[ScopeVerdict], comparisons: Sequence[WeightComparison], dataset: str
) -> str | None:
    """What moved item by item, or what is excluded; None where the scores decide something, or no items compare.

    Args:
        verdicts: Of the study.
        comparisons: From ``weight_comparisons``.
        dataset: The sentence is of this one.
    """
    groups = [v for v in verdicts if v.dataset == dataset and v.scope == VerdictScope.GROUP]
    rows = [row for row in comparisons if row.dataset == dataset and row.from_smallest]
    if not rows or not groups or not all(group.undecided for group in groups):
        return None
    alone = "" if any(row.found.over for row in rows) else ", of these trained models alone"
    shown = sorted((row for row in rows if row.found.shown), key=lambda row: (row.found.p_holm, row.found.benchmark))
    if shown:
        names = [_moved(row) for row in shown[:NAMED]]
        names += [f"{len(shown) - NAMED} more"] * (len(shown) > NAMED)
        return f"Item by item{alone}: {listed(names)}."
    return f"Item by item{alone}, no benchmark is shown to move{_excluded(rows)}."


def _moved(row: WeightComparison) -> str:
    found = row.found
    higher = "higher" if found.difference > 0 else "lower"
    better = "" if found.higher_is_better is not False else " (lower is better)"
    return (
        f"{found.benchmark} is {higher} by {amount(found, abs(found.difference))} {unit(found)}{better} at weight "
        f"{row.weight:g} than at {row.reference:g} ({difference_interval(found)}, {p_text(found)})"
    )


def _excluded(rows: Sequence[WeightComparison]) -> str:
    """The largest differences that the intervals leave, benchmark by benchmark, of those with a range."""
    widest: dict[str, WeightComparison] = {}
    for row in rows:
        known = widest.get(row.found.benchmark)
        if row.found.scale and (known is None or _bound(row) > _bound(known)):
            widest[row.found.benchmark] = row
    if not widest:
        return ""
    ordered = sorted(widest.values(), key=_bound)
    names = [f"{100 * _bound(row):.1f} ({row.found.benchmark})" for row in ordered]
    if len(names) > NAMED:
        return f"; the 95 % intervals reach to differences of {names[0]} to {names[-1]} points"
    return f"; differences of more than {listed(names)} points are excluded, by 95 % intervals of each"


def _bound(row: WeightComparison) -> float:
    return max(-row.found.low, row.found.high) / (row.found.scale or 1.0)
