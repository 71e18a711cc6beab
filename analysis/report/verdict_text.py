"""The verdicts in plain sentences: what moved, how far, in which direction, at which weight; and what is excluded."""

from collections.abc import Sequence

from analysis.inference.base_changes import BaseChange
from analysis.inference.verdicts import ScopeVerdict, Undecided, VerdictScope
from analysis.items.sentences import listed

NAMED = 4
"""Benchmarks of a kind, or of a headline, that are named at most."""
UNTOLD = "moving, but in its mean no change is shown"
"""Of a kind whose benchmarks are shown to move together with no word on which way: of one, say, or of none alone."""
LEAST_MISFIT = 0.5
"""Points by which a curve may miss the mean scores without a word."""


def study_sentences(verdicts: Sequence[ScopeVerdict]) -> str:
    """The study's answer, a line a dataset: what moved by kind of benchmark, then what is excluded elsewhere."""
    moved: list[str] = []
    still: list[str] = []
    of_one: dict[str, list[str]] = {}
    for dataset in dict.fromkeys(verdict.dataset for verdict in verdicts):
        groups = _of_scope(verdicts, dataset, VerdictScope.GROUP)
        phrases = [f"{kind(group)} {_short(group, verdicts, named=False)}" for group in groups if group.moved]
        alone = _alone(verdicts, dataset)
        apart = [phrase for group in groups if (phrase := _apart(group))]
        waves = [f"{kind(group)} {_by_means(group, 'weight')}" for group in groups if _is_wave(group)]
        waving = f" Mean scores move along no parabola: {'; '.join(waves)}." if waves else ""
        also = f" Single base models are shown to move though their mean is not: {'; '.join(apart)}." if apart else ""
        also += waving
        if phrases:
            moved.append(f"On {dataset}: {listed(phrases)}.{also}")
        elif alone:
            names = [f"{verdict.name} {_short(verdict, verdicts, named=False)}" for verdict in alone[:NAMED]]
            names += [f"{len(alone) - NAMED} more"] * (len(alone) > NAMED)
            moved.append(
                f"On {dataset} no kind of benchmark is shown to move, but single benchmarks are: {listed(names)}. "
                f"Of the kinds' means: {_bounds(groups)}.{also}"
            )
        elif groups and all(group.undecided == Undecided.ONE_WEIGHT for group in groups):
            of_one.setdefault(_weight(groups[0].from_weight), []).append(dataset)
        elif apart:
            moved.append(
                f"On {dataset} no mean of base models is shown to move, but single base models are: "
                f"{'; '.join(apart)}. Of the means: {_bounds(groups)}.{waving}"
            )
        elif waves:
            moved.append(
                f"On {dataset} nothing is shown to move along a parabola, but mean scores do: {'; '.join(waves)}. "
                f"Of the parabolas: {_bounds(groups)}."
            )
        elif groups:
            averaged = any(group.benchmarks > 1 or len(group.bases) > 1 for group in groups)
            bounds = _bounds(groups, " of means" if averaged else "")
            still.append(f"On {dataset} nothing is shown to move: {bounds}.")
    still += [
        f"On {listed(on)} there is but one weight, {weight}: nothing to compare." for weight, on in of_one.items()
    ]
    return "\n".join(moved + still) or "No dataset has scores to compare."


def dataset_sentences(verdicts: Sequence[ScopeVerdict], dataset: str, axis: str = "weight") -> list[str]:
    """One line a kind of benchmark, what moved first; then benchmarks that moved and their kind did not.

    ``axis`` is what the verdicts' weights are called.
    """
    groups = _of_scope(verdicts, dataset, VerdictScope.GROUP)
    lines = [_full(group, verdicts, axis) for group in sorted(groups, key=lambda group: not group.moved)]
    alone = _alone(verdicts, dataset)
    if alone:
        names = [f"{verdict.name} {_short(verdict, verdicts, axis, also=[_p(verdict)])}" for verdict in alone]
        lines.append(f"Single benchmarks: {'; '.join(names)}.")
    moving = {group.name for group in groups if not group.same}
    of_dataset = _of_scope(verdicts, dataset, VerdictScope.BENCHMARK)
    if still := [verdict.name for verdict in of_dataset if verdict.same and verdict.group in moving]:
        smaller = "in a mean such a benchmark makes changes smaller"
        lines.append(f"The same score at every {axis}: {listed(still)}; {smaller}.")
    return lines


