"""Choosing weights by the scores so far: where the search goes, when it stops, and what it says of its errors."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from analysis.inference.adaptive import WEIGHTS, Decision, Stopped, Trial, WeightChooser
from analysis.scores.frame import EXPONENT

Truth = Callable[[float], float]

PEAK: Truth = lambda w: 0.5 - 0.4 * (w - 0.6) ** 2  # noqa: E731
FLAT: Truth = lambda w: 0.5  # noqa: E731
UP: Truth = lambda w: 0.3 + 0.2 * w  # noqa: E731
DOWN: Truth = lambda w: 0.5 - 0.2 * w  # noqa: E731
STEP: Truth = lambda w: 0.3 + 0.2 * (w > 0.55)  # noqa: E731


def search(chooser: WeightChooser, truth: Truth, se: float, seed: int = 0) -> tuple[Decision, list[Trial]]:
    generator = np.random.default_rng(seed)
    trials: list[Trial] = []
    pending: tuple[float, ...] = chooser.first
    while pending:
        assert set(pending) <= set(chooser.weights)
        trials += [
            Trial(weight=weight, score=truth(weight**EXPONENT) + generator.normal(0, se), se=se) for weight in pending
        ]
        assert len(trials) <= chooser.budget
        decision = chooser.decide(trials)
        pending = decision.next_weights
    return decision, trials


@pytest.mark.parametrize("truth", [PEAK, FLAT, UP, DOWN, STEP], ids=["peak", "flat", "up", "down", "step"])
def test_the_chosen_weight_is_nearly_the_best_of_all_ten(truth: Truth) -> None:
    lost, bounded = [], []
    for seed in range(12):
        decision, trials = search(WeightChooser(), truth, 0.004, seed)
        assert len(trials) <= 5
        assert decision.low <= decision.best <= decision.high
        lost.append(max(truth(weight**EXPONENT) for weight in WEIGHTS) - truth(decision.best**EXPONENT))
        bounded.append(lost[-1] <= decision.regret_bound)
    assert np.mean(np.array(lost) <= 0.01) >= 0.9
    assert np.mean(bounded) >= 0.8


def test_a_flat_curve_ends_by_equivalence_and_keeps_every_weight_in_the_interval() -> None:
    decision, _ = search(WeightChooser(), FLAT, 0.002)
    assert decision.stopped == Stopped.EQUIVALENCE
    assert decision.regret_bound <= 0.01
    assert decision.high - decision.low > 0.5


def test_a_sharp_end_is_found_by_its_interval() -> None:
    decision, trials = search(WeightChooser(), lambda w: 0.9 * w**2, 0.001)
    assert (decision.best, decision.stopped) == (1.0, Stopped.INTERVAL)
    assert decision.low**EXPONENT >= 0.8
    assert len(trials) < 5


@pytest.mark.parametrize("budget", [2, 3, 14])
def test_noise_spends_the_budget(budget: int) -> None:
    """Also beyond the number of weights: then weights are trained again."""
    decision, trials = search(WeightChooser(budget=budget), PEAK, 0.05)
    assert (len(trials), decision.stopped, decision.next_weights) == (budget, Stopped.BUDGET, ())
    assert decision.regret_bound > 0.01


def test_the_order_of_trials_does_not_matter() -> None:
    _, trials = search(WeightChooser(), PEAK, 0.01)
    chooser = WeightChooser(budget=9)
    decisions = [chooser.decide(order) for order in itertools.permutations(trials[:4])]
    assert len({repr(decision) for decision in decisions}) == 1


def test_a_better_known_score_narrows_the_interval_and_a_level_changes_nothing() -> None:
    def decide(se: float, level: float = 0.0) -> Decision:
        chooser = WeightChooser(budget=5)
        return chooser.decide(
            [Trial(weight=weight, score=level + PEAK(weight**EXPONENT), se=se) for weight in (0, 0.01, 0.1, 0.5, 1)]
        )

    rough, fine, higher = decide(0.05), decide(0.002), decide(0.002, level=0.3)
    assert fine.high - fine.low < rough.high - rough.low
    assert fine.regret_bound < rough.regret_bound
    assert (higher.best, higher.low, higher.high) == (fine.best, fine.low, fine.high)
    assert higher.regret_bound == pytest.approx(fine.regret_bound, rel=0.02)


def test_interval_and_bound_are_of_the_weights_that_may_be_tried() -> None:
    """However steep the curve is where it runs out of them."""
    for truth, end in ((UP, 0.2), (DOWN, 0.1)):
        weights = (0.1, 0.15, 0.2)
        decision, _ = search(WeightChooser(weights=weights, budget=3), truth, 0.002)
        assert decision.best == end
        assert min(weights) <= decision.low <= decision.high <= max(weights)
        best = max(truth(weight**EXPONENT) for weight in weights)
        assert decision.regret_bound < 0.01
        assert best - truth(end**EXPONENT) <= decision.regret_bound + 1e-12
    noisy, _ = search(WeightChooser(weights=(0.1, 0.15, 0.2), budget=3), FLAT, 0.05)
    assert noisy.stopped == Stopped.BUDGET
    assert (noisy.low, noisy.high) == (pytest.approx(0.1, abs=0.02), pytest.approx(0.2, abs=0.02))


def test_scores_without_a_difference_in_any_item_decide_nothing() -> None:
    chooser = WeightChooser()
    same = [Trial(weight=weight, score=0.2, se=1e-18) for weight in chooser.first]
    assert chooser.decide(same).stopped == Stopped.ALIKE
    assert chooser.decide(same[:2]).stopped is None
    for other in (Trial(weight=1.0, score=0.21, se=0.0), Trial(weight=1.0, score=0.2, se=0.001)):
        assert chooser.decide([*same[:2], other]).stopped != Stopped.ALIKE
    assert WeightChooser(budget=2).decide(same[:2]).stopped == Stopped.ALIKE


def test_what_is_missing_of_the_first_weights_comes_first() -> None:
    chooser = WeightChooser(weights=(0.0, 0.01, 0.1, 1.0))
    assert chooser.first == (0.0, 0.1, 1.0)
    decision = chooser.decide([Trial(weight=weight, score=0.5, se=0.01) for weight in (0.0, 0.01)])
    assert decision.next_weights == (0.1, 1.0)
    with pytest.raises(ValueError, match="two trials"):
        chooser.decide([Trial(weight=0.0, score=0.5, se=0.01)])
