"""Verdicts by kind of benchmark: the curve's test beside its references, the omnibus test, and what the words say."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from simulated_study import GROUPS, simulate

from analysis.inference.omnibus import combined_p, omnibus_p
from analysis.inference.verdicts import ScopeVerdict, scope_verdicts
from analysis.inference.weight_curve import WeightCurve, fit_curve
from analysis.report.verdict_text import dataset_sentences, study_sentences
from analysis.scores.frame import EXPONENT, TidyFrame, tidy_frame
from analysis.scores.study import read_study
from plw.registry.rows import CellRow

WEIGHTS = (0.0, 0.01, 0.05, 0.2, 1.0)
Effect = Callable[[CellRow, str], float]


def rows(
    bases: int, seeds: int = 1, *, curve: tuple[float, float] = (0.0, 0.0), slope_sd: float = 0.0, seed: int = 0
) -> pd.DataFrame:
    """Scores of base models x seeds x weights around a parabola; each base may have a slope of its own."""
    generator = np.random.default_rng(seed)
    made: dict[str, list[float | str]] = {"score": [], "w": [], "base": [], "run": []}
    for base in range(bases):
        own = generator.normal(0, slope_sd)
        for run in range(seeds):
            level = 0.5 + generator.normal(0, 0.05)
            for weight in WEIGHTS:
                w = weight**EXPONENT
                score = level + (curve[0] + own) * w + curve[1] * w**2 + generator.normal(0, 0.01)
                for name, value in zip(made, (score, w, f"base {base}", f"base {base} {run}"), strict=True):
                    made[name].append(value)
    return pd.DataFrame(made)


def fitted(table: pd.DataFrame) -> WeightCurve:
    found = fit_curve(table["score"].to_numpy(), table["w"].to_numpy(), list(table["base"]), list(table["run"]))
    assert found is not None
    return found


def test_curve_of_few_bases_equals_statsmodels() -> None:
    """Each base has its own curve; the mean curve is tested against what is left."""
    table = rows(2, 2, curve=(0.05, -0.05), slope_sd=0.02)

    ours = fitted(table)

    theirs = smf.ols("score ~ C(run) + C(base, Sum):w + C(base, Sum):I(w**2) + w + I(w**2) - 1", table).fit()
    test = theirs.f_test("w = 0, I(w ** 2) = 0")
    assert not ours.over_bases
    assert ours.slope_C == pytest.approx([theirs.params["w"], theirs.params["I(w ** 2)"]])
    assert ours.p == pytest.approx(float(test.pvalue))


def test_curve_over_bases_is_tested_by_t_at_its_middle_and_its_end() -> None:
    """With the same weights at each base these are t tests of one parabola a base, combined (Cauchy)."""
    table = rows(7, curve=(0.1, -0.08), slope_sd=0.05)
    curves_GC = np.array([np.polyfit(part["w"], part["score"], 2)[1::-1] for _, part in table.groupby("base")])

    ours = fitted(table)

    assert ours.over_bases
    assert ours.slope_C == pytest.approx(curves_GC.mean(axis=0))
    assert ours.covariance_CC == pytest.approx(np.cov(curves_GC.T) / 7)
    assert ours.df == pytest.approx(6)
    p_2 = [stats.ttest_1samp(curves_GC @ [place, place**2], 0).pvalue for place in (0.5, 1.0)]
    assert ours.p == pytest.approx(0.5 - np.arctan(np.tan((0.5 - np.array(p_2)) * np.pi).mean()) / np.pi)


def test_band_over_bases_has_the_intervals_of_its_middle_and_end() -> None:
    table = rows(6, curve=(0.1, -0.08), slope_sd=0.05)
    curves_GC = np.array([np.polyfit(part["w"], part["score"], 2)[1::-1] for _, part in table.groupby("base")])

    low_M, high_M = fitted(table).bounds()

    for place, at in ((0.5, 100), (1.0, 200)):
        interval = stats.ttest_1samp(curves_GC @ [place, place**2], 0).confidence_interval(0.975)
        assert (low_M[at], high_M[at]) == pytest.approx((interval.low, interval.high))


def test_bases_that_lack_weights_still_count() -> None:
    """The grid need not be full: fewer degrees of freedom than bases less one, and a curve all the same."""
    table = rows(6, curve=(0.2, -0.1), slope_sd=0.02)
    table = table.drop(index=[1, 2, 8, 14, 23])

    found = fitted(table)

    assert found.over_bases
    assert 2 < found.df < 5.01
    assert found.slope_C == pytest.approx([0.2, -0.1], abs=0.08)


@pytest.mark.parametrize(("bases", "slope_sd"), [(2, 0.0), (3, 0.05), (6, 0.0), (6, 0.05)])
def test_the_test_holds_its_level(bases: int, slope_sd: float) -> None:
    """Without a mean curve 5% of studies find one, whether or not bases differ where they are a sample."""
    p = [fitted(rows(bases, slope_sd=slope_sd, seed=number)).p for number in range(400)]

    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.033)  # three Monte Carlo errors


def test_bounds_hold_the_whole_curve() -> None:
    truth = np.array([0.1, -0.08])
    inside = []
    for number in range(300):
        found = fitted(rows(6, curve=(0.1, -0.08), slope_sd=0.03, seed=number))
        low_M, high_M = found.bounds()
        true_M = truth[0] * found.w_M + truth[1] * found.w_M**2
        inside.append(bool(((low_M <= true_M + 1e-12) & (true_M - 1e-12 <= high_M)).all()))

    assert np.mean(inside) > 0.95 - 0.038


@pytest.mark.parametrize(
    ("curve", "shape"),
    [((0.3, -0.05), "up"), ((-0.3, 0.05), "down"), ((0.4, -0.4), "peak"), ((-0.4, 0.4), "dip"), ((0.3, -0.2), "up")],
)
def test_shape_of_a_curve(curve: tuple[float, float], shape: str) -> None:
    """A turn whose far side is small, as of the last one, is none."""
    assert fitted(rows(2, curve=curve)).shape == shape


def test_best_weight_lies_in_its_interval() -> None:
    best, low, high = fitted(rows(6, curve=(0.5, -0.5))).best()

    assert best == pytest.approx(0.5 ** (1 / EXPONENT), rel=0.3)
    assert 0 < low < best < high < 1


def test_two_weights_give_a_line_and_one_gives_nothing() -> None:
    table = rows(3, curve=(0.2, 0.0))
    two = fitted(table[table["w"].isin([0.0, 1.0])])
    one = table[table["w"] == 1.0]

    assert len(two.slope_C) == 1
    assert fit_curve(one["score"].to_numpy(), one["w"].to_numpy(), list(one["base"]), list(one["run"])) is None


@pytest.mark.parametrize("bases", [3, 4, 6])
@pytest.mark.parametrize("weights", [(0, 0.5, 1), (0, 0.25, 0.5, 0.75, 1), (0, 0.25, 0.5, 1), WEIGHTS, (0, 0.1, 0.4)])
def test_three_base_models_are_a_sample_at_any_weights(bases: int, weights: tuple[float, ...]) -> None:
    """Degrees of freedom are as many as bases less one, of three bases just enough: rounding takes none away."""
    score_N = np.random.default_rng(1).normal(0.5, 0.01, bases * len(weights))
    names = [f"base {number}" for number in range(bases) for _ in weights]
    curve = fit_curve(score_N, np.tile(np.array(weights, dtype=float), bases), names, names)
    assert curve is not None
    assert curve.df == pytest.approx(bases - 1)


@pytest.mark.parametrize("bases", [3, 5, 6, 12])
@pytest.mark.parametrize("shape", [(0.0, 0.1), (0.0, 0.05, 0.1), (0.0, 0.1, 0.0)])
def test_base_models_that_all_differ_alike_are_counted(bases: int, shape: tuple[float, ...]) -> None:
    """Scores of few items do so often. A standard error of 0 is no certainty: the test is a sign test's."""
    score_N = np.concatenate([level + np.array(shape) for level in np.linspace(0.2, 0.6, bases)])
    names = [f"base {number}" for number in range(bases) for _ in shape]
    curve = fit_curve(score_N, np.tile(np.linspace(0, 1, len(shape)), bases), names, names)
    assert curve is not None
    assert curve.exact
    assert curve.p >= min(0.6, stats.binomtest(bases, bases).pvalue / 2)
    assert (curve.p < 0.05) == ((bases >= 6 and shape[-1] > 0) or bases == 12)


