"""The statistics of paired items, beside the libraries that are their reference."""

import numpy as np
import pytest
import sacrebleu
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.significance import PairedTest
from scipy import stats
from simulated_items import translations
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from analysis.items.bootstrap import paired_bootstrap, pseudo_values
from analysis.items.clustered import clustered_mean, least_difference
from analysis.items.compare import compare_pairs, holm
from analysis.items.pairs import Pairs
from analysis.items.proportions import PairedProportions, beta_binomial, wilson
from analysis.items.sentences import sentences
from plw.results.corpus_metrics import corpus_scores, part_counts, segment_counts
from plw.results.items import MEAN


def clustered_values(seed: int, clusters: int = 23, runs: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    size_G = generator.integers(1, 9, size=clusters)
    cluster_N = np.tile(np.repeat(np.arange(clusters), size_G), runs)
    run_N = np.repeat(np.arange(runs), size_G.sum())
    value_N = generator.normal(size=clusters)[cluster_N] + generator.normal(size=len(cluster_N))
    return value_N + generator.normal(size=runs)[run_N], cluster_N, run_N


@pytest.mark.parametrize("seed", range(3))
def test_clustered_mean_equals_statsmodels(seed: int) -> None:
    value_N, cluster_N, _ = clustered_values(seed)

    ours = clustered_mean(value_N, cluster_N)

    theirs = sm.OLS(value_N, np.ones(len(value_N))).fit(cov_type="cluster", cov_kwds={"groups": cluster_N}, use_t=True)
    assert ours.mean == pytest.approx(theirs.params[0])
    assert ours.se == pytest.approx(theirs.bse[0])
    half = stats.t.ppf(0.975, ours.df) * theirs.bse[0]
    assert ours.interval(0.95) == pytest.approx((theirs.params[0] - half, theirs.params[0] + half))
    assert ours.p == pytest.approx(2 * stats.t.sf(abs(theirs.tvalues[0]), ours.df))


@pytest.mark.parametrize("alike", [True, False])
def test_clusters_of_one_size_have_the_degrees_of_freedom_of_statsmodels(*, alike: bool) -> None:
    """One less than there are; of unequal ones fewer, as the matrices of Bell and McCaffrey give them."""
    generator, count = np.random.default_rng(1), 12
    size_G = np.full(count, 4) if alike else generator.integers(1, 17, size=count)
    cluster_N = np.repeat(np.arange(count), size_G)
    value_N = generator.normal(size=count)[cluster_N] + generator.normal(size=len(cluster_N))

    df = clustered_mean(value_N, cluster_N).df

    member_GN = (cluster_N == np.arange(count)[:, None]).astype(float)
    sums_G, n = member_GN @ (value_N - value_N.mean()), len(value_N)
    between = (sums_G**2 / size_G).sum() / (count - 1)
    within = (((value_N - value_N.mean()) ** 2).sum() - (sums_G**2 / size_G).sum()) / (n - count)
    shared = max(0.0, (between - within) / ((n - (size_G**2).sum() / n) / (count - 1)))
    covariance_NN = shared / (shared + within) * member_GN.T @ member_GN
    np.fill_diagonal(covariance_NN, 1.0)
    off_mean_NN = np.eye(n) - 1 / n
    of_sums_GG = member_GN @ off_mean_NN @ covariance_NN @ off_mean_NN @ member_GN.T
    assert df == pytest.approx(np.trace(of_sums_GG) ** 2 / (of_sums_GG**2).sum())
    assert df == pytest.approx(count - 1) if alike else 3 < df < count - 3


@pytest.mark.parametrize("seed", range(3))
def test_clusters_and_runs_together_equal_statsmodels(seed: int) -> None:
    value_N, cluster_N, run_N = clustered_values(seed, runs=4)

    ours = clustered_mean(value_N, cluster_N, run_N)

    groups = np.stack([cluster_N, run_N], axis=1)
    theirs = sm.OLS(value_N, np.ones(len(value_N))).fit(cov_type="cluster", cov_kwds={"groups": groups})
    assert ours.se == pytest.approx(theirs.bse[0])
    assert ours.df == 3


def test_items_that_contradict_themselves_take_nothing_from_the_runs() -> None:
    """Each item's values of two runs cancel, so that clusters of items have no variance at all."""
    value_N = np.array([1.0, -1.0, -1.0, 3.0, -1.0, 1.0, 1.0, -3.0])
    cluster_N, run_N = np.arange(8) % 4, np.repeat([0, 1], 4)

    assert clustered_mean(value_N, cluster_N).se == 0
    assert clustered_mean(value_N, cluster_N, run_N).se == pytest.approx(clustered_mean(value_N, run_N).se)


def test_mean_of_independent_items_is_the_paired_t_test() -> None:
    generator = np.random.default_rng(5)
    a_N, b_N = generator.random(40), generator.random(40)

    ours = clustered_mean(b_N - a_N, np.arange(40))

    theirs = stats.ttest_rel(b_N, a_N)
    assert ours.p == pytest.approx(theirs.pvalue)
    assert ours.interval(0.95) == pytest.approx(tuple(theirs.confidence_interval()))


def test_interval_of_90_percent_decides_equivalence_as_statsmodels() -> None:
    value_N = np.random.default_rng(6).normal(0.1, 1, size=60)
    low, high = clustered_mean(value_N, np.arange(60)).interval(0.9)
    for margin in (0.1, 0.2, 0.3, 0.4, 0.5):
        p = DescrStatsW(value_N).ttost_mean(-margin, margin)[0]

        assert (-margin < low and high < margin) == (p < 0.05)


@pytest.mark.parametrize("n", [5, 30, 800])
def test_least_difference_equals_statsmodels(n: int) -> None:
    effect = TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8)

    assert least_difference(1 / n**0.5, n - 1) == pytest.approx(effect, rel=1e-4)


