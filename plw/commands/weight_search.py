"""Searching the best weight by training a few: lines of trials, the scores read of them, the next weights asked for.

`plw tune` searches one line, `hydra/sweeper=adaptive` one for each combination of a study's other axes, all of them
side by side. A trial is a cell like any other: a search that was stopped finds it finished.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from plw.errors import StageError, UserError
from plw.progress import count
from plw.results.identity import field_diff

if TYPE_CHECKING:
    from rich.console import Console

    from analysis.inference.adaptive import Decision, Trial, WeightChooser
    from analysis.items.trials import SharedScore
    from plw.pipeline import Cell

PERCENT_POINTS = 100.0
MIN_CELLS = 2
CHANGED = "what it is trained on has changed since the search began; the same command searches with what is there now"


@dataclass(frozen=True, kw_only=True)
class TrialRequest:
    """A training that a search asks for."""

    line: str
    weight: float
    repeat: int
    """How often this line has trained the weight before: the seed moves on by it."""


@dataclass(kw_only=True)
class SearchLine:
    """One curve over the weight, and what has been trained for it."""

    name: str
    """For people; empty where there is one line alone."""
    cells: "list[Cell]" = field(default_factory=list)
    trials: "list[Trial]" = field(default_factory=list)
    decision: "Decision | None" = None
    has_failed: bool = False
    """Whether a cell failed, so that nothing more is trained."""
    few: list[str] = field(default_factory=list)
    """Benchmarks with fewer independent items than an error is well known by."""

    def requests(self, chooser: "WeightChooser") -> list[TrialRequest]:
        """What is to be trained now; nothing once the search has stopped, or a cell has failed."""
        if self.has_failed:
            return []
        weights = chooser.first if self.decision is None else self.decision.next_weights
        tried = Counter(cell.config.loss.prompt_weight for cell in self.cells)
        return [TrialRequest(line=self.name, weight=weight, repeat=tried[weight]) for weight in weights]

    def add(self, cells: "Sequence[Cell]", chooser: "WeightChooser") -> None:
        """Take finished cells in, score all trials anew on the items that all share, and decide.

        Raises:
            StageError: the cells were not trained on the same.
        """
        self.cells += cells
        check_comparable(self.cells)
        from analysis.levels import FEW_UNITS

        scores = trial_scores(self.cells)
        self.few = [score.benchmark for score in scores if score.units < FEW_UNITS]
        self.trials = read_trials(self.cells, scores)
        self.decision = chooser.decide(self.trials)

    @property
    def told_apart(self) -> bool:
        """Whether what was measured tells one weight from another."""
        return self.decision is None or self.decision.stopped != "alike"

    def found(self) -> dict[str, Any]:
        """The result of a search that has stopped, as plain types; no weight where all came out alike."""
        decision = self.decision
        assert decision is not None
        assert decision.stopped is not None
        best = {"prompt_weight": decision.best, "low": decision.low, "high": decision.high}
        return {
            "best": best if self.told_apart else None,
            "cells": len(self.cells),
            "stopped": str(decision.stopped),
            "regret_bound": decision.regret_bound if self.told_apart else None,
            "config": config_lines(decision.best) if self.told_apart else [],
            "trials": [
                {
                    "prompt_weight": trial.weight,
                    "seed": cell.config.seed,
                    "score": trial.score,
                    "se": trial.se,
                    "tokens_per_answer": answer_length(cell),
                    "folder": str(cell.folder),
                }
                for cell, trial in zip(self.cells, self.trials, strict=True)
            ],
            "expected": [
                {"prompt_weight": weight, "score": mean, "se": se} for weight, (mean, se) in decision.expected.items()
            ],
        }


def search(
    lines: Sequence[SearchLine],
    chooser: "WeightChooser",
    train: "Callable[[list[TrialRequest]], Sequence[Cell | None]]",
    screen: "Console",
) -> None:
    """Train what the lines ask for, round by round, until all of them have stopped.

    Args:
        lines: The curves, nothing trained yet.
        chooser: The rule.
        train: Brings the cells that are asked for to their end, and returns them in the same order; None in place of
            one that failed. The other lines go on.
        screen: Is told each round's decisions.
    """
    while requests := [request for line in lines for request in line.requests(chooser)]:
        cells = train(requests)
        for line in lines:
            own = [cell for cell, request in zip(cells, requests, strict=True) if request.line == line.name]
            finished = [cell for cell in own if cell is not None]
            line.has_failed = line.has_failed or len(finished) < len(own)
            if own and not line.has_failed:
                line.add(finished, chooser)
                screen.print(_round_line(line, chooser), markup=False)


def check_rule(budget: object, margin: object, budget_name: str, margin_name: str) -> None:
    """Refuse a budget and a margin that make no search, or are no numbers.

    Raises:
        UserError: one of them; the line begins with its name as the user gives it.
    """
    if not isinstance(budget, int) or budget < MIN_CELLS:
        raise UserError(
            f"{budget_name}{budget}: allowed is a whole number, {MIN_CELLS} or more; a curve needs two weights"
        )
    if not isinstance(margin, int | float) or not 0 < margin < 1:
        raise UserError(f"{margin_name}{margin}: allowed is a share of the full score between 0 and 1")


def check_finished(cells: "Sequence[Cell]") -> None:
    """The cells of a round are those that were asked for.

    Raises:
        StageError: a cell is another by now.
    """
    for cell in cells:
        if not cell.is_finished:
            raise StageError(f"{cell.label}: {CHANGED}")


def check_comparable(cells: "Sequence[Cell]") -> None:
    """The trainings of a curve differ in the prompt weight and the seed alone.

    Raises:
        StageError: one differs in more; the line says in what.
    """
    first, *others = [_shared_payload(cell) for cell in cells]
    for cell, payload in zip(cells[1:], others, strict=True):
        if changes := field_diff(first, payload):
            raise StageError(f"{cell.label}: {CHANGED} ({'; '.join(changes)})")


def _shared_payload(cell: "Cell") -> dict[str, Any]:
    """What defines a training beside its weight and seed."""
    payload = {name: value for name, value in cell.stages["train"].payload.items() if name != "seed"}
    payload["loss"] = {name: value for name, value in payload["loss"].items() if name != "prompt_weight"}
    return payload | {"pairs": None if cell.pairs is None else cell.pairs.content}


def trial_scores(cells: "Sequence[Cell]") -> "list[SharedScore]":
    """The headline scores of the cells on the items that all of them have, benchmark by benchmark.

    Raises:
        UserError: nothing with a headline score, or cells that were scored on different items.
    """
    from analysis.items.parquet import read_cell
    from analysis.items.trials import shared_scores

    shared = []
    for kind in ("harness", "generate", "judge"):
        if kind not in cells[0].config.stages:
            continue
        models = [read_cell(cell.stages[kind].folder) for cell in cells]
        shared += shared_scores(models)
    if not shared:
        raise UserError(f"suite {cells[0].config.suite.name} has no headline score to choose a weight by")
    return shared


def read_trials(cells: "Sequence[Cell]", scores: "Sequence[SharedScore]") -> "list[Trial]":
    """The score of each cell: the mean of its headline scores, as a share of the full score, higher is better.

    Its standard error is that of the items, less what all cells share.
    """
    from analysis.inference.adaptive import Trial

    se = sum(of.se**2 for of in scores) ** 0.5 / len(scores)
    return [
        Trial(
            weight=cell.config.loss.prompt_weight,
            score=float(sum(of.score_K[place] for of in scores)) / len(scores),
            se=se,
        )
        for place, cell in enumerate(cells)
    ]


def answer_length(cell: "Cell") -> float | None:
    """Mean tokens of the cell's long answers; None where it wrote none."""
    from analysis.items.parquet import read_cell

    if "generate" not in cell.config.stages:
        return None
    benchmarks = read_cell(cell.stages["generate"].folder, ["tokens"]).benchmarks
    values = [float(items.value_N.mean()) for items in benchmarks.values()]
    return sum(values) / len(values) if values else None