def test_base_models_that_differ_alike_at_one_place_are_counted_there() -> None:
    score_N = np.concatenate([np.array([0.5, 0.6, 0.5 + end]) for end in (0.05, -0.02, 0.01)])
    names = [f"base {number}" for number in range(3) for _ in range(3)]
    curve = fit_curve(score_N, np.tile([0.0, 0.5, 1.0], 3), names, names)
    assert curve is not None
    assert curve.p > 0.05


@pytest.mark.parametrize(
    ("runs", "weights", "p"),
    [(1, 4, None), (2, 2, None), (1, 5, 2 / 120), (2, 4, 2 / 576), (2, 6, 1 / 5000)],
)
def test_of_few_base_models_scores_on_the_curve_are_tested_by_permutation(
    runs: int, weights: int, p: float | None
) -> None:
    """With too few cells nothing decides; else p is about the share of orders that make as good a curve."""
    w_W = np.linspace(0, 1, weights)
    names = [f"base {number}" for number in range(runs) for _ in w_W]
    score_N = np.concatenate([0.2 + 0.1 * run + 0.3 * w_W for run in range(runs)])
    curve = fit_curve(score_N, np.tile(w_W, runs), names, names)
    assert curve is not None
    assert not curve.over_bases
    assert curve.decides == (p is not None)
    assert curve.p == (1.0 if p is None else pytest.approx(p, rel=0.5, abs=1e-3))
    table = pd.DataFrame(
        {"dataset": "d", "model": names, "seed": 0, "w_p": np.tile(w_W, runs), "benchmark": "b", "group": "g",
         "metric": "acc", "value": score_N, "score01": score_N}
    )  # fmt: skip
    frame = TidyFrame(rows=table, missing=table.head(0), notes=())
    (verdict,) = [verdict for verdict in scope_verdicts(frame) if verdict.scope == "benchmark"]
    assert (verdict.p, verdict.p_mean) == (None, None) if p is None else verdict.p == curve.p
    assert (verdict.excluded, verdict.best_low, verdict.best_high) == (None, None, None)
    said = " ".join(dataset_sentences(scope_verdicts(frame), "d"))
    assert ("too few cells to decide" in said) == (p is None)
    assert "95 % interval of the best" not in said


