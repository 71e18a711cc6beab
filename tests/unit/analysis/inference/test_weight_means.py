"""Scores through which no parabola goes: the test and the intervals beside statsmodels and scipy, and the sentences."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from study_frames import frame_of

from analysis.inference.verdicts import ScopeVerdict, scope_verdicts
from analysis.inference.weight_means import MeanChange, mean_changes, off_parabola_p
from analysis.report.verdict_text import dataset_sentences, study_sentences
from analysis.scores.frame import EXPONENT

PLW = (0.0, 0.001, 0.01, 0.1, 0.3, 1.0)


def jump(weight: float) -> float:
    """Every weight above 0 is worth 10 points."""
    return 0.1 * (weight > 0)


def wave(weight: float) -> float:
    return float(0.06 * np.sin(9 * weight**EXPONENT))


def scores(runs: int, shape=jump, drop: tuple[int, ...] = (), seed: int = 0) -> pd.DataFrame:
    """A table of cells: run, w, score; rows of ``drop`` are missing."""
    generator = np.random.default_rng(seed)
    table = pd.DataFrame(
        [
            {"run": f"run {run}", "w": weight**EXPONENT, "score": 0.4 + 0.05 * run + shape(weight)}
            for run in range(runs)
            for weight in PLW
        ]
    )
    table["score"] += generator.normal(0, 0.01, size=len(table))
    return table.drop(index=list(drop)).reset_index(drop=True)


def p_of(table: pd.DataFrame) -> float | None:
    return off_parabola_p(table["score"].to_numpy(), table["w"].to_numpy(), list(table["run"]))


@pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning")
@pytest.mark.parametrize(("runs", "drop"), [(2, ()), (4, ()), (3, (1, 8, 9))])
def test_the_test_of_a_parabola_is_that_of_nested_models_in_statsmodels(runs: int, drop: tuple[int, ...]) -> None:
    table = scores(runs, lambda weight: 0.02 * (weight > 0), drop)
    each = ols("score ~ C(run) * (w + I(w ** 2))", table).fit()
    shared = ols("score ~ C(run) * (w + I(w ** 2)) + C(w)", table).fit()

    assert p_of(table) == pytest.approx(anova_lm(each, shared)["Pr(>F)"].iloc[1], rel=1e-6)


def test_where_every_run_has_a_parabola_the_test_holds_its_level() -> None:
    p = [p_of(scores(3, lambda weight: 0.3 * weight**EXPONENT, seed=seed)) for seed in range(400)]

    assert np.mean(np.array(p, dtype=float) < 0.05) == pytest.approx(0.05, abs=0.033)


@pytest.mark.parametrize("table", [scores(1), scores(2).assign(score=0.5), scores(3).query("w in (0, 1)")])
def test_without_repetitions_or_their_error_there_is_no_test(table: pd.DataFrame) -> None:
    assert p_of(table) is None


def test_changes_over_base_models_are_paired_t_intervals_corrected_for_the_weights() -> None:
    table = scores(4)
    wide = table.pivot(index="run", columns="w", values="score")
    found = mean_changes(table["score"].to_numpy(), table["w"].to_numpy(), list(table["run"]), list(table["run"]))

    assert [change.weight for change in found] == pytest.approx(PLW[1:])
    for change, w in zip(found, wide.columns[1:], strict=True):
        differences = wide[w] - wide[wide.columns[0]]
        interval = stats.ttest_1samp(differences, 0).confidence_interval(1 - 0.05 / 5)
        assert (change.change, change.low, change.high) == pytest.approx((differences.mean(), *interval))


@pytest.mark.parametrize(("bases", "unit"), [(2, "run"), (3, "base")])
def test_three_base_models_are_the_units_of_their_seeds_and_of_fewer_the_runs_are(bases: int, unit: str) -> None:
    """A base model's two seeds are two runs; a weight that one unit alone has beside the smallest is left out."""
    table = scores(2 * bases)
    table["base"] = "base " + (table["run"].str[4:].astype(int) // 2).astype(str)
    table = table[(table["w"] != 0.3**EXPONENT) | (table[unit] == table[unit].iloc[0])]
    wide = table.groupby([unit, "w"])["score"].mean().unstack()
    found = mean_changes(table["score"].to_numpy(), table["w"].to_numpy(), list(table["base"]), list(table["run"]))

    assert [change.weight for change in found] == pytest.approx([w for w in PLW[1:] if w != 0.3])
    for change in found:
        differences = wide[change.weight**EXPONENT] - wide[0.0]
        interval = stats.ttest_1samp(differences, 0).confidence_interval(1 - 0.05 / 5)
        assert (change.change, change.low, change.high) == pytest.approx((differences.mean(), *interval))


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [(0.01, 0.2, True), (-0.2, -0.01, True), (-0.01, 0.2, False), (0.0, 0.2, False), (0.1, 0.1, False)],
)
def test_a_change_is_shown_where_its_interval_has_a_width_and_excludes_0(low: float, high: float, shown: bool) -> None:
    assert MeanChange(weight=0.1, change=(low + high) / 2, low=low, high=high).shown == shown


