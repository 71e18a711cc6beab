"""A grid over both weights: regions, ratios, the surface, what the best weights go with, and choices tested elsewhere.

Simulated grids, of which the truth is known; scipy's Dunnett and statsmodels' mixed model stand beside.
"""

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.inference.held_out_choice import held_out_choices
from analysis.inference.share_verdicts import published_rows, share_verdicts
from analysis.inference.weight_correlations import Covariate, best_weight_correlations
from analysis.inference.weight_ratio import magnitude_test, ratio_gains
from analysis.inference.weight_regions import cell_error, comparison_quantile, good_in, in_region, panel_regions
from analysis.inference.weight_surface import crossed_covariance, fit_weight_surface
from analysis.published.wit_grid import WeightGrid, published_grid, true_average
from plw.errors import UserError

PAIRS = [(p / 5, r / 5) for p in range(6) for r in range(6) if p or r]
NINE = [(p / 2, r) for p in range(3) for r in (0.25, 0.5, 1.0)]
Cell = Callable[[float, float], float]


def grid_of(
    cell: Cell,
    noise: float = 0.0,
    seed: int = 0,
    *,
    pairs: list[tuple[float, float]] = PAIRS,
    datasets: tuple[str, ...] = ("d1", "d2", "d3"),
    models: tuple[str, ...] = ("m1", "m2", "m3", "m4"),
    benchmarks: tuple[str, ...] = ("b1", "b2", "b3"),
) -> WeightGrid:
    generator = np.random.default_rng(seed)
    rows = [
        (name, dataset, model, *pair, cell(*pair) + noise * generator.standard_normal())
        for name in benchmarks
        for dataset in datasets
        for model in models
        for pair in pairs
    ]
    columns = ["benchmark", "dataset", "model", "prompt_weight", "response_weight", "score"]
    scores = pd.DataFrame(rows, columns=columns)
    return WeightGrid(scores=scores, benchmarks=benchmarks, average=true_average(scores, benchmarks))


def by_share(p: float, r: float) -> float:
    return 50 + 8 * (p / (p + r)) if r else 30.0


def test_the_quantile_is_dunnetts() -> None:
    """Of k differences from one cell with equal groups, by scipy's integral."""
    generator = np.random.default_rng(0)
    samples = generator.standard_normal((6, 8))
    quantile = comparison_quantile(6, df=6 * 7)
    # p of the largest studentised difference equals 0.05 where the statistic is the quantile.
    found = stats.dunnett(*samples[1:], control=samples[0], alternative="greater", rng=1)
    statistic, p = found.statistic.max(), found.pvalue.min()
    assert (statistic > quantile) == (p < 0.05)
    pooled = np.sqrt(samples.var(axis=1, ddof=1).mean() * 2 / 8)
    samples[1] += (quantile * pooled) - (samples[1].mean() - samples[0].mean())
    samples[2:] -= 50
    samples[2:] += samples[0].mean() - samples[2:].mean(axis=1, keepdims=True)
    again = stats.dunnett(*samples[1:], control=samples[0], alternative="greater", rng=1)
    assert again.pvalue[0] == pytest.approx(0.05, abs=0.004)


def test_a_region_holds_the_best_pair_in_95_of_100_studies() -> None:
    """All pairs with λ_r above 0 are equally good: the first of them is as truly the best as any."""
    held, sizes = [], []
    for seed in range(25):
        regions, _ = panel_regions(grid_of(lambda p, r: 50.0 if r else 30.0, 1.0, seed))
        held += [region.holds((0.2, 0.6)) for region in regions]
        sizes += [len(region.good) for region in regions]
    assert np.mean(held) > 0.95
    assert np.mean(sizes) > 25
    assert not any(region.holds((0.2, 0.0)) for region in regions)


def test_a_clear_best_is_alone_with_its_equals() -> None:
    grid = grid_of(lambda p, r: 60.0 if (p, r) == (0.2, 0.8) else 40.0, 0.05)
    regions, error = panel_regions(grid)
    assert all(region.good == ((0.2, 0.8),) for region in regions)
    assert error.deviation_P.mean() == pytest.approx(100 * 0.05 / np.sqrt(3) / 40, rel=0.2)
    assert good_in(regions).to_dict() == {(0.2, 0.8): len(regions)}
    inside = in_region(grid.gain, regions)
    assert inside.to_numpy().sum() == len(regions)
    assert inside[(0.2, 0.8)].all()


