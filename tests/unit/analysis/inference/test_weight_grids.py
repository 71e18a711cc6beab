"""A grid over both weights: regions of good pairs, what the best go with, and verdicts by the share of the prompt.

Simulated grids, of which the truth is known; scipy's Dunnett stands beside.
"""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from simulated_grids import by_share, grid_of

from analysis.inference.share_verdicts import published_rows, share_verdicts
from analysis.inference.weight_correlations import Covariate, best_weight_correlations
from analysis.inference.weight_ratio import magnitude_test
from analysis.inference.weight_regions import cell_error, comparison_quantile, good_in, in_region, panel_regions
from analysis.published.wit_grid import WeightGrid, published_grid, true_average
from plw.errors import UserError


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
    assert (test.f, test.p, test.shown) == (0, 1, False)
    assert not magnitude_test(grid_of(by_share, 0.1)).identical


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
