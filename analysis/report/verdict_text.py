"""The verdicts in plain sentences: what moved, how far, in which direction, at which weight; and what is excluded."""

from collections.abc import Sequence

from analysis.inference.verdicts import ScopeVerdict, Undecided, VerdictScope
from analysis.items.sentences import listed

NAMED = 4
"""Benchmarks of a kind, or of a headline, that are named at most."""


def study_sentences(verdicts: Sequence[ScopeVerdict]) -> str:
    """The study's answer, dataset by dataset: what moved by kind of benchmark, then what is excluded elsewhere."""
    moved, still = [], []
    for dataset in dict.fromkeys(verdict.dataset for verdict in verdicts):
        groups = _of_scope(verdicts, dataset, VerdictScope.GROUP)
        phrases = [f"{kind(group)} {_short(group, verdicts)}" for group in groups if group.moved]
        alone = _alone(verdicts, dataset)
        if phrases:
            moved.append(f"On {dataset}: {listed(phrases)}.")
        elif alone:
            names = [f"{verdict.name} {_short(verdict, verdicts)}" for verdict in alone[:NAMED]]
            names += [f"{len(alone) - NAMED} more"] * (len(alone) > NAMED)
            moved.append(
                f"On {dataset} no kind of benchmark is shown to move, but single benchmarks are: {listed(names)}. "
                f"Of the kinds' means: {_bounds(groups)}."
            )
        elif groups and all(group.undecided == Undecided.ONE_WEIGHT for group in groups):
            still.append(f"On {dataset} there is but one weight, {_weight(groups[0].from_weight)}: nothing to compare.")
        elif groups:
            still.append(f"On {dataset} nothing is shown to move: {_bounds(groups)}.")
    return " ".join(moved + still) or "No dataset has scores to compare."


def dataset_sentences(verdicts: Sequence[ScopeVerdict], dataset: str, axis: str = "weight") -> list[str]:
    """One line a kind of benchmark, what moved first; then benchmarks that moved and their kind did not.

    ``axis`` is what the verdicts' weights are called.
    """
    groups = _of_scope(verdicts, dataset, VerdictScope.GROUP)
    lines = [_full(group, verdicts, axis) for group in sorted(groups, key=lambda group: not group.moved)]
    alone = _alone(verdicts, dataset)
    if alone:
        lines.append(
            f"Single benchmarks: {'; '.join(f'{verdict.name} {_short(verdict, verdicts, axis)}' for verdict in alone)}."
        )
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


def _short(verdict: ScopeVerdict, verdicts: Sequence[ScopeVerdict], axis: str = "weight") -> str:
    """How a scope moved, without its scores."""
    turned = _turned(verdict, verdicts)
    if verdict.opposed:
        both = f"moving both ways, which cancels in its mean{_members(verdict, verdicts)}"
        return f"{both}{turned}{_of_cells(verdict)}"
    rise, fall = _points(verdict, verdict.at_best), _points(verdict, verdict.at_lowest)
    start = _start(verdict, axis)
    where = _of_cells(verdict)
    how = {
        "up": f"up {rise} points{start} at {axis} {_weight(verdict.best_weight)}",
        "peak": f"up {rise} points{start} at {axis} {_weight(verdict.best_weight)} and down again",
        "down": f"down {fall} points{start} at {axis} {_weight(verdict.lowest_weight)}",
        "dip": f"down {fall} points{start} at {axis} {_weight(verdict.lowest_weight)} and up again",
    }[str(verdict.direction)]
    return how + turned + where


def _full(verdict: ScopeVerdict, verdicts: Sequence[ScopeVerdict], axis: str) -> str:
    """A line of a dataset's card."""
    name = kind(verdict).capitalize()
    if verdict.same:
        return f"{name}: the same scores at every weight; that is no certainty and excludes nothing."
    if not verdict.moved:
        decided = untested_reason(verdict, axis) or f"not shown to move ({_p(verdict)}){_of_cells(verdict)}"
        excluded = "" if verdict.undecided else "; no change of its mean is excluded"
        if verdict.excluded:
            excluded = f"; a change of its mean by more than {_size(verdict)} points{_start(verdict, axis)} is excluded"
        return f"{name}: {decided}{excluded}."
    if verdict.opposed:
        return f"{name}: {_short(verdict, verdicts, axis)} ({_p(verdict)})."
    scores = f"{_score(verdict, verdict.at_0)} at {axis} {_weight(verdict.from_weight)}"
    if verdict.direction in ("up", "peak"):
        scores += f", {_score(verdict, verdict.at_best)} at its best"
        if verdict.best_low is not None:
            best = f"{_weight(verdict.best_low)} to {_weight(verdict.best_high)}"
            scores += f"; 95 % interval of the best: {axis} {best}"
    else:
        scores += f", {_score(verdict, verdict.at_lowest)} at its lowest"
    both_ways = _members(verdict, verdicts) if _is_mixed(verdict, verdicts) else ""
    return f"{name}: {_short(verdict, verdicts, axis)}{both_ways} ({scores}; {_p(verdict)})."