def test_the_error_is_over_seeds_then_equal_ratios_then_items() -> None:
    grid = grid_of(by_share, 0.3)
    generator = np.random.default_rng(1)
    of_seed = pd.concat({n: grid.average + 2 * generator.standard_normal(grid.average.shape) for n in range(6)})
    of_seed = of_seed.reorder_levels([1, 2, 0]).sort_index()
    seeded = WeightGrid(scores=grid.scores, benchmarks=grid.benchmarks, average=grid.average, of_seed=of_seed)
    found = cell_error(seeded)
    assert "over seeds" in found.source
    assert (found.deviation_P * grid.average[(0.0, 1.0)] / 100).mean() == pytest.approx(2 / np.sqrt(6), rel=0.1)
    assert "equal ratio" in cell_error(grid).source
    few = grid_of(by_share, 0.3, pairs=[(0.0, 1.0), (0.2, 1.0), (0.4, 1.0)])
    with pytest.raises(UserError, match="no cells of equal ratio, no second seed and no standard errors"):
        cell_error(few)
    item_error = few.average * 0 + 1.5
    by_items = cell_error(
        WeightGrid(scores=few.scores, benchmarks=few.benchmarks, average=few.average, item_error=item_error)
    )
    assert "over items" in by_items.source
    assert by_items.df == np.inf
    assert by_items.deviation_P.to_numpy() == pytest.approx(100 * 1.5 / few.average[(0.0, 1.0)].to_numpy())


def test_cells_that_are_one_training_to_the_digit_tell_nothing_of_chance() -> None:
    """Where rounding alone tells equal ratios apart, the errors over items count, and the magnitude is not tested."""
    grid = grid_of(by_share)
    item_error = grid.average * 0 + 1.5
    known = WeightGrid(scores=grid.scores, benchmarks=grid.benchmarks, average=grid.average, item_error=item_error)
    assert "over items" in cell_error(known).source
    assert "equal ratio" in cell_error(grid).source
    regions, _ = panel_regions(known)
    assert all(region.holds((0.8, 0.4)) and not region.holds((0.2, 0.0)) for region in regions)
    test = magnitude_test(known)
    assert test.identical
    assert not test.shown
    assert not magnitude_test(grid_of(by_share, 0.1)).identical


def test_ratios_are_means_over_equal_ratios_and_a_trend_is_shown() -> None:
    found = ratio_gains(grid_of(by_share, 0.2))
    assert len(found.rows) == 19, "of 21 ratios less that of λ_p = 0 and that without a response"
    assert [row.cells for row in found.rows if row.ratio in (0.5, 1.0, 2.0)] == [2, 5, 2]
    assert [row.mean for row in found.rows] == pytest.approx([100 * 8 * row.share / 50 for row in found.rows], abs=0.6)
    assert found.rows[-1].shown
    assert found.excluded > found.rows[-1].high
    flat = ratio_gains(grid_of(lambda p, r: 50.0, 0.2))
    assert not any(row.shown for row in flat.rows)


def test_of_two_base_models_the_interval_is_of_these_alone() -> None:
    found = ratio_gains(grid_of(by_share, 0.2, models=("m1", "m2")))
    assert "2 base models alone" in found.over
    assert found.rows[-1].shown


def test_a_magnitude_that_matters_is_found_and_one_that_does_not_is_not() -> None:
    assert magnitude_test(grid_of(lambda p, r: 50 + p + r, 0.5)).p_permuted < 0.001
    tests = [magnitude_test(grid_of(by_share, 0.5, seed, datasets=("d1",))) for seed in range(20)]
    assert np.mean([test.p_permuted < 0.1 for test in tests]) < 0.3
    assert stats.kstest([test.p for test in tests], "uniform").pvalue > 0.001
    assert [test.p_permuted for test in tests] == pytest.approx([test.p for test in tests], abs=0.05)
    assert (tests[0].df1, tests[0].df2, tests[0].ratios) == (10, 30, 4)