def test_least_difference_of_many_items_is_the_normal_one() -> None:
    assert least_difference(1.0, 35_000) == pytest.approx(2.8016, abs=1e-3)
    assert least_difference(1.0, 9_999) == pytest.approx(least_difference(1.0, 10_001), rel=1e-3)


@given(st.tuples(*[st.integers(0, 60)] * 4).filter(lambda counts: sum(counts) >= 2))
@settings(max_examples=60)
def test_mcnemar_equals_scipy_and_statsmodels(counts: tuple[int, int, int, int]) -> None:
    both, only_a, only_b, neither = counts
    ours = PairedProportions(both=both, only_a=only_a, only_b=only_b, neither=neither)

    low, high = ours.interval(0.95)

    assert ours.p == pytest.approx(mcnemar([[both, only_a], [only_b, neither]], exact=True).pvalue)
    assert -1 <= low <= (only_b - only_a) / ours.n <= high <= 1
    if only_a + only_b:
        assert ours.p == pytest.approx(stats.binomtest(only_a, only_a + only_b).pvalue)


def test_paired_interval_is_newcombes() -> None:
    """Table of his paper (1998), method 10: 36, 12, 2, 0 gives 0.0569 to 0.3404 for the difference of 0.20."""
    low, high = PairedProportions(both=36, only_b=12, only_a=2, neither=0).interval(0.95)

    assert (low, high) == pytest.approx((0.0569, 0.3404), abs=5e-4)


def test_mirrored_models_mirror_the_interval() -> None:
    one = PairedProportions(both=30, only_a=4, only_b=11, neither=15).interval(0.95)
    other = PairedProportions(both=30, only_a=11, only_b=4, neither=15).interval(0.95)

    assert one == pytest.approx((-other[1], -other[0]))


