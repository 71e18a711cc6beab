"""Choosing weights by the scores so far: where the search goes, when it stops, and what it says of its errors."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from analysis.inference.adaptive import (
    BENDS,
    CURVE_PLACES,
    LENGTH,
    RUN_SDS,
    WEIGHTS,
    Decision,
    Stopped,
    Trial,
    WeightChooser,
)
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
    for seed in range(8):
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
    decisions = [chooser.decide(order) for order in itertools.permutations(trials[:3])]
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


@pytest.mark.parametrize("scores", [(0.40, 0.45, 0.47, 0.43), (0.50, 0.42, 0.41, 0.40), (0.1, 0.1, 0.2, 0.4)])
def test_the_posterior_is_that_of_a_bayesian_regression_on_the_curves_parts(scores: tuple[float, ...]) -> None:
    """Decisions by coefficients of line, parabola and deviation, and not by covariances of places."""
    weights = (0.0, 0.01, 0.1, 0.5, 1.0)
    rows_N, y_N, se_N = [0, 1, 2, 4], np.array(scores), np.array([0.01, 0.02, 0.01, 0.03])
    w_M = np.concatenate([np.array(weights) ** EXPONENT, np.linspace(0, 1, CURVE_PLACES)])
    value, vector = np.linalg.eigh(np.exp(-0.5 * ((w_M[:, None] - w_M) / LENGTH) ** 2))
    deviation_MP = vector * np.sqrt(np.maximum(value, 0))
    legendre_MP = np.polynomial.legendre.legvander(2 * w_M - 1, 2)[:, 1:] * np.sqrt([1, 0.5])
    found = []
    for bend, run_sd in itertools.product(BENDS, RUN_SDS):
        part_MP = np.column_stack([np.ones(len(w_M)), bend * legendre_MP, bend * deviation_MP])
        part_NP, noise_N = part_MP[rows_N], se_N**2 + run_sd**2
        gram_PP = part_NP.T @ np.diag(1 / noise_N) @ part_NP
        covariance_PP = np.linalg.inv(np.eye(len(gram_PP)) + gram_PP)
        mean_M = y_N.mean() + part_MP @ covariance_PP @ part_NP.T @ ((y_N - y_N.mean()) / noise_N)
        likely = stats.multivariate_normal(cov=part_NP @ part_NP.T + np.diag(noise_N)).pdf(y_N - y_N.mean())
        found.append((likely, mean_M, part_MP @ covariance_PP @ part_MP.T, (se_N**2).mean() + run_sd**2))
    weight_H, mean_HM, covariance_HMM, noise_H = (np.array(part) for part in zip(*found, strict=True))
    weight_H /= weight_H.sum()
    mean_W = (weight_H @ mean_HM)[:5]
    generator, z_Z = np.random.default_rng(1), stats.norm.ppf((np.arange(500) + 0.5) / 500)
    curve_ZM = np.concatenate([
        generator.multivariate_normal(mean_M, covariance_MM, size=round(4000 * weight), method="eigh")
        for weight, mean_M, covariance_MM in zip(weight_H, mean_HM, covariance_HMM, strict=True)
    ])  # fmt: skip
    # By how much the best expected score rises with what a training at a weight may say.
    gain_W = [
        sum(
            weight * (mean_W + z_Z[:, None] * own[place, :5] / np.sqrt(own[place, place] + noise)).max(axis=1).mean()
            for weight, own, noise in zip(weight_H, covariance_HMM, noise_H, strict=True)
        )
        for place in range(5)
    ]

    trials = [Trial(weight=weights[n], score=y, se=se) for n, y, se in zip(rows_N, y_N, se_N, strict=True)]
    decision = WeightChooser(weights=weights, budget=9, margin=1e-4, narrow=0.01).decide(trials)

    expected = np.array(list(decision.expected.values()))
    assert expected[:, 0] == pytest.approx(mean_W, abs=1e-6)
    assert expected[:, 1] == pytest.approx((curve_ZM - curve_ZM.mean(axis=1, keepdims=True)).std(axis=0)[:5], rel=0.05)
    assert decision.best == weights[int(mean_W.argmax())]
    assert decision.next_weights == (weights[int(np.argmax(gain_W))],)
    interval = np.quantile(w_M[curve_ZM.argmax(axis=1)], (0.025, 0.975))
    assert [decision.low**EXPONENT, decision.high**EXPONENT] == pytest.approx(list(interval), abs=0.03)
    best_Z = curve_ZM[:, weights.index(decision.best)]
    assert decision.regret_bound == pytest.approx(np.quantile(curve_ZM.max(axis=1) - best_Z, 0.95), rel=0.15)


def test_an_untrained_weight_is_chosen_where_it_is_better_by_more_than_a_tenth_of_the_margin() -> None:
    """Else its model would have to be trained for nothing."""
    weights = (0.0, 0.1, 0.3, 1.0)
    trials = [Trial(weight=w, score=0.5 - 0.4 * (w**EXPONENT - 0.7) ** 2, se=0.001) for w in (0.0, 0.1, 1.0)]
    sharp = WeightChooser(weights=weights, margin=0.01).decide(trials)
    assert sharp.best == 0.3
    lead = sharp.expected[0.3][0] - sharp.expected[0.1][0]
    for factor, best in ((0.99, 0.3), (1.01, 0.1)):
        assert WeightChooser(weights=weights, margin=10 * lead * factor).decide(trials).best == best


@pytest.mark.parametrize(
    ("weights", "budget", "first"),
    [
        (WEIGHTS, 5, (0.0, 0.1, 1.0)),
        (WEIGHTS, 2, (0.0, 1.0)),
        ((0.0, 1.0), 5, (0.0, 1.0)),
        ((0.1, 0.15, 0.2), 5, (0.1, 0.15, 0.2)),
        ((0.2, 0.3, 0.5, 0.8, 1.0), 5, (0.2, 0.5, 1.0)),
        ((0.2, 0.4, 0.7, 1.0), 5, (0.2, 0.4, 1.0)),
    ],
)
def test_the_first_are_both_ends_and_the_middle_between_them(
    weights: tuple[float, ...], budget: int, first: tuple[float, ...]
) -> None:
    assert WeightChooser(weights=weights, budget=budget).first == first


def test_an_interval_is_narrow_by_its_share_of_what_the_weights_span() -> None:
    weights = (0.1, 0.15, 0.2)
    trials = [Trial(weight=weight, score=0.5, se=0.05) for weight in weights]
    wide = WeightChooser(weights=weights).decide(trials)
    share = (wide.high**EXPONENT - wide.low**EXPONENT) / (0.2**EXPONENT - 0.1**EXPONENT)
    assert share > 0.9
    for narrow, stopped in ((share * 1.001, Stopped.INTERVAL), (share * 0.999, None)):
        assert WeightChooser(weights=weights, narrow=narrow).decide(trials).stopped == stopped


def test_weights_that_score_far_below_lie_outside_the_interval() -> None:
    decision, _ = search(WeightChooser(), lambda w: 0.9 * (1 - w) ** 2, 0.001)
    assert (decision.best, decision.low) == (0.0, 0.0)
    assert decision.high**EXPONENT <= 0.2