def _is_mixed(group: ScopeVerdict, verdicts: Sequence[ScopeVerdict]) -> bool:
    """Whether some benchmarks of a group are shown to rise and others to fall."""
    rising = {verdict.direction in ("up", "peak") for verdict in _moved_members(group, verdicts)}
    return len(rising) == 2


def _moved_members(group: ScopeVerdict, verdicts: Sequence[ScopeVerdict]) -> list[ScopeVerdict]:
    of_dataset = _of_scope(verdicts, group.dataset, VerdictScope.BENCHMARK)
    return [verdict for verdict in of_dataset if verdict.group == group.name and verdict.direction is not None]


def _members(group: ScopeVerdict, verdicts: Sequence[ScopeVerdict]) -> str:
    """The benchmarks of a group that are shown to move alone, with their directions."""
    named = [f"{verdict.name} {verdict.direction}" for verdict in _moved_members(group, verdicts)[:NAMED]]
    return f" ({listed(named)})" if named else ""


def _turned(verdict: ScopeVerdict, verdicts: Sequence[ScopeVerdict]) -> str:
    """That up is better here though a lower score is, and of which of a group's benchmarks."""
    if not verdict.turned:
        return ""
    of_dataset = _of_scope(verdicts, verdict.dataset, VerdictScope.BENCHMARK)
    names = [each.name for each in of_dataset if each.group == verdict.name and each.turned]
    whose = f"{listed(names)} " if verdict.scope == VerdictScope.GROUP and len(names) < verdict.benchmarks else ""
    return f" ({whose}turned round, as lower is better)"


def _start(verdict: ScopeVerdict, axis: str, before: str = " ") -> str:
    """From which weight a difference is, where the study has no weight 0."""
    return f"{before}from {axis} {_weight(verdict.from_weight)}" if verdict.from_weight else ""


def _bounds(groups: Sequence[ScopeVerdict]) -> str:
    known = [
        f"{_size(group)} ({kind(group)}{_start(group, 'weight', ', ')}{_count_of_cells(group, ', of ')})"
        for group in groups
        if group.excluded is not None
    ]
    same = [kind(group) for group in groups if group.same]
    free = [kind(group) for group in groups if group.excluded is None and not group.same and not group.undecided]
    said = [f"changes by more than {listed(known)} points are excluded"] if known else []
    if free:
        said.append(f"no change of {listed(free)} is{'' if known else ' excluded'}")
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
    counted = _count_of_cells(verdict, " (of ")
    return f"{counted}; the others lack benchmarks of it)" if counted else ""


def _count_of_cells(verdict: ScopeVerdict, before: str) -> str:
    return f"{before}{verdict.cells} of {verdict.cells + verdict.cells_lacking} cells" if verdict.cells_lacking else ""


def _points(verdict: ScopeVerdict, at: float | None) -> str:
    return f"{abs((at or 0.0) - (verdict.at_0 or 0.0)) * 100 / verdict.scale:.1f}"


def _size(verdict: ScopeVerdict) -> str:
    return f"{(verdict.excluded or 0.0) * 100 / verdict.scale:.1f}"


def _score(verdict: ScopeVerdict, score: float | None) -> str:
    return "–" if score is None else f"{score:.1f}" if verdict.scale == 100 else f"{score:.3f}"


def _weight(weight: float | None) -> str:
    return "–" if weight is None else f"{weight:.2g}"


def _p(verdict: ScopeVerdict) -> str:
    p = verdict.p_holm
    return "" if p is None else f"corrected p {'< 0.001' if p < 0.001 else f'{p:.3f}'}"
