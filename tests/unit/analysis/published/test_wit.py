"""The published WIT grid: what its numbers say, against facts found by hand, and a report that can be looked at."""

import json
import sys
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.published.wit_findings import (
    equal_ratio_scatter,
    fixed_cell,
    left_out_benchmarks,
    left_out_gains,
    magnitude_slope,
    wit_findings,
)
from analysis.published.wit_grid import (
    AVERAGE,
    BENCHMARKS,
    CONVENTIONAL,
    panels,
    prompt_share,
    read_wit_grid,
    relative_gain,
    true_average,
)
from plw import cli

PAIRS = pd.MultiIndex.from_tuples(
    [(p / 5, r / 5) for p in range(6) for r in range(6) if p or r], names=["prompt_weight", "response_weight"]
)


def simulated(cell, noise=0.0, seed=0):
    """Scores of 5 x 3 panels: ``cell(share, size)`` and noise."""
    generator = np.random.default_rng(seed)
    rows = pd.MultiIndex.from_product([["d1", "d2", "d3"], list("abcde")], names=["dataset", "model"])
    sizes = np.array([sum(pair) for pair in PAIRS])
    means = np.array(
        [cell(share, size) for share, size in zip(prompt_share(pd.DataFrame(columns=PAIRS)), sizes, strict=True)]
    )
    return pd.DataFrame(means + noise * generator.standard_normal((len(rows), len(PAIRS))), index=rows, columns=PAIRS)


def test_the_grid_is_whole():
    grid = read_wit_grid()
    for name in (*BENCHMARKS, AVERAGE):
        scores = panels(grid, name)
        assert scores.shape == (15, 35)
        assert scores.notna().all(axis=None)
    assert len(set(prompt_share(panels(grid, AVERAGE)))) == 21


def test_the_findings_are_those_found_by_hand():
    found = wit_findings()
    assert found.average_divisor == pytest.approx(4, abs=0.002)
    assert found.best_gain_mean == pytest.approx(6.76, abs=0.005)
    assert found.best_gain_median == pytest.approx(2.61, abs=0.005)
    assert found.gemma_alpaca_gain == pytest.approx(4.14, abs=0.006)
    assert (found.winners_at_zero_prompt, found.winners) == (7, 15)
    assert (found.best_fixed.prompt_weight, found.best_fixed.response_weight) == (0.2, 0.8)
    assert found.best_fixed.mean == pytest.approx(2.30, abs=0.005)
    assert found.best_fixed.median == pytest.approx(1.03, abs=0.005)
    assert found.best_fixed.wins == 8
    assert found.leave_one_model_out == pytest.approx(0.76, abs=0.005)
    assert found.leave_one_dataset_out == pytest.approx(2.04, abs=0.005)
    assert found.ifeval_share == pytest.approx(69, abs=0.5)
    assert found.equal_ratio_scatter == pytest.approx(2.0, abs=0.05)


def test_the_printed_average_is_the_sum_over_four():
    grid = read_wit_grid()
    ratio = true_average(grid) * 5 / panels(grid, AVERAGE)
    assert ratio.to_numpy() == pytest.approx(4, abs=0.003)


def test_the_scatter_of_pure_noise_is_that_noise():
    """Free of the bias of few: groups of two and of five give the standard deviation that was put in."""
    made = [equal_ratio_scatter(simulated(lambda share, size: 50.0, noise=1.0, seed=seed)).mean() for seed in range(20)]
    assert np.mean(made) == pytest.approx(2.0, rel=0.05)


def test_cells_of_equal_ratio_alone_count_for_the_scatter():
    assert equal_ratio_scatter(simulated(lambda share, size: 50 + 10 * share)).max() == pytest.approx(0, abs=1e-9)


def test_a_magnitude_that_matters_is_found_and_a_ratio_is_none():
    by_size = relative_gain(simulated(lambda share, size: 50 + np.log2(size), noise=0.01))
    assert magnitude_slope(by_size).slope == pytest.approx(2.0, abs=0.02)
    assert magnitude_slope(by_size).p < 0.001
    by_share = relative_gain(simulated(lambda share, size: 50 + 10 * share, noise=0.01))
    assert abs(magnitude_slope(by_share).slope) < 0.02


def test_a_choice_is_never_measured_on_what_chose_it():
    """One model alone loves a cell: left out, the others' cell is used on it."""
    gain = pd.DataFrame(0.0, index=simulated(lambda *_: 1.0).index, columns=PAIRS)
    gain.loc[gain.index.get_level_values("model") == "a", [(0.6, 0.2)]] = 100.0
    gain[(0.2, 0.8)] = 1.0
    left_out = left_out_gains(gain, "model")
    assert left_out.xs("a", level="model").eq(1.0).all()
    assert len(left_out) == 15


def test_a_fixed_cell_in_which_nothing_differs_has_an_interval_of_one_point():
    gain = pd.DataFrame(3.0, index=simulated(lambda *_: 1.0).index, columns=PAIRS)
    cell = fixed_cell(gain, (0.2, 0.8))
    assert (cell.low, cell.mean, cell.high, cell.wins) == (3.0, 3.0, 3.0, 15)


def test_two_models_and_two_datasets_give_no_interval_over_others():
    gain = pd.DataFrame(3.0, index=simulated(lambda *_: 1.0).index, columns=PAIRS)
    kept = gain.index.isin(["d1", "d2"], level="dataset") & gain.index.isin(["a", "b"], level="model")
    assert np.isnan(fixed_cell(gain[kept], (0.2, 0.8)).low)
    assert fixed_cell(gain[gain.index.isin(["a"], level="model")], (0.2, 0.8)).low == 3.0


def test_the_usual_loss_gains_nothing_over_itself():
    gain = relative_gain(panels(read_wit_grid(), AVERAGE))
    assert gain[CONVENTIONAL].eq(0).all()
    assert [row["benchmark"] for row in left_out_benchmarks(read_wit_grid())] == list(BENCHMARKS)


def call(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["plw", "report", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return stopped.value.code or 0


@pytest.mark.slow
def test_the_report_has_findings_tables_maps_and_a_page(monkeypatch, tmp_path: Path):
    assert call(monkeypatch, "--published", "wit", "--out", tmp_path / "out") == 0
    found = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert found["best_fixed"]["wins"] == 8
    page = (tmp_path / "out" / "index.html").read_text()
    assert "<script" not in page
    # Two means over the five benchmarks, -3.36 and -4.27 %: each says of what.
    own = f"{found['leave_one_benchmark_out']:.2f} % of that benchmark's own score, in the mean of the five"
    assert own in unescape(page)
    assert "-4.27 % of the average (-10.43 to 1.20) on a benchmark that had no part in it" in page
    for path in (tmp_path / "out").iterdir():
        assert path.stat().st_size > 0
        assert path.name in page or path.name in ("index.html", "source.json")
    assert (tmp_path / "out" / "wit_map_average.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "named"),
    [(("--published", "plw"), "wit"), (("--published", "wit", "study=plw"), "study=plw")],
    ids=["unknown", "overrides"],
)
def test_bad_input_is_one_line(monkeypatch, capsys, tmp_path, words, named):
    assert call(monkeypatch, *words, "--out", tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert named in told
    assert "Traceback" not in told
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_folders_place_is_told(monkeypatch, capsys, tmp_path):
    (tmp_path / "out").write_text("mine")
    assert call(monkeypatch, "--published", "wit", "--out", tmp_path / "out") == 2
    assert str(tmp_path / "out") in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"
