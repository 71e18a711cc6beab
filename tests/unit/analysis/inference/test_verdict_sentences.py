"""What verdicts and their sentences say of studies that are not as most: each beside numbers computed by hand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.inference.omnibus import omnibus_p
from analysis.inference.verdicts import ScopeVerdict, Undecided, scope_verdicts
from analysis.inference.weight_curve import fit_curve
from analysis.report.verdict_text import dataset_sentences, study_sentences
from analysis.scores.frame import EXPONENT, TidyFrame, tidy_frame
from analysis.tables.captions import coverage

WEIGHTS = (0.0, 0.01, 0.1, 0.5, 1.0)
NOISE = (0.002, -0.001, 0.001, -0.002, 0.001)
Value = Callable[[float, int], float]


def frame_of(
    values: Mapping[str, Value],
    *,
    metric: str = "acc",
    higher: bool = True,
    weights: Sequence[float] = WEIGHTS,
    models: Sequence[str] = ("m",),
    groups: Mapping[str, str] | None = None,
) -> TidyFrame:
    """A value by weight and place of the cell, for each benchmark; all of one group unless ``groups`` has it."""
    rows = [
        {
            "dataset": "D", "model": model, "prompt_weight": weight, "response_weight": 1.0, "seed": 1, "r_g": 1.0,
            "suite": "s", "benchmark": benchmark, "metric": metric, "higher_is_better": higher,
            "value": value(weight, place + 7 * number), "stderr": 0.01, "n": 100, "headline": True, "judge": "",
        }
        for benchmark, value in values.items()
        for number, model in enumerate(models)
        for place, weight in enumerate(weights)
    ]  # fmt: skip
    return tidy_frame(pd.DataFrame(rows), groups or dict.fromkeys(values, "translation"))


def noise(place: int) -> float:
    return NOISE[place % len(NOISE)]


def group_of(frame: TidyFrame) -> ScopeVerdict:
    (found,) = [verdict for verdict in scope_verdicts(frame) if verdict.scope == "group"]
    return found


@pytest.mark.parametrize(("metric", "full"), [("brier_score", 1.0), ("ter", 100.0)])
@pytest.mark.parametrize(("slope", "direction"), [(0.2, "down"), (-0.2, "up")])
def test_of_metrics_where_lower_is_better_all_is_turned_round(
    metric: str, full: float, slope: float, direction: str
) -> None:
    """Numbers beside numpy's parabola through the scores as reported; a rise of the score is a worsening."""
    reported = {weight: full * (0.4 + slope * weight + noise(at)) for at, weight in enumerate(WEIGHTS)}
    frame = frame_of({"b": lambda weight, _: reported[weight]}, metric=metric, higher=False)
    place_M = np.linspace(0, 1, 201)
    curve_M = full - np.polyval(
        np.polyfit([weight**EXPONENT for weight in WEIGHTS], list(reported.values()), 2), place_M
    )

    found = group_of(frame)

    assert (found.moved, found.direction, found.turned) == (True, direction, True)
    assert (found.at_0, found.at_1) == pytest.approx((curve_M[0], curve_M[-1]))
    assert (found.at_best, found.at_lowest) == pytest.approx((curve_M.max(), curve_M.min()))
    assert found.best_weight == pytest.approx(place_M[curve_M.argmax()] ** (1 / EXPONENT))
    assert found.lowest_weight == pytest.approx(place_M[curve_M.argmin()] ** (1 / EXPONENT))
    at = curve_M.max() if direction == "up" else curve_M.min()
    points = f"{direction} {abs(at - curve_M[0]) * 100 / full:.1f} points at weight 1 ("
    for said in (study_sentences(scope_verdicts(frame)), dataset_sentences(scope_verdicts(frame), "D")[0]):
        assert points in said
        assert "; turned round, as lower is better" in said
    assert coverage(frame).count("Turned round, as lower is better: b.") == 1
    assert f"b is turned round: lower scores are better, so what counts is {full:g} less the score." in frame.notes


def test_a_study_turned_round_by_hand_has_the_same_verdicts() -> None:
    turned = frame_of({"b": lambda w, at: 0.3 + 0.2 * w + noise(at)}, metric="brier_score", higher=False)
    by_hand = frame_of({"b": lambda w, at: 1 - (0.3 + 0.2 * w + noise(at))})

    for one, other in zip(scope_verdicts(turned), scope_verdicts(by_hand), strict=True):
        assert replace(one, turned=False) == other
    assert "urned round" not in " ".join([coverage(by_hand), *by_hand.notes, study_sentences(scope_verdicts(by_hand))])