def opposed(seed: int, size: float, benchmarks: int = 4) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Half of the benchmarks rise as the others fall; errors are shared by a cell's benchmarks."""
    tables = [rows(2, seed=seed * 100 + number) for number in range(benchmarks)]
    w_N = tables[0]["w"].to_numpy()
    shared_N = np.random.default_rng([seed, 1]).normal(0, 0.01, size=len(w_N))
    columns = [t["score"] + shared_N + size * (-1) ** number * w_N for number, t in enumerate(tables)]
    return np.stack(columns, axis=1), w_N, list(tables[0]["run"])


def test_the_omnibus_test_sees_effects_of_opposite_sign() -> None:
    found = []
    for seed in range(20):
        score_NG, w_N, run_N = opposed(seed, 0.05)
        mean = fit_curve(score_NG.mean(axis=1), w_N, [run.rsplit(" ", 1)[0] for run in run_N], run_N)
        assert mean is not None
        found.append((omnibus_p(score_NG, w_N, run_N, 999), mean.p))

    of_omnibus, of_mean = (np.array(column, dtype=float) for column in zip(*found, strict=True))
    assert np.mean(of_omnibus < 0.05) > 0.9
    assert np.mean(of_mean < 0.05) < 0.3


def test_the_omnibus_test_holds_its_level_with_shared_errors() -> None:
    p = [omnibus_p(*opposed(seed, 0.0), permutations=199) for seed in range(400)]

    assert np.mean(np.array(p, dtype=float) < 0.05) == pytest.approx(0.05, abs=0.033)


@pytest.mark.parametrize("slope_sd", [0.0, 0.05])
def test_the_combined_test_holds_its_level_where_bases_differ(slope_sd: float) -> None:
    """Benchmarks whose curves differ by base, and whose mean over bases is flat."""
    p = []
    for seed in range(400):
        tables = [rows(6, slope_sd=slope_sd, seed=seed * 10 + number) for number in range(3)]
        mean = tables[0].assign(score=np.mean([table["score"] for table in tables], axis=0))
        p.append(combined_p(fitted(mean).p, [fitted(table).p for table in tables]))

    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.033)


def test_the_combined_test_sees_one_benchmark_among_many() -> None:
    assert combined_p(0.8, [0.9, 1.0, 0.7, 1e-5]) < 0.05
    assert combined_p(1e-4, [0.5, 1.0, 0.7]) < 0.05
    assert combined_p(0.5, [0.5, 0.5]) == pytest.approx(0.5)


