"""What a search asks for, how a trial is scored, and what is said at its end: a choice and what an error costs."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from analysis.inference.adaptive import Decision, Stopped, Trial, WeightChooser
from analysis.items.trials import SharedScore
from plw.commands.weight_search import SearchLine, TrialRequest, check_rule, conclusion, read_trials
from plw.errors import UserError

DECISION = Decision(
    best=0.1, low=0.0, high=0.2, regret_bound=0.008, next_weights=(0.1, 0.5), stopped=None,
    expected={0.0: (0.44, 0.01), 0.1: (0.45, 0.01), 0.5: (0.44, 0.01)},
)  # fmt: skip


def trained(*weights: float) -> list[Any]:
    """Cells, as far as a search reads their weight."""
    return [SimpleNamespace(config=SimpleNamespace(loss=SimpleNamespace(prompt_weight=weight))) for weight in weights]


def test_a_weight_that_was_tried_is_trained_by_the_next_seed() -> None:
    chooser = WeightChooser(weights=(0.0, 0.1, 1.0), budget=5)
    begun = SearchLine(name="a").requests(chooser)
    assert begun == [TrialRequest(line="a", weight=weight, repeat=0) for weight in chooser.first]
    line = SearchLine(name="a", cells=trained(0.0, 0.1, 1.0, 0.1), decision=DECISION)
    assert line.requests(chooser) == [
        TrialRequest(line="a", weight=0.1, repeat=2), TrialRequest(line="a", weight=0.5, repeat=0)
    ]  # fmt: skip
    line.has_failed = True
    assert line.requests(chooser) == []


def test_a_trials_score_is_the_mean_of_its_benchmarks_whose_errors_are_independent() -> None:
    scores = [
        SharedScore(benchmark="a", score_K=np.array([0.2, 0.4]), se=0.03, n=10, units=10),
        SharedScore(benchmark="b", score_K=np.array([0.6, 0.5]), se=0.04, n=20, units=20),
    ]
    found = read_trials(trained(0.0, 0.1), scores)
    assert [(trial.weight, trial.score, trial.se) for trial in found] == [
        pytest.approx((0.0, 0.4, 0.025)), pytest.approx((0.1, 0.45, 0.025))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("budget", "margin", "said"),
    [
        (1, 0.01, "--budget 1: allowed is a whole number, 2 or more"),
        (True, 0.01, "--budget True: "),
        (2.5, 0.01, "--budget 2.5: "),
        (2, 0, "--margin 0: allowed is a share of the full score between 0 and 1"),
        (2, 1.0, "--margin 1.0: "),
        (2, float("nan"), "--margin nan: "),
        (2, "0.1", "--margin 0.1: "),
        (2, 1e-9, None),
    ],
)
def test_a_rule_that_makes_no_search_is_refused(budget: object, margin: object, said: str | None) -> None:
    if said is None:
        check_rule(budget, margin, "--budget ", "--margin ")
        return
    with pytest.raises(UserError) as refused:
        check_rule(budget, margin, "--budget ", "--margin ")
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("stopped", "why"),
    [
        (Stopped.INTERVAL, "the interval is narrow enough"),
        (Stopped.EQUIVALENCE, "no other weight is better by more than the margin of 1.0 points"),
        (Stopped.BUDGET, "the budget of 4 cells is spent"),
    ],
)
def test_why_a_search_stopped_and_what_makes_it_rough_are_told(stopped: Stopped, why: str) -> None:
    decision = replace(DECISION, stopped=stopped, next_weights=())
    trials = [Trial(weight=weight, score=0.45, se=0.01) for weight in (0.0, 0.5)]
    line = SearchLine(name="", cells=trained(0.0, 0.5), trials=trials, decision=decision, few=["held_out", "piqa"])
    first, _, third, rough = conclusion(line, WeightChooser(budget=4, margin=0.01))
    assert "0.1 (it was not trained itself: the fitted curve is highest there); with 95 % probability" in first
    assert third == f"Stopped after 2 cells, because {why}."
    assert rough == "Fewer than 30 independent items in held_out, piqa: interval and bound are rough."
    alike = conclusion(replace(line, decision=replace(decision, stopped=Stopped.ALIKE)), WeightChooser())
    assert "the trainings at 0, 0.5 came out alike" in alike[0]
    assert len(conclusion(replace(line, few=[]), WeightChooser())) == 3


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.0, 1.0, "which weight is best the trials do not tell: it may be any from 0 to 1"),
        (0.0, 0.1, "with 95 % probability the best weight lies between 0 and 0.1"),
        (0.1, 1.0, "with 95 % probability the best weight lies between 0.1 and 1"),
    ],
)
def test_an_interval_of_all_weights_is_told_as_not_knowing(low: float, high: float, said: str) -> None:
    decision = Decision(
        best=0.1, low=low, high=high, regret_bound=0.008, next_weights=(), stopped=Stopped.EQUIVALENCE,
        expected={0.0: (0.44, 0.01), 0.1: (0.45, 0.01), 1.0: (0.44, 0.01)},
    )  # fmt: skip
    line = SearchLine(name="", trials=[Trial(weight=0.1, score=0.45, se=0.01)], decision=decision)

    first, second, *_ = conclusion(line, WeightChooser(budget=5, margin=0.01))

    assert first == f"Take prompt weight 0.1; {said}."
    assert second.endswith("no more than 0.8 points (of 100) above it, unless scores jump between trained weights.")


def test_where_every_weight_was_trained_no_jump_can_hide() -> None:
    expected = {0.0: (0.44, 0.01), 1.0: (0.45, 0.01)}
    decision = Decision(
        best=1.0, low=0.0, high=1.0, regret_bound=0.008, next_weights=(), stopped=Stopped.EQUIVALENCE, expected=expected
    )
    trials = [Trial(weight=weight, score=score, se=0.01) for weight, (score, _) in expected.items()]

    _, second, *_ = conclusion(SearchLine(name="", trials=trials, decision=decision), WeightChooser(weights=(0.0, 1.0)))

    assert second.endswith("no more than 0.8 points (of 100) above it.")