def test_changes_of_two_runs_have_the_error_of_levels_of_runs_and_weights() -> None:
    table = scores(2)
    fit = ols("score ~ C(run) + C(w)", table).fit()
    found = mean_changes(table["score"].to_numpy(), table["w"].to_numpy(), list(table["run"]), list(table["run"]))

    beside = fit.conf_int(0.05 / 5).filter(like="C(w)", axis=0).to_numpy()
    assert np.array([(change.low, change.high) for change in found]) == pytest.approx(beside)


@pytest.mark.parametrize("runs", [2, 3])
def test_intervals_of_all_weights_together_hold_the_truth(runs: int) -> None:
    held = []
    for seed in range(300):
        table = scores(runs, seed=seed)
        found = mean_changes(table["score"].to_numpy(), table["w"].to_numpy(), list(table["run"]), list(table["run"]))
        held.append(all(change.low <= 0.1 <= change.high for change in found))

    assert np.mean(held) > 0.95 - 2.6 * np.sqrt(0.05 * 0.95 / len(held))


def group_of(shape, models: str) -> tuple[ScopeVerdict, list[ScopeVerdict]]:
    noise = np.random.default_rng(1).normal(0, 0.004, size=1000)
    numbers = iter(range(1000))
    found = scope_verdicts(
        frame_of(
            lambda _, benchmark, model, weight, seed: 0.4 + shape(weight) + noise[next(numbers)],
            models=list(models),
            weights=PLW,
        )
    )
    return next(verdict for verdict in found if verdict.scope == "group"), found


def test_a_jump_at_weight_0_is_not_told_as_a_peak() -> None:
    group, found = group_of(jump, "abc")
    said = [study_sentences(found), *dataset_sentences(found, "short")]

    assert group.moved
    assert group.highest is not None
    assert group.highest.low < 0.1 < group.highest.high
    assert group.highest.change == pytest.approx(0.1, abs=0.01)
    assert all("down again" not in line and "interval of the best" not in line for line in said)
    points = f"up {100 * group.highest.change:.1f} points at weight {group.highest.weight:.2g} (95 % interval"
    assert all(points in line and "of mean scores, which follow no parabola" in line for line in said[:2])


@pytest.mark.parametrize("sign", [1, -1])
def test_what_a_curve_misses_by_little_stays_the_curves(sign: int) -> None:
    """Plainly no parabola, but it misses the means by less than a quarter of how far they move."""
    group, found = group_of(lambda weight: sign * (0.3 * weight**EXPONENT + wave(weight) / 2), "abcd")

    assert group.p_parabola is not None
    assert group.p_parabola < 0.001
    assert group.misfit is not None
    assert 0.01 < group.misfit < 0.25 * 0.3
    assert group.highest is group.lowest is None
    assert "parabola" not in " ".join(dataset_sentences(found, "short"))


def test_a_wave_that_two_base_models_repeat_is_told_though_no_parabola_moves() -> None:
    group, found = group_of(wave, "ab")
    (line,) = dataset_sentences(found, "short")

    assert not group.moved
    assert group.p_parabola is not None
    assert group.p_parabola < 0.001
    assert "nothing is shown to move along a parabola, but mean scores do: multiple choice up" in study_sentences(found)
    assert " and down " in line
    assert "not shown to move along a parabola (corrected p" in line


@pytest.mark.parametrize("models", ["ab", "abcd"])
@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_of_a_parabola_the_words_stay_those_of_the_curve(slope: float, models: str) -> None:
    """Of no change at all too, which a curve misses by more than a quarter of what chance makes of the means."""
    group, found = group_of(lambda weight: slope * weight**EXPONENT, models)

    assert group.highest is None
    assert "parabola" not in " ".join([study_sentences(found), *dataset_sentences(found, "short")])
