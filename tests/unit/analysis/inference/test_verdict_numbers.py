"""The numbers of a verdict are those of its curve, in the unit of its benchmark."""

import numpy as np
import pandas as pd
import pytest

from analysis.inference.verdicts import ScopeVerdict, Undecided, scope_verdicts
from analysis.inference.weight_curve import fit_curve
from analysis.scores.frame import TidyFrame

W_W = np.linspace(0, 1, 5)


def verdict_of(score_N: np.ndarray, w_N: np.ndarray, base_N: list[str], metric: str = "acc") -> ScopeVerdict:
    """Of one benchmark, from the scores of cells."""
    table = pd.DataFrame(
        {"dataset": "d", "model": base_N, "seed": 0, "w_p": w_N, "benchmark": "b", "group": "g", "metric": metric,
         "value": score_N, "score01": score_N}
    )  # fmt: skip
    frame = TidyFrame(rows=table, missing=table.head(0), notes=())
    (verdict,) = [verdict for verdict in scope_verdicts(frame) if verdict.scope == "benchmark"]
    return verdict


@pytest.mark.parametrize(("metric", "scale"), [("acc", 1), ("bleu", 100)])
@pytest.mark.parametrize("slope", [0.2, -0.2])
def test_the_numbers_are_those_of_the_curve(slope: float, metric: str, scale: int) -> None:
    generator = np.random.default_rng(0)
    score_AW = 0.5 + (slope + generator.normal(0, 0.03, (6, 1))) * W_W + generator.normal(0, 0.005, (6, 5))
    base_N = [f"base {number}" for number in range(6) for _ in W_W]
    score_N, w_N = score_AW.ravel(), np.tile(W_W, 6)

    found = verdict_of(score_N, w_N, base_N, metric)

    curve = fit_curve(score_N, w_N, base_N, base_N)
    assert curve is not None
    low_M, high_M = curve.bounds()
    at_M = scale * (curve.at_start + curve.difference_M)
    assert (found.p, found.p_mean, found.moved) == (curve.p, curve.p, True)
    assert found.direction == ("up" if slope > 0 else "down")
    assert (found.scale, found.base_models, found.cells, found.over_bases) == (scale, 6, 30, True)
    assert found.excluded == pytest.approx(scale * np.abs([low_M, high_M]).max())
    assert [found.at_0, found.at_1] == pytest.approx([scale * curve.at_start, at_M[-1]])
    assert [found.at_best, found.at_lowest] == pytest.approx([at_M.max(), at_M.min()])
    change = scale * np.array([low_M[curve.place], high_M[curve.place]])
    assert [found.change_low, found.change_high] == pytest.approx(change)
    assert (found.best_weight, found.lowest_weight) == (curve.best()[0], curve.lowest())
    assert [found.best_low, found.best_high] == pytest.approx(curve.best()[1:])
    assert found.misfit == pytest.approx(scale * curve.misfit)
    assert found.bases == (), "base models are told of kinds of benchmarks alone"


def test_numbers_of_a_percentage_are_a_hundred_times_those_of_a_share() -> None:
    """Of a jump at weight 0, which is told by means: their ends, those of the curve, and each base model's change."""
    generator = np.random.default_rng(3)
    base_N, w_N = [f"base {number}" for number in range(2) for _ in range(9)], np.tile(np.linspace(0, 1, 9), 2)
    score_N = 0.4 + 0.1 * (w_N > 0) + generator.normal(0, 0.002, 18)
    table = pd.DataFrame(
        {"dataset": "d", "model": base_N, "seed": 0, "w_p": w_N, "benchmark": "b", "group": "g", "score01": score_N}
    )
    share, percent = (
        {verdict.scope: verdict for verdict in scope_verdicts(
            TidyFrame(rows=table.assign(metric=metric, value=scale * score_N), missing=table.head(0), notes=())
        )}["group"]
        for metric, scale in (("acc", 1), ("bleu", 100))
    )  # fmt: skip

    def numbers(found: ScopeVerdict) -> list[float | None]:
        assert found.highest is not None
        assert found.lowest is not None
        means = [getattr(end, name) for end in (found.highest, found.lowest) for name in ("change", "low", "high")]
        bases = [getattr(base, name) for base in found.bases for name in ("change", "largest")]
        names = ("at_0", "at_best", "at_1", "at_lowest", "change_low", "change_high", "misfit", "excluded")
        return [*means, *bases, *(getattr(found, name) for name in names)]

    assert len(share.bases) == 2
    assert None not in numbers(share)
    assert numbers(percent) == pytest.approx([100 * float(number or 0) for number in numbers(share)])
    assert (percent.p, percent.best_weight, percent.p_parabola) == (share.p, share.best_weight, share.p_parabola)