def test_the_omnibus_test_counts_itself_and_not_a_benchmark_that_never_varies() -> None:
    score_NG, w_N, run_N = opposed(0, 5.0)

    assert omnibus_p(score_NG, w_N, run_N, 199) == pytest.approx(1 / 200)
    weak_NG = opposed(1, 0.01)[0]
    still_NG = np.column_stack([weak_NG, np.full(len(w_N), 0.3)])
    assert omnibus_p(still_NG, w_N, run_N, 199) == omnibus_p(weak_NG, w_N, run_N, 199)


def test_the_omnibus_test_needs_weights_that_can_be_exchanged() -> None:
    score_NG, w_N, _ = opposed(0, 0.03)

    assert omnibus_p(score_NG, w_N, [str(number) for number in range(len(w_N))]) is None
    assert omnibus_p(np.ones_like(score_NG), w_N, ["run"] * len(w_N)) is None


def verdicts_of(folder: Path, effect: Effect) -> list[ScopeVerdict]:
    """Of a whole study that is written below the folder."""

    def value(cell: CellRow, benchmark: str, simulated: float) -> float:
        percent = GROUPS[benchmark] in ("translation", "long_generation")
        number = sum(map(ord, f"{cell.dataset}{cell.model}{cell.prompt_weight:g}{benchmark}"))
        noise = np.random.default_rng(number).normal(0, 0.01)
        return float((100 if percent else 1) * (0.5 + noise + effect(cell, benchmark)))

    url, runs = simulate(folder, value=value, datasets=("data", "short"))
    read = read_study(url, runs, "plw", "mini")
    return scope_verdicts(tidy_frame(read.scores, GROUPS, read.cells))


def rising_and_falling(cell: CellRow, benchmark: str) -> float:
    """On short data long answers rise by 30 points; of the multiple choice ARC falls as PIQA rises."""
    if cell.dataset != "short":
        return 0.0
    sizes = {"alpaca_eval": 0.3, "pandalm": 0.3, "arc": -0.1, "piqa": 0.1}
    return sizes.get(benchmark, 0.0) * cell.prompt_weight**EXPONENT


@pytest.fixture(scope="module")
def risen(tmp_path_factory: pytest.TempPathFactory) -> list[ScopeVerdict]:
    return verdicts_of(tmp_path_factory.mktemp("risen"), rising_and_falling)


def test_verdicts_name_what_moved_where_and_how_far(risen: list[ScopeVerdict]) -> None:
    found = {(v.dataset, v.scope, v.name): v for v in risen}

    long = found["short", "group", "long_generation"]
    assert (long.moved, long.direction, long.scale) == (True, "up", 100)
    assert long.at_best is not None
    assert long.at_0 is not None
    assert long.at_best - long.at_0 == pytest.approx(30, abs=3)
    assert long.best_weight == pytest.approx(1, abs=0.3)
    choice = found["short", "group", "multiple_choice"]
    assert choice.moved
    assert choice.opposed
    assert [found["short", "benchmark", name].direction for name in ("arc", "piqa")] == ["down", "up"]
    assert not any(v.moved for (dataset, scope, _), v in found.items() if dataset == "data" and scope != "benchmark")
    still = found["data", "group", "multiple_choice"]
    assert still.direction is None
    assert still.excluded is not None
    assert 0 < still.excluded < 0.05
    assert all(v.p_holm is None or v.p is None or v.p_holm >= v.p for v in found.values())


def test_words_say_what_moved_and_what_is_excluded(risen: list[ScopeVerdict]) -> None:
    headline, short, data = study_sentences(risen), *(dataset_sentences(risen, name) for name in ("short", "data"))

    assert "On short: long generation up 3" in headline
    assert "multiple choice moving both ways" in headline
    assert "On data nothing is shown to move" in headline
    assert "excluded" in headline
    assert "no effect" not in " ".join([headline, *short, *data]).lower()
    assert any("arc down" in line and "piqa up" in line for line in short)
    assert all("excluded" in line for line in data)


def test_no_verdict_names_a_score_that_cannot_be(tmp_path: Path) -> None:
    """A win rate near 0 up to half of the weights: the parabola dips below 0, what is said does not."""

    def late(cell: CellRow, benchmark: str) -> float:
        w = cell.prompt_weight**EXPONENT
        return 2 * max(0.0, w - 0.55) - 0.46 if GROUPS[benchmark] == "long_generation" else 0.0

    for verdict in verdicts_of(tmp_path, late):
        named = (verdict.at_0, verdict.at_best, verdict.at_1, verdict.at_lowest, verdict.excluded)
        assert all(0 <= score <= verdict.scale for score in named if score is not None), verdict
