"""Verdicts by kind of benchmark: the omnibus test, scores that leave no error, and what the words say."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from simulated_curves import fitted, rows
from simulated_study import GROUPS, simulate

from analysis.inference.omnibus import combined_p, omnibus_p
from analysis.inference.verdicts import ScopeVerdict, scope_verdicts
from analysis.inference.weight_curve import fit_curve
from analysis.report.verdict_text import dataset_sentences, study_sentences
from analysis.scores.frame import EXPONENT, TidyFrame, tidy_frame
from analysis.scores.study import read_study
from plw.registry.rows import CellRow

Effect = Callable[[CellRow, str], float]


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
    p = [omnibus_p(*opposed(seed, 0.0), permutations=199) for seed in range(300)]

    assert np.mean(np.array(p, dtype=float) < 0.05) == pytest.approx(0.05, abs=0.038)


@pytest.mark.parametrize("slope_sd", [0.0, 0.05])
def test_the_combined_test_holds_its_level_where_bases_differ(slope_sd: float) -> None:
    """Benchmarks whose curves differ by base, and whose mean over bases is flat."""
    p = []
    for seed in range(300):
        tables = [rows(6, slope_sd=slope_sd, seed=seed * 10 + number) for number in range(3)]
        mean = tables[0].assign(score=np.mean([table["score"] for table in tables], axis=0))
        p.append(combined_p(fitted(mean).p, [fitted(table).p for table in tables]))

    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.038)


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


@pytest.mark.parametrize("metric", ["acc", "win_rate"])
def test_no_verdict_names_a_score_that_cannot_be(metric: str) -> None:
    """A win rate near 0 up to half of the weights: the parabola dips below 0, what is said does not."""
    w_N, base_N = np.tile(np.linspace(0, 1, 10), 2), [base for base in ("a", "b") for _ in range(10)]
    score_N = 0.04 + 2 * np.maximum(0, w_N - 0.55) + np.random.default_rng(0).normal(0, 0.01, 20)
    scale = 100 if metric == "win_rate" else 1
    table = pd.DataFrame(
        {"dataset": "d", "model": base_N, "seed": 0, "w_p": w_N, "benchmark": "b", "group": "g", "metric": metric,
         "value": scale * score_N, "score01": score_N}
    )  # fmt: skip
    curve = fit_curve(score_N, w_N, base_N, base_N)
    assert curve is not None
    assert curve.at_start + curve.difference_M.min() < 0
    for verdict in scope_verdicts(TidyFrame(rows=table, missing=table.head(0), notes=())):
        named = (verdict.at_0, verdict.at_best, verdict.at_1, verdict.at_lowest, verdict.excluded)
        assert verdict.scale == scale
        assert all(0 <= score <= verdict.scale for score in named if score is not None), verdict