def config_lines(weight: float) -> list[str]:
    """The lines of a config that set the weight."""
    return ["loss:", f"  prompt_weight: {weight:g}"]


def points(share: float) -> str:
    """A share of the full score, in points of 100."""
    return f"{PERCENT_POINTS * share:.1f}"


def conclusion(line: SearchLine, chooser: "WeightChooser") -> list[str]:
    """What a stopped search says, in sentences."""
    decision = line.decision
    assert decision is not None
    if not line.told_apart:
        trained_at = ", ".join(f"{weight:g}" for weight in sorted({trial.weight for trial in line.trials}))
        return [
            f"No weight is better than another by this measure: the trainings at {trained_at} came out alike on every "
            "item, so it does not tell weights apart.",
            "Measure by something else, by more or other items, or train longer; then search again.",
        ]
    from analysis.levels import FEW_UNITS

    trained = {trial.weight for trial in line.trials}
    unseen = "" if decision.best in trained else " (it was not trained itself: the fitted curve is highest there)"
    why = {
        "interval": "the interval is narrow enough",
        "equivalence": f"no other weight is better by more than the margin of {points(chooser.margin)} points",
        "budget": f"the budget of {count(chooser.budget, 'cell')} is spent",
    }
    # The fit takes the curve for smooth: what is between two trainings it has not seen.
    between = ", unless scores jump between trained weights" if set(decision.expected) - trained else ""
    few = f"Fewer than {FEW_UNITS} independent items in {', '.join(line.few)}: interval and bound are rough."
    low, high = decision.low, decision.high
    if (low, high) == (min(decision.expected), max(decision.expected)):
        place = f"which weight is best the trials do not tell: it may be any from {low:.3g} to {high:.3g}"
    else:
        place = f"with 95 % probability the best weight lies between {low:.3g} and {high:.3g}"
    return [
        f"Take prompt weight {decision.best:g}{unseen}; {place}.",
        f"What it costs to be wrong: with 95 % probability the best weight would score no more than "
        f"{points(decision.regret_bound)} points (of 100) above it{between}.",
        f"Stopped after {count(len(line.cells), 'cell')}, because {why[str(decision.stopped)]}.",
        *([few] if line.few else []),
    ]


def _round_line(line: SearchLine, chooser: "WeightChooser") -> str:
    decision = line.decision
    assert decision is not None
    known = ", ".join(f"{trial.weight:g}: {points(trial.score)}" for trial in line.trials)
    then = (
        f"next {', '.join(f'{weight:g}' for weight in decision.next_weights)}"
        if decision.next_weights
        else f"stop ({decision.stopped})"
    )
    so_far = (
        f"best so far {decision.best:g}, at most {points(decision.regret_bound)} points lost"
        if line.told_apart
        else "all alike"
    )
    return (
        f"{f'{line.name}: ' * bool(line.name)}{len(line.cells)} of {count(chooser.budget, 'cell')} at most, points by "
        f"weight {known} (± {points(line.trials[0].se)}); {so_far}; {then}"
    )
