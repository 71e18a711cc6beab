"""What a weight gains over weight 0, beside scipy's t test and beside numbers taken straight from the files."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.published.pocket import mean_curves, pocket_gain, pocket_ratios, read_pocket
from analysis.published.weight_gain import weight_gain
from analysis.published.wit_grid import WIT_GRID
from analysis.published.wit_weights import ALPACA_CLEANED, KIND_BENCHMARKS, wit_curves, wit_gain
from plw.errors import UserError
from plw.registry.export import COLUMNS

HEADER = ",".join(COLUMNS)


def test_intervals_are_students_at_a_level_shared_out_over_the_weights() -> None:
    difference_SW = np.random.default_rng(0).normal([0.5, 2.0, 1.0], 1.0, size=(6, 3))
    found = weight_gain(difference_SW, [0.1, 0.2, 1.0])
    best = int(difference_SW.mean(axis=0).argmax())
    interval = stats.ttest_1samp(difference_SW[:, best], 0).confidence_interval(1 - 0.05 / 3)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.weight == [0.1, 0.2, 1.0][best]
    assert found.gain == pytest.approx(difference_SW[:, best].mean())
    assert found.shown == (interval.low > 0)
    assert found.excluded >= max(abs(found.low), abs(found.high))


def test_one_training_has_the_error_of_its_items_or_none() -> None:
    error_W = np.array([0.5, 0.25])
    found = weight_gain(np.array([[1.0, 2.0]]), [0.1, 1.0], error_W)
    assert found.low == pytest.approx(2 - stats.norm.ppf(1 - 0.05 / 4) * 0.25)
    assert found.shown
    assert not weight_gain(np.array([[1.0, 2.0]]), [0.1, 1.0]).shown


def test_wits_curves_are_means_of_its_printed_numbers() -> None:
    """Of one panel and benchmark, read without the project's own reader."""
    scores: defaultdict[float, list[float]] = defaultdict(list)
    with WIT_GRID.open() as file:
        for row in csv.DictReader(file):
            if (row["benchmark"], row["dataset"], row["model"]) != ("IFEval", ALPACA_CLEANED, "Llama-3.2-1B"):
                continue
            if row["prompt_weight"] == "base" or float(row["response_weight"]) < float(row["prompt_weight"]):
                continue
            ratio = round(float(row["prompt_weight"]) / float(row["response_weight"]), 6)
            scores[ratio].append(float(row["score"]))
    weights, score_PW = wit_curves(("IFEval",), ALPACA_CLEANED)
    assert weights == sorted(scores)
    expected = [np.mean(scores[weight]) for weight in weights]
    assert any(np.allclose(score_W, expected) for score_W in score_PW)
    assert score_PW.shape == (5, len(weights))
    for kind in KIND_BENCHMARKS:
        assert 0 < wit_gain(kind).weight <= 1


def table(tmp_path: Path, rows: list[str]) -> Path:
    path = tmp_path / "pocket.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def test_scores_of_a_study_that_is_not_there_are_none(tmp_path: Path) -> None:
    assert read_pocket(tmp_path / "pocket.csv") is None
    (tmp_path / "pocket.csv").write_text("dataset,value\nshort,1\n")
    with pytest.raises(UserError, match=r"pocket\.csv: no column model"):
        read_pocket(tmp_path / "pocket.csv")


def test_a_study_as_it_is_exported_is_read_by_kind_of_task(tmp_path: Path) -> None:
    def line(weight: float, seed: int, benchmark: str, metric: str, value: float, headline: str = "true") -> str:
        cell = {"dataset": "short", "model": "smol", "prompt_weight": weight, "response_weight": 1.0, "seed": seed}
        cell |= {"recipe": "pocket", "r_g": 0.09, "benchmark": benchmark, "metric": metric, "value": value}
        cell |= {"stderr": 0.01, "n": 100, "headline": headline}
        return ",".join(str(cell.get(column, "")) for column in COLUMNS)

    rows = []
    for seed in (1, 2, 3):
        for weight in (0.0, 0.1, 1.0):
            rows.append(line(weight, seed, "piqa", "acc_norm", 0.6 + 0.05 * weight + 0.001 * seed))
            rows.append(line(weight, seed, "alpaca_eval", "win_rate", 10 + 20 * weight + seed))
            rows.append(line(weight, seed, "piqa", "acc", 0.0, "false"))
    rows.append(line(0.0, 4, "piqa", "acc_norm", 0.9))  # a training that has not every weight
    found = read_pocket(table(tmp_path, rows))
    assert found is not None
    assert pocket_ratios(found) == {"short": 0.09}
    choice, generation = (pocket_gain(found, "short", kind) for kind in ("multiple choice", "generation"))
    assert choice is not None
    assert generation is not None
    assert (choice.weight, choice.samples) == (1.0, 3)
    assert choice.gain == pytest.approx(5.0)
    assert generation.gain == pytest.approx(20.0)
    both = pocket_gain(found, "short", "all")
    assert both is not None
    assert both.gain == pytest.approx(12.5)
    assert pocket_gain(found, "cleaned", "all") is None
    assert mean_curves(found[found["kind"] == "generation"]).loc[("smol", 2, "pocket")].tolist() == [12, 14, 32]