def test_of_a_kind_turned_round_in_part_the_benchmarks_are_named() -> None:
    falling = frame_of(
        {"lower": lambda w, at: 0.6 - 0.2 * w + noise(at)}, metric="brier_score", higher=False, models="ab"
    )
    rising = frame_of({"higher": lambda w, at: 0.4 + 0.2 * w + noise(at)}, models="ab")
    found = scope_verdicts(replace(rising, rows=pd.concat([falling.rows, rising.rows], ignore_index=True)))

    assert "; lower turned round, as lower is better" in study_sentences(found)


NO_ZERO = (0.1, 0.3, 0.5, 1.0)


@pytest.mark.parametrize("models", ["ab", "abcd"])
def test_without_weight_0_nothing_is_said_below_the_smallest_weight(models: str) -> None:
    """Beside numpy's parabola: the start, the ends and the interval of the best lie within the weights tried."""

    def rising(weight: float, place: int) -> float:
        return 0.5 + 0.1 * weight + noise(place) + 0.001 * (place // 7) * weight

    frame = frame_of({"b": rising}, weights=NO_ZERO, models=models)
    w_N = frame.rows["w_p"].to_numpy()
    level_N = frame.rows.groupby("model")["score01"].transform("mean")
    centred_N = (frame.rows["score01"] - level_N + frame.rows["score01"].mean()).to_numpy()
    place_M = np.linspace(w_N.min(), 1, 201)
    curve_M = np.polyval(np.polyfit(w_N, centred_N, 2), place_M)

    found = group_of(frame)

    assert (found.over_bases, found.moved, found.direction) == (len(models) > 2, True, "up")
    assert found.from_weight == pytest.approx(0.1)
    assert (found.at_0, found.at_best, found.at_1) == pytest.approx((curve_M[0], curve_M.max(), curve_M[-1]))
    assert found.at_lowest == pytest.approx(curve_M.min())
    for weight in (found.best_weight, found.lowest_weight, found.best_low, found.best_high):
        assert 0.1 - 1e-9 <= weight <= 1
    assert found.excluded >= abs(curve_M - curve_M[0]).max()
    said = f"up {100 * (curve_M.max() - curve_M[0]):.1f} points from weight 0.1 at weight 1"
    assert said in study_sentences([found])
    assert f"; {curve_M[0]:.3f} at weight 0.1, " in dataset_sentences([found], "D")[0]


def test_without_weight_0_a_bound_names_what_it_is_from() -> None:
    found = group_of(frame_of({"b": lambda _, place: 0.5 + noise(place)}, weights=NO_ZERO, models="ab"))
    size = f"{100 * found.excluded:.1f}"

    assert f"by more than {size} points (translation, from weight 0.1) are excluded" in study_sentences([found])
    assert f"by more than {size} points from weight 0.1 is excluded" in dataset_sentences([found], "D")[0]


@pytest.mark.parametrize("bases", [2, 6])
def test_the_band_without_weight_0_is_that_of_the_shifted_weights(bases: int) -> None:
    """A parabola over w from 0.5 to 1 is one over w - 0.5: tests and bounds cannot depend on where w begins."""
    generator = np.random.default_rng(3)
    w_N, base_N = np.tile(np.linspace(0.5, 1, 5), bases), np.repeat(np.arange(bases), 5).astype(str)
    score_N = 0.5 + 0.1 * w_N + generator.normal(0, 0.01, len(w_N))
    here, shifted = (fit_curve(score_N, w, list(base_N), list(base_N)) for w in (w_N, w_N - 0.5))

    assert here is not None
    assert shifted is not None
    assert here.p == pytest.approx(shifted.p)
    assert here.at_start == pytest.approx(shifted.at_0)
    assert here.difference_M == pytest.approx(shifted.difference_M)
    assert np.array(here.bounds()) == pytest.approx(np.array(shifted.bounds()))


@pytest.mark.parametrize("models", ["m", "ab", "abcd"])
@pytest.mark.parametrize("benchmarks", ["x", "xy"])
def test_scores_that_never_vary_are_said_to_be_the_same_and_exclude_nothing(models: str, benchmarks: str) -> None:
    """0.1 is no binary fraction: what rounding leaves of its curve must not be tested."""
    frame = frame_of({name: lambda _, place: 0.1 + 0.1 * (place // 7) for name in benchmarks}, models=models)

    found = scope_verdicts(frame)

    for verdict in found:
        assert verdict.same
        assert (verdict.p, verdict.p_holm, verdict.excluded, verdict.best_weight) == (None,) * 4
        assert not verdict.moved
        assert verdict.at_0 == pytest.approx(0.1 + 0.1 * (len(models) - 1) / 2)
    same = "the scores are the same at every weight (translation), which excludes nothing"
    assert study_sentences(found) == f"On D nothing is shown to move: {same}."
    assert dataset_sentences(found, "D") == [
        "Translation: the same scores at every weight; that is no certainty and excludes nothing."
    ]


def test_one_benchmark_that_never_varies_takes_no_part_in_the_others_test() -> None:
    """Over base models its p is 1, whatever rounding makes of its curve."""
    rising = {"moves": lambda w, place: 0.3 + 0.2 * w + noise(place) + 0.01 * (place // 7) * w}
    frame = frame_of({**rising, "still": lambda *_: 0.1}, models="abcd")

    by_name = {verdict.name: verdict for verdict in scope_verdicts(frame)}

    assert by_name["still"].same
    assert not by_name["translation"].same
    alone, mean = by_name["moves"], by_name["translation"]
    tangents = [np.tan((0.5 - p) * np.pi) for p in (mean.p_mean, alone.p, 0.99)]
    assert mean.p == pytest.approx(0.5 - np.arctan(np.average(tangents, weights=[0.5, 0.25, 0.25])) / np.pi)
    assert alone.p_holm == pytest.approx(alone.p)


def test_benchmarks_that_cancel_to_the_digit_leave_no_bound() -> None:
    step = {0.0: 0.0, 0.01: 0.05, 0.1: 0.1, 0.5: 0.2, 1.0: 0.3}
    frame = frame_of({"x": lambda w, _: 0.4 + step[w], "y": lambda w, _: 0.4 - step[w]}, models="ab")

    found = group_of(frame)

    assert not found.same
    assert (found.direction, found.excluded, found.best_weight) == (None, None, None)
    assert found.p_mean == 1


def every_statistic(score_NG: np.ndarray, w_N: np.ndarray, run_N: Sequence[str]) -> np.ndarray:
    """Variance within runs that least squares explain, summed over benchmarks, of every permutation within runs."""
    level_NR = pd.get_dummies(pd.Series(run_N)).to_numpy(dtype=float)
    places = [np.flatnonzero(level_NR[:, run]) for run in range(level_NR.shape[1])]
    found = []
    for mixed in product(*(permutations(rows) for rows in places)):
        at_N = np.arange(len(w_N))
        at_N[np.concatenate(places)] = np.concatenate(mixed)
        design = np.column_stack([level_NR, w_N[at_N], w_N[at_N] ** 2])
        left_NG, base_NG = (score_NG - x @ np.linalg.lstsq(x, score_NG, rcond=None)[0] for x in (design, level_NR))
        found.append((1 - (left_NG**2).sum(axis=0) / (base_NG**2).sum(axis=0)).sum())
    return np.array(found)


@pytest.mark.parametrize(
    ("weights", "runs", "decides"),
    [((0, 0.1, 1), 1, False), ((0, 1), 2, False), ((0, 0.1, 1), 2, False), ((0, 0.1, 1), 3, True),
     ((0, 0.01, 0.2, 1), 1, True), ((0, 0.01, 0.05, 0.2, 1), 1, True)],
)  # fmt: skip
def test_a_p_that_no_scores_could_bring_below_the_level_is_none(
    weights: tuple[float, ...], runs: int, *, decides: bool
) -> None:
    """Beside all permutations: what ties with the labels as they are, whatever the scores, is the least p."""
    w_N = np.tile(np.array(weights, dtype=float) ** EXPONENT, runs)
    run_N = [str(run) for run in range(runs) for _ in weights]
    generator = np.random.default_rng(0)
    all_Z = every_statistic(generator.normal(size=(len(w_N), 2)), w_N, run_N)
    least = np.isclose(all_Z, all_Z[0]).mean()

    found = omnibus_p(np.stack([w_N, -w_N], axis=1) + generator.normal(0, 1e-4, (len(w_N), 2)), w_N, run_N)

    assert (least < 0.05) == decides
    assert (found is not None) == decides
    if decides:
        assert found == pytest.approx(least, abs=0.01)


@pytest.mark.parametrize("models", ["m", "ab"])
def test_three_weights_of_few_runs_are_too_few_to_decide(models: str) -> None:
    frame = frame_of(
        {name: lambda w, at: 0.2 + 0.6 * w + noise(at) for name in "xy"}, weights=(0, 0.1, 1), models=models
    )

    found = group_of(frame)

    assert (found.p, found.p_holm, found.moved) == (None, None, False)
    bound = (
        f"; a change of its mean by more than {100 * found.excluded:.1f} points is excluded" if models == "ab" else ""
    )
    assert dataset_sentences([found], "D") == [f"Translation: too few cells to decide{bound}."]


@pytest.mark.parametrize(("start", "rise", "bounded"), [(0.05, 0.9, False), (0.5, 0.5, False), (0.5, 0.12, True)])
def test_a_bound_as_wide_as_the_range_is_no_bound(start: float, rise: float, bounded: bool) -> None:
    """Two base models that differ widely: a change for which the range has no room is never said to be excluded."""
    slopes = (rise, 0.1)
    values = {name: lambda w, at: min(0.99, start + slopes[at // 7] * w) + abs(noise(at)) for name in "xy"}
    calm = group_of(frame_of({"z": lambda _, at: 0.5 + noise(at)}, weights=(0, 0.1, 1), models="ab"))
    other = replace(calm, name="calm", moved=False)

    found = group_of(frame_of(values, weights=(0, 0.1, 1), models="ab"))

    assert (found.excluded is not None) == bounded
    tested = replace(found, p_holm=0.5, undecided=None)
    headline, (line,) = study_sentences([other, tested]), dataset_sentences([tested], "D")
    if found.excluded is not None:
        assert found.excluded < max(found.at_0, 1 - found.at_0)
        assert f"by more than {100 * found.excluded:.1f} points is excluded" in line
    else:
        assert headline.endswith(f"by more than {100 * calm.excluded:.1f} points (calm) are excluded; "
                                 "no change of translation is.")  # fmt: skip
        assert "not shown to move (corrected p 0.500); no change of its mean is excluded; base models from " in line


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_of_one_weight_the_headline_says_that_there_is_but_one(weight: float) -> None:
    found = scope_verdicts(frame_of({"x": lambda _, at: 0.5 + noise(at)}, weights=(weight,), models="abc"))
    assert study_sentences(found) == f"On D there is but one weight, {weight:g}: nothing to compare."
    assert dataset_sentences(found, "D") == [f"Translation: but one weight, {weight:g}: nothing to compare."]
    both = study_sentences([*found, *(replace(verdict, dataset="E") for verdict in found)])
    assert both == f"On D and E there is but one weight, {weight:g}: nothing to compare."
    assert {(verdict.undecided, verdict.p) for verdict in found} == {(Undecided.ONE_WEIGHT, None)}


def test_base_models_of_one_weight_each_are_said_not_to_compare() -> None:
    frame = frame_of({"x": lambda w, _: 0.5 + 0.1 * w}, models="abc")
    own = {"a": 0.0, "b": 0.1, "c": 1.0}
    alone = replace(frame, rows=frame.rows[frame.rows["prompt_weight"] == frame.rows["model"].map(own)])
    assert "no base model and seed was trained at two weights" in study_sentences(scope_verdicts(alone))


def test_where_nothing_is_excluded_though_tested_the_headline_does_not_say_too_few() -> None:
    """Three base models that rise by the same: a sign test of them cannot show it."""
    frame = frame_of({"x": lambda w, _: 0.4 + 0.2 * w}, weights=(0.0, 1.0), models="abc")
    found = group_of(frame)
    assert (found.p, found.undecided, found.excluded) == (0.25, None, None)
    assert study_sentences([found]) == "On D nothing is shown to move: no change of translation is excluded."
    three = [replace(found, name=name) for name in ("x", "y", "z")]
    assert study_sentences(three) == "On D nothing is shown to move: no change of x, y or z is excluded."


@pytest.mark.parametrize("turned", [False, True])
def test_scores_that_are_full_from_some_weight_on_name_no_single_best_weight(turned: bool) -> None:
    """The parabola's top lies between the weights, beyond the full score: a place that no cell has."""
    start = {"a": 0.03, "b": 0.05, "c": 0.06}

    def value(weight: float, place: int) -> float:
        below = list(start.values())[place // 7] if weight == 0 else 0.0
        return below if turned else 1 - below

    frame = frame_of({"x": value}, weights=(0.0, 0.1, 1.0), models="abc", higher=not turned)
    found = group_of(frame)
    assert found.at_best == 1.0
    assert found.best_weight == pytest.approx(0.1, abs=0.01)
    assert found.best_low <= 0.1
    assert found.best_high == 1.0


@settings(max_examples=20)
@given(lacking=st.sets(st.tuples(st.integers(0, 1), st.integers(0, 4)), min_size=1, max_size=9))
def test_cells_that_lack_a_benchmark_are_counted_where_they_do_not_count(lacking: set[tuple[int, int]]) -> None:
    """The first benchmark is in every cell, the second is not: its kind's verdict is of the cells that have both."""
    frame = frame_of({name: lambda w, at: 0.4 + 0.2 * w + noise(at) for name in "xy"}, models="ab")
    places = {(model, weight): (base, place) for base, model in enumerate("ab") for place, weight in enumerate(WEIGHTS)}
    is_left_out = [
        row.benchmark == "y" and places[row.model, row.prompt_weight] in lacking for row in frame.rows.itertuples()
    ]
    found = group_of(replace(frame, rows=frame.rows[~np.array(is_left_out)]))
    (line,) = dataset_sentences([found], "D")
    assert (found.cells, found.cells_lacking) == (10 - len(lacking), len(lacking))
    assert f"{10 - len(lacking)} of 10 " in line
    if found.moved or found.excluded or found.undecided:
        assert f"{10 - len(lacking)} of 10 " in study_sentences([found])


@pytest.mark.parametrize("benchmarks", ["xy", "uvwxyz"])
def test_the_headline_names_single_benchmarks_where_no_kind_moved(benchmarks: str) -> None:
    """Each moves by 10 points, and of so few cells their kind's test cannot tell."""
    values = {name: lambda w, place: 0.5 + 0.1 * w + noise(place) for name in benchmarks}
    frame = frame_of(values, weights=(0, 0.1, 1), models="ab")
    found = scope_verdicts(frame)
    singles = {verdict.name: verdict for verdict in found if verdict.scope == "benchmark"}

    headline = study_sentences(found)

    assert all(verdict.moved for verdict in singles.values())
    assert "nothing is shown to move" not in headline
    assert headline.startswith("On D no kind of benchmark is shown to move, but single benchmarks are: ")
    for name in benchmarks[:4]:
        points = 100 * (singles[name].at_1 - singles[name].at_0)
        assert points == pytest.approx(10, abs=0.5)
        assert f"{name} up {points:.1f} points at weight 1" in headline
    assert ("2 more" in headline) == (len(benchmarks) == 6)
    assert f"changes by more than {100 * group_of(frame).excluded:.1f} points (translation) are excluded" in headline


def test_scores_in_the_sentences_are_the_curves_and_are_cut_at_the_range() -> None:
    """Scores that rise late: the parabola lies below 0 at first, and no cell has what is said of it."""
    late = {0.0: 0.02, 0.01: 0.02, 0.1: 0.03, 0.5: 0.3, 1.0: 0.7}
    frame = frame_of({"b": lambda w, place: late[w] + abs(noise(place))}, models="ab")
    w_N, score_N = frame.rows["w_p"], frame.rows["score01"]
    place_M = np.linspace(0, 1, 201)
    curve_M = np.polyval(np.polyfit(w_N, score_N, 2), place_M)

    found = group_of(frame)

    assert curve_M.min() < 0
    assert (found.at_0, found.at_1) == pytest.approx((max(curve_M[0], 0), curve_M[-1]))
    assert found.at_lowest == 0
    assert abs(found.at_1 - score_N[w_N == 1].mean()) > 0.01
