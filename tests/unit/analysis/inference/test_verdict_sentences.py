"""What verdicts and their sentences say of studies that are not as most: each beside numbers computed by hand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.inference.verdicts import ScopeVerdict, scope_verdicts
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
    points = f"{direction} {abs(at - curve_M[0]) * 100 / full:.1f} points at weight 1 (turned round"
    assert points in study_sentences(scope_verdicts(frame))
    assert points in dataset_sentences(scope_verdicts(frame), "D")[0]
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

    assert "points at weight 1 (lower turned round, as lower is better)" in study_sentences(found)