def _alone(verdicts: Sequence[ScopeVerdict], dataset: str) -> list[ScopeVerdict]:
    """Benchmarks that moved and their kind did not."""
    still = {group.name for group in _of_scope(verdicts, dataset, VerdictScope.GROUP) if not group.moved}
    of_dataset = _of_scope(verdicts, dataset, VerdictScope.BENCHMARK)
    return [verdict for verdict in of_dataset if verdict.moved and verdict.group in still]


def kind(verdict: ScopeVerdict) -> str:
    """A group's name in words."""
    return verdict.name.replace("_", " ")


def _of_scope(verdicts: Sequence[ScopeVerdict], dataset: str, scope: VerdictScope) -> list[ScopeVerdict]:
    return [verdict for verdict in verdicts if (verdict.dataset, verdict.scope) == (dataset, scope)]


def _short(
    verdict: ScopeVerdict,
    verdicts: Sequence[ScopeVerdict],
    axis: str = "weight",
    *,
    also: Sequence[str] = (),
    named: bool = True,
) -> str:
    """How a scope moved, without its scores; ``also`` goes into the brackets behind it.

    ``named`` says which base models moved least and most; their names may be long, and a headline is to be read.
    """
    notes = [_turned(verdict, verdicts), _of_cells(verdict), *also]
    if verdict.opposed:
        how = "moving both ways, which cancels in its mean" if _is_mixed(verdict, verdicts) else UNTOLD
        return f"{how}{_members(verdict, verdicts)}{_bracketed(notes)}"
    if verdict.off_parabola:
        return _by_means(verdict, axis, notes)
    rise, fall = _points(verdict, verdict.at_best), _points(verdict, verdict.at_lowest)
    start = _start(verdict, axis)
    how = {
        "up": f"up {rise} points{start} at {axis} {_weight(verdict.best_weight)}",
        "peak": f"up {rise} points{start} at {axis} {_weight(verdict.best_weight)} and down again",
        "down": f"down {fall} points{start} at {axis} {_weight(verdict.lowest_weight)}",
        "dip": f"down {fall} points{start} at {axis} {_weight(verdict.lowest_weight)} and up again",
    }[str(verdict.direction)]
    return how + _bracketed([_change_interval(verdict), _misfit(verdict), _base_range(verdict, named=named), *notes])


def _is_wave(verdict: ScopeVerdict) -> bool:
    """Whether mean scores move where no parabola that was looked for does."""
    return verdict.off_parabola and not verdict.moved and verdict.undecided is None


def _by_means(verdict: ScopeVerdict, axis: str, notes: Sequence[str] = ()) -> str:
    """How the mean scores move: the highest and the lowest that are shown to differ, else the one that differs most."""
    notes = ["of mean scores, which follow no parabola", *notes]
    ends = [each for each in (verdict.highest, verdict.lowest) if each is not None]
    told = list(dict.fromkeys(each for each in ends if each.shown)) or [max(ends, key=lambda each: abs(each.change))]
    # Two that go the same way are one answer.
    if len({each.change > 0 for each in told}) == 1:
        told = [max(told, key=lambda each: abs(each.change))]
    words = []
    for each in told:
        sign = 1 if each.change > 0 else -1
        low, high = sorted(sign * end * 100 / verdict.scale for end in (each.low, each.high))
        said = [f"95 % interval {low:z.1f} to {high:z.1f}", *(notes if each == told[-1] else [])]
        points = f"{abs(each.change) * 100 / verdict.scale:.1f} points{_start(verdict, axis)}"
        words.append(f"{'up' if sign > 0 else 'down'} {points} at {axis} {_weight(each.weight)}{_bracketed(said)}")
    return listed(words)


def _bracketed(notes: Sequence[str]) -> str:
    said = "; ".join(filter(None, notes))
    return f" ({said})" if said else ""


def _change_interval(verdict: ScopeVerdict) -> str:
    """Of the change, as it is said: of a fall in points down."""
    if verdict.change_low is None or verdict.change_high is None:
        return ""
    ends = (verdict.change_low, verdict.change_high)
    low, high = ends if verdict.direction in ("up", "peak") else (-ends[1], -ends[0])
    return f"95 % interval {low * 100 / verdict.scale:z.1f} to {high * 100 / verdict.scale:z.1f}"


def _misfit(verdict: ScopeVerdict) -> str:
    """That the parabola is not how the scores went, where that is more than its interval has."""
    if verdict.misfit is None or verdict.change_low is None or verdict.change_high is None:
        return ""
    misfit = verdict.misfit * 100 / verdict.scale
    if misfit < LEAST_MISFIT or verdict.misfit < (verdict.change_high - verdict.change_low) / 2:
        return ""
    return f"of a curve that misses the mean scores by up to {misfit:.1f}"