def test_power_at_the_least_difference_is_80_percent() -> None:
    """Simulated at the difference itself, with the share of differing items that was planned with."""
    n, share = 1000, 0.2
    planned = PairedProportions(both=400, only_a=100, only_b=100, neither=400).least_difference()
    generator = np.random.default_rng(0)
    draws = generator.multinomial(n, [(share - planned) / 2, (share + planned) / 2, 1 - share], size=2000)
    z_Z = (draws[:, 1] - draws[:, 0]) / np.sqrt(draws[:, 0] + draws[:, 1])

    assert np.mean(np.abs(z_Z) > 1.96) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(("right", "n"), [(0, 10), (3, 10), (10, 10), (400, 817)])
def test_wilson_equals_statsmodels(right: int, n: int) -> None:
    assert wilson(right, n, 0.95) == pytest.approx(proportion_confint(right, n, method="wilson"), abs=1e-12)


@pytest.mark.parametrize(("right", "n"), [(0, 12), (5, 12), (300, 900)])
def test_beta_binomial_without_clusters_is_the_beta_posterior(right: int, n: int) -> None:
    right_N = np.arange(n) < right

    assert beta_binomial(right_N, np.arange(n), 0.95) == pytest.approx(
        tuple(stats.beta.ppf([0.025, 0.975], right + 1, n - right + 1))
    )


def test_beta_binomial_lies_between_items_and_clusters() -> None:
    """Items that agree within a cluster count as one; those that do not, nearly as many."""
    cluster_N = np.repeat(np.arange(20), 10)
    agreeing_N, mixed_N = cluster_N % 2 == 0, np.arange(200) % 2 == 0

    def width(interval: tuple[float, float]) -> float:
        return interval[1] - interval[0]

    by_cluster, by_item = (stats.beta.ppf([0.025, 0.975], n / 2 + 1, n / 2 + 1) for n in (20, 200))
    assert width(beta_binomial(agreeing_N, cluster_N, 0.95)) == pytest.approx(width(by_cluster), rel=0.1)
    assert width(beta_binomial(mixed_N, cluster_N, 0.95)) == pytest.approx(width(by_item), rel=0.1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=15))
@settings(max_examples=15)
def test_holm_equals_statsmodels(p: list[float]) -> None:
    assert holm(p) == pytest.approx(list(multipletests(p, method="holm")[1]))


@pytest.mark.parametrize(
    ("aggregation", "metric"),
    [
        ("bleu", sacrebleu.BLEU()),
        ("chrf", sacrebleu.CHRF()),
        ("chrf++", sacrebleu.CHRF(word_order=2)),
        ("ter", sacrebleu.TER()),
    ],
)
def test_paired_bootstrap_equals_sacrebleu(aggregation: str, metric: sacrebleu.metrics.base.Metric) -> None:
    references, answers_a = translations(60, 0.75, seed=1)
    _, answers_b = translations(60, 0.8, seed=2)
    counts = [np.array(segment_counts(aggregation, references, answers)) for answers in (answers_a, answers_b)]

    ours = paired_bootstrap(aggregation, *counts, np.arange(60))

    test = PairedTest([("a", answers_a), ("b", answers_b)], {"m": metric}, [references], "bs", n_samples=1000)
    theirs = next(results for name, results in test()[1].items() if name != "System")
    assert (ours.a, ours.b) == pytest.approx((theirs[0].score, theirs[1].score))
    assert (ours.a_Z.mean(), ours.b_Z.mean()) == pytest.approx((theirs[0].mean, theirs[1].mean), abs=1e-4)
    assert ours.p_sacrebleu == pytest.approx(theirs[1].p_value)


def test_p_of_the_bootstrap_is_two_sided() -> None:
    """Where one side's test says 5%, both sides' says 10%."""
    generator = np.random.default_rng(3)
    shift_N = generator.normal(size=400)
    shift_N += 0.0822 - shift_N.mean()  # 1.645 standard errors

    drawn = paired_bootstrap("mean", np.zeros((400, 1)), shift_N[:, None], np.arange(400))

    assert drawn.p == pytest.approx(0.1, abs=0.03)
    assert drawn.p_sacrebleu == pytest.approx(0.05, abs=0.02)