def test_the_f_test_is_that_of_an_analysis_of_variance() -> None:
    """statsmodels: blocks (panel x ratio) against blocks and cells."""
    import statsmodels.api as sm
    from statsmodels.formula.api import ols

    grid = grid_of(by_share, 0.5, datasets=("d1",))
    average = 100 * grid.average.loc[:, [r > 0 for _, r in grid.average.columns]]
    average = average.div(average.mean(axis=1), axis=0)
    long = average.stack(["prompt_weight", "response_weight"]).rename("y").reset_index()
    share = (long["prompt_weight"] / (long["prompt_weight"] + long["response_weight"])).round(6)
    long = long.assign(
        share=share.astype(str), cell=long["prompt_weight"].astype(str) + long["response_weight"].astype(str)
    )
    several = long[long.groupby(["model", "share"])["y"].transform("size") > 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cells of a ratio sum to it
        fit = [ols(f"y ~ C(model):C(share){cells}", several).fit() for cells in ("", " + C(cell)")]
        table = sm.stats.anova_lm(*fit)
    found = magnitude_test(grid)
    assert found.f == pytest.approx(table["F"].iloc[1], rel=1e-6)
    assert found.df1 == table["df_diff"].iloc[1]


def parabola(p: float, r: float) -> float:
    return 50 - 10 * (p - 0.4) ** 2 - 4 * (r - 0.7) ** 2 if r else 20.0


def test_a_surface_finds_its_top_and_what_it_gains() -> None:
    surface = fit_weight_surface(grid_of(parabola, 0.1), ("b1", "b2", "b3"), "all")
    assert surface.top == pytest.approx((0.4, 0.7), abs=0.05)
    interval = surface.interval()
    assert interval["λ_p"][0] <= 0.4 <= interval["λ_p"][1] <= 0.6
    gain = surface.gain_over((0.0, 1.0))
    assert gain.gain == pytest.approx(parabola(0.4, 0.7) - parabola(0.0, 1.0), abs=0.1)
    assert gain.low_chosen < gain.low < gain.gain < gain.high < gain.high_chosen
    assert surface.explained > 0.95
    assert surface.samples == ("3 benchmarks", "3 datasets", "4 base models")


def test_its_error_is_that_of_the_mixed_model() -> None:
    """A mean over crossed random levels: statsmodels' REML where no component is 0."""
    import statsmodels.formula.api as smf

    generator = np.random.default_rng(4)
    labels = pd.DataFrame(
        [(f"b{b}", f"d{d}", f"m{m}") for b in range(5) for d in range(4) for m in range(6)],
        columns=["benchmark", "dataset", "model"],
    )
    levels = [labels[name].map(dict(zip(names, scale * generator.standard_normal(len(names)), strict=True)))
              for name, scale in zip(labels, (1.0, 1.5, 0.8), strict=True)
              for names in [labels[name].unique()]]  # fmt: skip
    value_U = (sum(levels) + 0.7 * generator.standard_normal(len(labels))).to_numpy()
    covariance, df, samples = crossed_covariance(value_U[:, None], labels, np.ones((1, 1)))
    fit = smf.mixedlm(
        "value ~ 1", labels.assign(value=value_U, one=1), groups="one",
        vc_formula={name: f"0 + C({name})" for name in labels},
    ).fit(reml=True)  # fmt: skip
    assert np.sqrt(covariance[0, 0]) == pytest.approx(float(fit.bse["Intercept"]), rel=0.01)
    assert 3 < df < 10
    assert len(samples) == 3


def test_intervals_of_the_gain_cover_the_truth() -> None:
    """Benchmarks and base models with surfaces of their own; the gain at a place is that of the mean over all."""
    generator = np.random.default_rng(0)
    held = []
    for _ in range(15):
        grid = grid_of(parabola, 0.3, int(generator.integers(2**31)), pairs=NINE, datasets=("d1", "d2"))
        own = {name: generator.standard_normal(2) for name in ("b1", "b2", "b3", "m1", "m2", "m3", "m4")}
        slope = np.array([own[b] + own[m] for b, m in zip(grid.scores["benchmark"], grid.scores["model"], strict=True)])
        weights = grid.scores[["prompt_weight", "response_weight"]].to_numpy()
        scores = grid.scores.assign(score=grid.scores["score"] + (slope * weights).sum(axis=1))
        moved = WeightGrid(scores=scores, benchmarks=grid.benchmarks, average=true_average(scores, grid.benchmarks))
        surface = fit_weight_surface(moved, moved.benchmarks, "all")
        gain = surface.gain_over((0.0, 1.0))
        true = parabola(*surface.top) - parabola(0.0, 1.0)
        held.append((gain.low <= true <= gain.high, gain.low_chosen <= true <= gain.high_chosen))
    at_place, together = np.mean(held, axis=0)
    assert at_place > 0.75
    assert together > 0.9


def test_what_does_not_determine_a_surface_is_said() -> None:
    with pytest.raises(UserError, match="do not determine it"):
        fit_weight_surface(grid_of(by_share, pairs=[(0.0, 1.0), (0.5, 1.0), (1.0, 1.0)]), ("b1",), "all")
    with pytest.raises(UserError, match="it needs two of either"):
        fit_weight_surface(grid_of(by_share, datasets=("d",), models=("m",), benchmarks=("b",)), ("b",), "all")
    two = fit_weight_surface(grid_of(parabola, 0.2, datasets=("d",), models=("m",)), ("b1", "b2"), "all")
    assert two.samples == ()
    assert two.gain_over((1.0, 1.0)).gain > 0


def test_best_weights_that_go_with_a_covariate_are_found_and_few_points_are_said() -> None:
    models = tuple(f"m{n}" for n in range(6))
    grid = grid_of(lambda p, r: 50.0 if r else 20.0, 0.01, models=models)
    lift = {name: 0.2 * number for number, name in enumerate(models)}
    best = [np.isclose(p, lift[model]) & (r > 0.9) for p, r, model in
            grid.scores[["prompt_weight", "response_weight", "model"]].itertuples(index=False)]  # fmt: skip
    scores = grid.scores.assign(score=grid.scores["score"] + 5 * np.array(best))
    grid = WeightGrid(scores=scores, benchmarks=grid.benchmarks, average=true_average(scores, grid.benchmarks))
    found = best_weight_correlations(
        grid,
        (
            Covariate(name="size", level="model", values={name: number for number, name in enumerate(models)}),
            Covariate(name="records", level="dataset", values={"d1": 1, "d2": 2, "d3": 3}),
            Covariate(name="ratio", level="dataset", values={"d1": 1.0}),
            Covariate(name="flat", level="dataset", values=dict.fromkeys(("d1", "d2", "d3"), 1.0)),
        ),
    )
    by_target = {row.target: row for row in found.rows if row.covariate == "size"}
    assert by_target["λ_p"].rho == pytest.approx(1)
    assert by_target["λ_p"].p == pytest.approx(2 / 720)
    assert by_target["λ_p"].p == by_target["λ_p"].smallest_p
    assert by_target["share of the prompt"].rho == pytest.approx(1)
    assert [note.partition(":")[0] for note in found.notes] == ["records", "ratio", "flat"]
    assert "known of 1 dataset; " in found.notes[1]


def test_rank_correlations_are_scipys() -> None:
    grid = published_grid()
    size = {"Llama-3.2-1B": 1.2, "Gemma-2-2B": 2.6, "Llama-3.2-3B": 3.2, "Mistral-7B": 7.2, "Llama-3-8B": 8.0}
    found = best_weight_correlations(grid, (Covariate(name="size", level="model", values=size),))
    gain = grid.gain
    best = pd.Series([gain.columns[number][0] for number in gain.to_numpy().argmax(axis=1)], index=gain.index)
    of_dataset = [
        stats.spearmanr([size[model] for model in own.index.get_level_values("model")], own).statistic
        for _, own in best.groupby(level="dataset")
    ]
    assert {row.target: row.rho for row in found.rows}["λ_p"] == pytest.approx(np.nanmean(of_dataset))


def test_a_choice_by_luck_gains_nothing_elsewhere() -> None:
    choices = held_out_choices(grid_of(lambda p, r: 50.0 if r else 20.0, 1.0, datasets=("d1", "d2", "d3", "d4")))
    at_home = {choice.rule: choice.mean for choice in choices if not choice.measured_elsewhere}
    assert at_home["a pair for each panel"] > 1
    elsewhere = [choice for choice in choices if choice.measured_elsewhere]
    assert {choice.left_out for choice in elsewhere} == {"model", "dataset", "benchmark"}
    assert all(choice.mean < at_home["a pair for each panel"] / 2 for choice in elsewhere)
    one = held_out_choices(grid_of(by_share, 0.1, datasets=("d",), models=("m",), benchmarks=("b",)))
    assert [choice.measured_elsewhere for choice in one] == [False, False]


def test_a_choice_that_is_good_everywhere_keeps_its_gain() -> None:
    choices = held_out_choices(grid_of(lambda p, r: 60.0 if (p, r) == (0.4, 0.8) else 50.0, 0.1))
    assert all(choice.mean == pytest.approx(20, abs=0.5) for choice in choices)


def test_the_published_grid_corrected_for_the_choice() -> None:
    """The first two are facts found by hand."""
    means = {(choice.rule, choice.left_out): choice.mean for choice in held_out_choices(published_grid())}
    assert means["one pair for all", "model"] == pytest.approx(0.76, abs=0.005)
    assert means["one pair for all", "dataset"] == pytest.approx(2.04, abs=0.005)
    assert means["a pair for each panel", "benchmark"] < 0 < means["a pair for each dataset", "model"] < 0.76


def test_verdicts_are_over_the_share_of_the_prompt() -> None:
    rows = published_rows()
    share = rows["prompt_weight"] / (rows["prompt_weight"] + rows["response_weight"])
    # Without an error five base models are five signs, p = 1/16.
    noise = np.random.default_rng(0).normal(scale=1e-6, size=len(rows))
    risen = rows.assign(score01=0.3 + 0.2 * share + noise, value=30 + 20 * share + 100 * noise)
    verdicts = {verdict.name: verdict for verdict in share_verdicts(risen) if verdict.dataset == "LIMA"}
    verdict = verdicts["generation"]
    assert verdict.moved
    assert verdict.direction == "up"
    assert verdict.best_weight == pytest.approx(5 / 6, abs=1e-3)
    assert share_verdicts(rows[rows["prompt_weight"] == 0]) == []