def _base_range(verdict: ScopeVerdict, *, named: bool = True) -> str:
    """The least and the most of the base models' own changes: where their mean is told, else at any weight."""
    changes = {base.model: base.change if verdict.moved else base.largest for base in verdict.bases}
    by_change = sorted((change, model) for model, change in changes.items() if change is not None)
    if len(by_change) < 2:
        return ""
    (least, first), (most, last) = by_change[0], by_change[-1]
    low, high = (f"{change * 100 / verdict.scale:+z.1f}" for change in (least, most))
    if low == high:
        return f"each base model {low}"
    return f"base models from {low} ({first}) to {high} ({last})" if named else f"base models from {low} to {high}"


def _apart(group: ScopeVerdict) -> str:
    """The base models of a group that are shown to move though their mean is not; empty where there are none."""
    if group.moved or not any(base.moved for base in group.bases):
        return ""
    names = [
        f"{base.model} {'up' if base.largest > 0 else 'down'} {abs(base.largest) * 100 / group.scale:.1f} points "
        f"({_p(base)})"
        for base in group.bases
        if base.moved
    ]
    return f"{kind(group)} of {listed(names)}"


def _full(verdict: ScopeVerdict, verdicts: Sequence[ScopeVerdict], axis: str) -> str:
    """A line of a dataset's card."""
    name = kind(verdict).capitalize()
    if verdict.same:
        return f"{name}: the same scores at every weight; that is no certainty and excludes nothing."
    if _is_wave(verdict):
        off = _by_means(verdict, axis, [_corrected(verdict.p_parabola)])
        return f"{name}: not shown to move along a parabola{_bracketed([_p(verdict), _of_cells(verdict)])}, but {off}."
    if not verdict.moved:
        notes = _bracketed([_p(verdict), _of_cells(verdict)])
        decided = untested_reason(verdict, axis) or f"not shown to move{notes}"
        excluded = "" if verdict.undecided else "; no change of its mean is excluded"
        if verdict.excluded is not None:
            excluded = f"; a change of its mean by more than {_size(verdict)} points{_start(verdict, axis)} is excluded"
        apart = _apart(verdict)
        bases = f". Single base models are shown to move: {apart}" if apart else ""
        if not apart and (spread := _base_range(verdict)) and not verdict.undecided:
            bases = f"; {spread} at most"
        return f"{name}: {decided}{excluded}{bases}."
    if verdict.opposed or verdict.off_parabola:
        return f"{name}: {_short(verdict, verdicts, axis, also=[_p(verdict)])}."
    scores = f"{_score(verdict, verdict.at_0)} at {axis} {_weight(verdict.from_weight)}"
    best = ""
    if verdict.direction in ("up", "peak"):
        scores += f", {_score(verdict, verdict.at_best)} at its best"
        if verdict.best_low is not None:
            low, high = _weight(verdict.best_low), _weight(verdict.best_high)
            best = f"95 % interval of the best: {axis} {f'{low} alone' if low == high else f'{low} to {high}'}"
    else:
        scores += f", {_score(verdict, verdict.at_lowest)} at its lowest"
    both_ways = _members(verdict, verdicts).strip(" ()") if _is_mixed(verdict, verdicts) else ""
    return f"{name}: {_short(verdict, verdicts, axis, also=[both_ways, scores, best, _p(verdict)])}."


def _is_mixed(group: ScopeVerdict, verdicts: Sequence[ScopeVerdict]) -> bool:
    """Whether some benchmarks of a group are shown to rise and others to fall."""
    rising = {verdict.direction in ("up", "peak") for verdict in _moved_members(group, verdicts)}
    return len(rising) == 2


def _moved_members(group: ScopeVerdict, verdicts: Sequence[ScopeVerdict]) -> list[ScopeVerdict]:
    of_dataset = _of_scope(verdicts, group.dataset, VerdictScope.BENCHMARK)
    return [verdict for verdict in of_dataset if verdict.group == group.name and verdict.direction is not None]


def _members(group: ScopeVerdict, verdicts: Sequence[ScopeVerdict]) -> str:
    """The benchmarks of a group that are shown to move alone, with their directions and sizes."""
    named = [f"{verdict.name} {_way(verdict)}" for verdict in _moved_members(group, verdicts)[:NAMED]]
    return f" ({listed(named)})" if named else ""