def test_bootstrap_of_a_mean_agrees_with_its_standard_error() -> None:
    value_N, cluster_N, _ = clustered_values(8, clusters=150)

    drawn = paired_bootstrap("mean", np.zeros((len(value_N), 1)), value_N[:, None], cluster_N)

    assert drawn.se == pytest.approx(clustered_mean(value_N, cluster_N).se, rel=0.08)
    assert drawn.difference == pytest.approx(value_N.mean())


@pytest.mark.parametrize("aggregation", ["bleu", "chrf"])
def test_pseudo_values_stand_for_the_score(aggregation: str) -> None:
    references, answers = translations(300, 0.75, seed=4)
    counts_NC = np.array(segment_counts(aggregation, references, answers))

    pseudo_N = pseudo_values(aggregation, counts_NC)

    score = corpus_scores(aggregation, counts_NC.sum(axis=0, keepdims=True))[0]
    drawn = paired_bootstrap(aggregation, counts_NC, counts_NC, np.arange(300))
    assert pseudo_N.mean() == pytest.approx(score, abs=0.1)
    assert clustered_mean(pseudo_N, np.arange(300)).se == pytest.approx(drawn.a_Z.std(), rel=0.1)


def test_a_share_of_parts_is_compared_by_its_sums() -> None:
    generator = np.random.default_rng(6)
    asked_N = generator.integers(1, 4, 200)
    sides = [[list(map(bool, generator.random(asked) < chance)) for asked in asked_N] for chance in (0.4, 0.6)]
    a_NC, b_NC = (np.array(part_counts(side)) for side in sides)

    drawn = paired_bootstrap("share", a_NC, b_NC, np.arange(200))

    assert drawn.a == pytest.approx(sum(map(sum, sides[0])) / asked_N.sum())
    assert drawn.b == pytest.approx(sum(map(sum, sides[1])) / asked_N.sum())
    chance_error = (0.24 / asked_N.sum() * 2) ** 0.5
    assert drawn.se == pytest.approx(chance_error, rel=0.2)


@pytest.mark.parametrize(("metric", "scale"), [("acc", 1.0), ("mt_bench", 100.0), ("words", None)])
@pytest.mark.parametrize(("clusters", "runs"), [(2, 1), (3, 1), (10, 1), (6, 3)])
def test_intervals_of_few_clusters_end_where_the_scores_range_does(
    metric: str, scale: float | None, clusters: int, runs: int
) -> None:
    """The t interval itself, cut: of two or three clusters it would run far beyond any share."""
    generator = np.random.default_rng(clusters)
    a_N, b_N = (np.round(generator.uniform(0, 1, clusters * runs), 2) * (scale or 7.0) for _ in range(2))
    cluster_N, run_N = np.tile(np.arange(clusters), runs), np.repeat(np.arange(runs), clusters)
    pairs = Pairs(
        benchmark="b", metric=metric, aggregation=MEAN, higher_is_better=True, a_NC=a_N[:, None], b_NC=b_N[:, None],
        cluster_N=cluster_N, run_N=run_N, unit="base model" if runs > 1 else None, unit_N=run_N if runs > 1 else None,
    )  # fmt: skip
    (row,) = compare_pairs([pairs])

    of_units = run_N if runs > 1 else None
    free = {name: clustered_mean(value_N, cluster_N, of_units) for name, value_N in
            (("", b_N - a_N), ("a_", a_N), ("b_", b_N))}  # fmt: skip
    for name, mean in free.items():
        low, high = mean.interval(0.95)
        lowest, highest = (-np.inf, np.inf) if scale is None else (0.0 if name else -scale, scale)
        found = getattr(row, f"{name}low"), getattr(row, f"{name}high")
        assert found == pytest.approx((max(lowest, low), min(highest, high)))
    least = least_difference(free[""].se, free[""].df)
    assert row.mde == pytest.approx(least if scale is None or least <= scale else np.inf)
    said = " ".join(sentences([row], []))
    assert ("no possible difference" in said) == (np.isinf(row.mde) and "Excluded are" in said)
    assert "inf" not in said
