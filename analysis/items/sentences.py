"""A comparison in plain sentences: what moved, by how much and how surely, and what can be excluded."""

import math
from collections.abc import Sequence

from analysis.items.compare import Comparison
from analysis.items.pairs import SAMPLE, Unpaired
from analysis.levels import FEW_UNITS, SIGNIFICANCE
from plw.progress import count

MAX_DIGITS = 16
"""Of a number in a sentence: a float has no more."""
NO_INTERVAL = "no interval, since all differences are alike and the score has no bounds"


def sentences(rows: Sequence[Comparison], left_out: Sequence[Unpaired], margin: float | None = None) -> list[str]:
    """What a reader should take from the comparison, the most certain first."""
    lines = [_all_equal(rows)] if all(row.differing == 0 for row in rows) else _differences(rows)
    if margin is not None:
        lines.append(_equivalence(rows, margin))
    few = [row.benchmark for row in rows if row.clusters < FEW_UNITS]
    if few:
        lines.append(f"Fewer than {FEW_UNITS} independent units in {listed(few)}: intervals there are rough.")
    lines += [_left_out(row) for row in rows if row.only_in_one or row.unscored]
    return lines + [f"Not compared: {item.benchmark} ({item.reason})." for item in left_out]


def run_sentences(rows: Sequence[Comparison]) -> list[str]:
    """Of several training runs: whether the intervals hold for others too."""
    runs = max(row.runs for row in rows)
    if runs < 2:
        return []
    over = {row.over for row in rows}
    if None not in over:
        units = listed(sorted(f"{unit}s" for unit in over if unit))
        return [f"{runs} pairs of cells; the {units} are taken as a sample, so the intervals are of others like them."]
    return [
        f"{runs} pairs of cells of fewer than {SAMPLE} training runs: the differences are those of these models; "
        "trained anew they may differ by more."
    ]


def amount(row: Comparison, value: float, *, sign: bool = False) -> str:
    """A difference of the score, in points of a hundred where the score has a range."""
    per = 100 / row.scale if row.scale is not None else 1.0
    # Two digits of what a standard error would be; the interval has one where the error is 0.
    width = (row.high - row.low) * per / 4
    wanted = width if 0 < width < math.inf else abs(row.difference) * per
    digits = min(MAX_DIGITS, max(2, 1 - math.floor(math.log10(wanted)))) if wanted else 2
    return f"{value * per:{'+' if sign else ''}z.{digits}f}"


def score_texts(row: Comparison) -> tuple[str, str]:
    """Both scores, with four digits, or as many as tell them apart."""
    for digits in range(4, MAX_DIGITS):
        a, b = f"{row.a:.{digits}g}", f"{row.b:.{digits}g}"
        if a != b or row.a == row.b:
            break
    return a, b


def unit(row: Comparison) -> str:
    """What ``amount`` is counted in."""
    return "points" if row.scale is not None else f"({row.metric})"


def _all_equal(rows: Sequence[Comparison]) -> str:
    items = sum(row.n for row in rows)
    of = rows[0].benchmark if len(rows) == 1 else f"{len(rows)} benchmarks"
    return f"A and B are equal on all {items} items of {of}: there is no difference to test."


def _differences(rows: Sequence[Comparison]) -> list[str]:
    moved = sorted((row for row in rows if row.shown), key=lambda row: (row.p_holm, -_errors(row)))
    still = [row for row in rows if not row.shown]
    return [_summary(len(moved), len(rows)), *map(_moved, moved), *map(_not_shown, still)]


def _left_out(row: Comparison) -> str:
    parts = []
    if row.only_in_one:
        parts.append(f"{count(row.only_in_one, 'item')} that only one of the two has")
    if row.unscored:
        parts.append(f"{count(row.unscored, 'pair')} of which one has no outcome")
    return f"{row.benchmark}: left out are {listed(parts)}."


def _errors(row: Comparison) -> float:
    """How many standard errors the difference is."""
    return abs(row.difference) / row.se if row.se else math.inf


def _summary(moved: int, compared: int) -> str:
    if compared == 1:
        return "A difference is shown." if moved else "No difference is shown."
    return f"A difference is shown on {moved} of {compared} benchmarks, after Holm's correction for their number."


def _moved(row: Comparison) -> str:
    higher = "higher" if row.difference > 0 else "lower"
    better = ""
    if row.higher_is_better is not None:
        better = ", better" if (row.difference > 0) == row.higher_is_better else ", worse"
    surely = f"{difference_interval(row)}, {p_text(row)}"
    return (
        f"{row.benchmark}: B is {higher} by {amount(row, abs(row.difference))} {unit(row)}{better} "
        f"({' to '.join(score_texts(row))}; {surely})."
    )


def difference_interval(row: Comparison) -> str:
    """Of the difference, in the direction of it."""
    if math.isinf(row.low):
        return NO_INTERVAL
    low, high = (row.low, row.high) if row.difference > 0 else (-row.high, -row.low)
    return f"95 % interval {amount(row, low)} to {amount(row, high)}"


def _not_shown(row: Comparison) -> str:
    if row.differing == 0:
        most = f"{amount(row, row.high)} {unit(row)}"
        bound = f"; excluded is one of more than {most}" if row.scale is not None else ""
        return f"{row.benchmark}: no difference on any of its {row.n} items{bound}."
    signed = f"{amount(row, row.low, sign=True)} to {amount(row, row.high, sign=True)} {unit(row)}"
    if row.p < SIGNIFICANCE:
        interval = NO_INTERVAL if math.isinf(row.low) else signed
        return f"{row.benchmark}: shown alone (p {row.p:.3f}, {interval}), but not once corrected ({p_text(row)})."
    if math.isinf(row.low):
        return f"{row.benchmark}: not shown ({p_text(row)}); {NO_INTERVAL}."
    if row.low > 0 or row.high < 0:
        # Newcombe's interval and the exact test, which asks for more, do not always agree.
        return f"{row.benchmark}: not shown ({p_text(row)}), though the 95 % interval is {signed}."
    found = f"a difference of {amount(row, row.mde)}" if math.isfinite(row.mde) else "no possible difference"
    return (
        f"{row.benchmark}: not shown ({p_text(row)}). "
        f"Excluded are a fall of more than {amount(row, max(0.0, -row.low))} "
        f"and a rise of more than {amount(row, max(0.0, row.high))} {unit(row)}; "
        f"{row.n} items find {found} four times in five."
    )


def _equivalence(rows: Sequence[Comparison], margin: float) -> str:
    same = [row.benchmark for row in rows if row.equivalent]
    if not same:
        return f"On no benchmark are A and B shown to be within {margin * 100:g} points of each other."
    return (
        f"Within {margin * 100:g} points of each other, by two one-sided tests of 5 % on each benchmark alone: "
        f"{listed(same)}."
    )


def p_text(row: Comparison) -> str:
    """The p, corrected where there was something to correct for."""
    # The largest of several p is its own correction; of one benchmark there is nothing to correct for.
    said = "p" if row.p == row.p_holm else "corrected p"
    return f"{said} {'< 0.001' if row.p_holm < 0.001 else f'{row.p_holm:.3f}'}"


def listed(names: Sequence[str], last: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``; ``last`` is "or" where the sentence denies: "no a and b" denies but both."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"