def _way(verdict: ScopeVerdict) -> str:
    """Direction and points."""
    rises = verdict.direction in ("up", "peak")
    at = verdict.at_best if rises else verdict.at_lowest
    mean = verdict.highest if rises else verdict.lowest
    points = _points(verdict, at) if mean is None else f"{abs(mean.change) * 100 / verdict.scale:.1f}"
    return f"{'up' if rises else 'down'} {points}"


def _turned(verdict: ScopeVerdict, verdicts: Sequence[ScopeVerdict]) -> str:
    """That up is better here though a lower score is, and of which of a group's benchmarks."""
    if not verdict.turned:
        return ""
    of_dataset = _of_scope(verdicts, verdict.dataset, VerdictScope.BENCHMARK)
    names = [each.name for each in of_dataset if each.group == verdict.name and each.turned]
    whose = f"{listed(names)} " if verdict.scope == VerdictScope.GROUP and len(names) < verdict.benchmarks else ""
    return f"{whose}turned round, as lower is better"


def _start(verdict: ScopeVerdict, axis: str, before: str = " ") -> str:
    """From which weight a difference is, where the study has no weight 0."""
    return f"{before}from {axis} {_weight(verdict.from_weight)}" if verdict.from_weight else ""


def _bounds(groups: Sequence[ScopeVerdict], of: str = "") -> str:
    known = [
        f"{_size(group)}{{}} ({kind(group)}{_start(group, 'weight', ', ')}{_count_of_cells(group, ', of ')})"
        for group in groups
        if group.excluded is not None
    ]
    known = [size.format("" if place else " points") for place, size in enumerate(known)]
    same = [kind(group) for group in groups if group.same]
    free = [kind(group) for group in groups if group.excluded is None and not group.same and not group.undecided]
    said = [f"changes{of} by more than {listed(known)} are excluded"] if known else []
    if free:
        said.append(f"no change of {listed(free, 'or')} is{'' if known else ' excluded'}")
    if same:
        said.append(f"the scores are the same at every weight ({listed(same)}), which excludes nothing")
    reasons: dict[str, list[str]] = {}
    for group in groups:
        if group.undecided and group.excluded is None:
            reasons.setdefault(untested_reason(group), []).append(kind(group))
    said += [
        f"{reason}{f' ({listed(names)})' if len(names) < len(groups) else ''}" for reason, names in reasons.items()
    ]
    return "; ".join(said)


def untested_reason(verdict: ScopeVerdict, axis: str = "weight") -> str:
    """Why nothing was tested; empty where something was, or where the scores are the same everywhere."""
    if verdict.undecided is None:
        return ""
    has = "has" if verdict.cells == 1 else "have"
    return {
        Undecided.ONE_WEIGHT: f"but one {axis}, {_weight(verdict.from_weight)}: nothing to compare",
        Undecided.LACKING: (
            f"too few cells to decide, as {verdict.cells} of {verdict.cells + verdict.cells_lacking} {has} all its "
            "benchmarks"
        ),
        Undecided.NO_PAIR: f"no base model and seed was trained at two {axis}s, so nothing can be compared",
        Undecided.FEW_CELLS: "too few cells to decide",
    }[verdict.undecided]


def _of_cells(verdict: ScopeVerdict) -> str:
    """That a verdict is not of all cells."""
    counted = _count_of_cells(verdict, "of ")
    return f"{counted}, the others lack benchmarks of it" if counted else ""


def _count_of_cells(verdict: ScopeVerdict, before: str) -> str:
    return f"{before}{verdict.cells} of {verdict.cells + verdict.cells_lacking} cells" if verdict.cells_lacking else ""


def _points(verdict: ScopeVerdict, at: float | None) -> str:
    return f"{abs((at or 0.0) - (verdict.at_0 or 0.0)) * 100 / verdict.scale:.1f}"


def _size(verdict: ScopeVerdict) -> str:
    return f"{(verdict.excluded or 0.0) * 100 / verdict.scale:.1f}"


def _score(verdict: ScopeVerdict, score: float | None) -> str:
    return "–" if score is None else f"{score:z.1f}" if verdict.scale == 100 else f"{score:z.3f}"


def _weight(weight: float | None) -> str:
    return "–" if weight is None else f"{weight:.2g}"


def _p(verdict: ScopeVerdict | BaseChange) -> str:
    return _corrected(verdict.p_holm)


def _corrected(p: float | None) -> str:
    return "" if p is None else f"corrected p {'< 0.001' if p < 0.001 else f'{p:.3f}'}"