@pytest.mark.parametrize("turned", [False, True])
def test_a_band_that_holds_all_for_which_the_range_has_room_excludes_nothing(turned: bool) -> None:
    """From 0.6 a score can change by 0.6 at most, down, and from 0.4 up."""
    excluded = []
    for noise in (0.05, 0.4):
        score_N = 0.6 + noise * np.array([0.0, 1, -1, 0, 1, 0.0, -1, 1, -1, 0])
        score_N = 1 - score_N if turned else score_N
        found = verdict_of(score_N, np.tile(W_W, 2), [f"base {number}" for number in range(2) for _ in W_W])
        curve = fit_curve(score_N, np.tile(W_W, 2), ["a"] * 5 + ["b"] * 5, ["a"] * 5 + ["b"] * 5)
        assert curve is not None
        excluded.append((found.excluded is None, float(np.abs(curve.bounds()).max()) > 0.6))
    assert excluded == [(False, False), (True, True)]


def test_a_direction_is_told_only_where_it_is_shown_after_correction() -> None:
    """One benchmark rises for certain, one by what chance may do once in so many."""
    generator = np.random.default_rng(4)
    tables = []
    for number in range(12):
        slope = {0: 0.2, 1: 0.012}.get(number, 0.0)
        for base in range(6):
            score_W = 0.5 + (slope + generator.normal(0, 0.01)) * W_W + generator.normal(0, 0.004, 5)
            tables.append(
                pd.DataFrame(
                    {"dataset": "d", "model": f"base {base}", "seed": 0, "w_p": W_W, "benchmark": f"b{number}",
                     "group": f"g{number}", "metric": "acc", "value": score_W, "score01": score_W}
                )
            )  # fmt: skip
    table = pd.concat(tables, ignore_index=True)

    found = scope_verdicts(TidyFrame(rows=table, missing=table.head(0), notes=()))

    assert [verdict.name for verdict in found if verdict.scope == "benchmark" and verdict.moved] == ["b0"]
    for verdict in found:
        assert verdict.p_holm is not None
        assert verdict.p_mean is not None
        assert verdict.moved == (verdict.p_holm < 0.05)
        assert (verdict.direction is not None) == (verdict.moved and verdict.p_mean < 0.05)
    assert any(verdict.p_mean < 0.05 and not verdict.moved for verdict in found if verdict.p_mean is not None)


@pytest.mark.parametrize(
    ("weights", "undecided"),
    [
        ([[0.5], [0.5]], Undecided.ONE_WEIGHT),
        ([[0.0], [1.0]], Undecided.NO_PAIR),
        ([[0.0, 1.0]], Undecided.FEW_CELLS),
    ],
)
def test_why_nothing_is_decided(weights: list[list[float]], undecided: Undecided) -> None:
    """The weights of each base model."""
    base_N = [f"base {number}" for number, of_base in enumerate(weights) for _ in of_base]
    w_N = np.concatenate(weights)
    found = verdict_of(np.random.default_rng(0).normal(0.5, 0.1, len(w_N)), w_N, base_N)
    assert (found.p, found.moved, found.undecided) == (None, False, undecided)


def test_a_base_model_of_one_weight_alone_is_not_counted() -> None:
    w_N = np.array([0.0, 1.0] * 4 + [0.0])
    base_N = [f"base {number // 2}" for number in range(9)]
    score_N = 0.5 + 0.1 * w_N + np.random.default_rng(0).normal(0, 0.01, 9)
    assert verdict_of(score_N, w_N, base_N).base_models == 4
