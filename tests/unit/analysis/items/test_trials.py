"""Several trainings on shared items: their scores, and the error without what the items share."""

from pathlib import Path

import numpy as np
import pytest

from analysis.items.benchmark import BenchmarkItems, ModelItems
from analysis.items.trials import shared_scores
from plw.errors import UserError
from plw.results.corpus_metrics import corpus_scores, segment_counts

N = 400


def model(name, values, *, metric="acc", keys=None, clusters=None, **fields):
    count = len(values)
    items = BenchmarkItems(
        benchmark="b", metric=metric, key_N=np.array(keys or [f"k{n}" for n in range(count)], dtype=object),
        cluster_N=np.array(clusters or [None] * count, dtype=object), value_N=np.array(values, dtype=float),
        **{"aggregation": "mean", "higher_is_better": True, **fields},
    )  # fmt: skip
    return ModelItems(label=name, folder=Path(name), benchmarks={"b": items})


def noisy(trainings, generator, item_sd=0.3, rest_sd=0.05):
    worth_N = generator.normal(0.5, item_sd, N)
    return [worth_N + 0.01 * place + generator.normal(0, rest_sd, N) for place in range(trainings)]


def test_the_error_is_that_of_the_rest_however_hard_the_items_are():
    values = noisy(4, np.random.default_rng(0))
    (found,) = shared_scores([model(f"m{place}", of) for place, of in enumerate(values)])
    assert found.score_K == pytest.approx([of.mean() for of in values])
    assert found.se == pytest.approx(0.05 / N**0.5, rel=0.1)
    (alone,) = shared_scores([model("m", values[0])])
    assert alone.se == pytest.approx(np.std(values[0], ddof=1) / N**0.5)


def test_items_are_paired_by_key_and_what_one_lacks_is_left_out():
    values = noisy(2, np.random.default_rng(1))
    keys = [f"k{n}" for n in range(N)]
    turned = model("b", values[1][::-1][:-10], keys=keys[::-1][:-10])
    (found,) = shared_scores([model("a", values[0]), turned])
    assert found.n == N - 10
    assert found.score_K == pytest.approx([values[0][10:].mean(), values[1][10:].mean()])
    assert found.se == pytest.approx(0.05 / N**0.5, rel=0.15)


def test_items_of_one_cluster_count_together():
    generator = np.random.default_rng(2)
    shift_GK = generator.normal(0, 0.2, (20, 2))
    values = [np.repeat(shift_GK[:, place], N // 20) for place in range(2)]
    clusters = [f"c{n // (N // 20)}" for n in range(N)]
    (found,) = shared_scores([model(f"m{place}", of, clusters=clusters) for place, of in enumerate(values)])
    assert found.se == pytest.approx(np.std(values[0] - values[1]) / 2**0.5 / 20**0.5, rel=0.1)
    assert (found.n, found.units) == (N, 20)


@pytest.mark.parametrize("count", [2, 4, 30])
@pytest.mark.parametrize("outcomes", [(0.0, 1.0), (0.0, 0.0, 1.0), (0.25, 0.5, 0.75)])
def test_a_handful_of_items_that_all_turn_alike_is_no_certainty(count, outcomes):
    (found,) = shared_scores([model(f"m{place}", [value] * count) for place, value in enumerate(outcomes)])
    assert found.score_K == pytest.approx(outcomes)
    assert found.se == pytest.approx((max(outcomes) - min(outcomes)) / count)
    (alike,) = shared_scores([model(f"m{place}", [outcomes[-1]] * count) for place in outcomes])
    assert alike.se == 0


def test_from_two_items_that_differ_on_the_error_is_that_of_the_rest():
    first = [1.0] * 20 + [0.0] * 20
    second = [*first[:-2], 1.0, 1.0]
    (found,) = shared_scores([model("a", first), model("b", second)])
    difference_N = np.array(second) - np.array(first)
    assert found.se == pytest.approx(np.std(difference_N, ddof=1) / 40**0.5 / 2**0.5, rel=0.05)


def test_percentages_and_falling_metrics_become_shares_where_higher_is_better():
    (rate,) = shared_scores([model("a", [100.0, 0.0, 50.0], metric="win_rate")])
    assert rate.score_K == pytest.approx([0.5])
    (fallen,) = shared_scores([model("a", [0.25, 0.25, 0.25], higher_is_better=False)])
    assert fallen.score_K == pytest.approx([0.75])


def test_a_corpus_metric_is_that_of_the_common_segments():
    references = [f"the cat number {n} sat on the mat" for n in range(40)]
    answers = [[text.replace("sat", "stood") for text in references], [text[:12] for text in references]]
    counts = [np.array(segment_counts("chrf", references, of)) for of in answers]
    chrf = {"metric": "chrf", "aggregation": "chrf"}
    (found,) = shared_scores([model(str(n), [np.nan] * 40, counts_NC=of, **chrf) for n, of in enumerate(counts)])
    assert found.score_K == pytest.approx([corpus_scores("chrf", of.sum(axis=0)[None])[0] / 100 for of in counts])
    # All differ by about the same, so what one segment is worth is the most that is known.
    assert found.se == pytest.approx((found.score_K[0] - found.score_K[1]) / 40, rel=0.05)


def test_a_share_of_parts_is_that_of_all_items_parts_and_its_error_that_of_the_ratio():
    generator = np.random.default_rng(3)
    asked_N = generator.integers(1, 4, N)
    right_KN = generator.binomial(asked_N, [[0.4], [0.6]])
    counts = [np.stack([right_N, asked_N], axis=1).astype(float) for right_N in right_KN]
    share = {"metric": "inst_level_loose_acc", "aggregation": "share"}
    (found,) = shared_scores([model(str(n), [np.nan] * N, counts_NC=of, **share) for n, of in enumerate(counts)])
    assert found.score_K == pytest.approx(right_KN.sum(axis=1) / asked_N.sum())
    picks_ZN = generator.integers(0, N, (4000, N))
    ratio_KZ = np.stack([of[picks_ZN].sum(axis=1) for of in right_KN]) / asked_N[picks_ZN].sum(axis=1)
    # Of two trainings the rest of each is half of their difference.
    assert found.se == pytest.approx((ratio_KZ[1] - ratio_KZ[0]).std() / 2**0.5, rel=0.1)


def test_trainings_that_cannot_be_compared_are_refused():
    one, other = model("a", [1.0, 0.0]), model("b", [1.0, 0.0], keys=["x", "y"])
    with pytest.raises(UserError, match="fewer than two items"):
        shared_scores([one, other])
    with pytest.raises(UserError, match="b: no items of b"):
        shared_scores([one, ModelItems(label="b", folder=Path("b"), benchmarks={})])
    other = [model(name, [0.5, 0.5], metric="mcc", aggregation="matthews_corrcoef") for name in "ab"]
    with pytest.raises(UserError, match="mcc is neither a mean over items"):
        shared_scores(other)
