"""What single base models do where a verdict is of several: beside numbers computed by hand."""

import numpy as np
import pytest
from study_frames import frame_of

from analysis.inference.verdicts import ScopeVerdict, scope_verdicts
from analysis.report.verdict_text import dataset_sentences, study_sentences
from analysis.scores.frame import EXPONENT, TidyFrame

WEIGHTS = (0.0, 0.01, 0.1, 0.5, 1.0)
NOISE = dict(zip(WEIGHTS, (0.002, -0.001, 0.001, -0.002, 0.001), strict=True))
SIZES = {"wide": 0.2, "deep": -0.2, "odd": 0.2, "even": -0.2}


def moving_apart(models: tuple[str, ...]) -> TidyFrame:
    """Each base model moves by 20 points, half of them up and half down; their mean does not."""

    def score(_dataset: str, _benchmark: str, model: str, weight: float, _seed: int) -> float:
        return 0.5 + SIZES[model] * weight**EXPONENT + NOISE[weight]

    return frame_of(score, models=models, weights=WEIGHTS)


def group_of(frame: TidyFrame) -> ScopeVerdict:
    (found,) = [verdict for verdict in scope_verdicts(frame) if verdict.scope == "group"]
    return found


def by_hand(frame: TidyFrame, model: str) -> float:
    """The last less the first value of numpy's parabola through one base model's means."""
    rows = frame.rows[frame.rows["model"] == model].groupby("w_p")["score01"].mean()
    parabola = np.polyfit(rows.index.to_numpy(dtype=float), rows.to_numpy(dtype=float), 2)
    return float(np.polyval(parabola, 1.0) - np.polyval(parabola, 0.0))


def test_of_two_base_models_that_move_apart_the_headline_says_so() -> None:
    frame = moving_apart(("wide", "deep"))
    found = group_of(frame)

    assert not found.moved
    assert {base.model: base.moved for base in found.bases} == {"deep": True, "wide": True}
    for base in found.bases:
        assert base.largest == pytest.approx(by_hand(frame, base.model), abs=0.001)
        assert base.p_holm <= 2 * base.p
        way = "up" if SIZES[base.model] > 0 else "down"
        said = f"{base.model} {way} {100 * abs(base.largest):.1f} points (corrected p < 0.001)"
        assert said in study_sentences([found])
        assert said in dataset_sentences([found], "short")[0]
    assert study_sentences([found]).startswith("On short no mean of base models is shown to move, but single")
    assert f"by more than {100 * found.excluded:.1f} points" in study_sentences([found])


def test_base_models_that_are_a_sample_are_not_tested_but_their_range_is_told() -> None:
    frame = moving_apart(("wide", "deep", "odd", "even"))
    found = group_of(frame)

    assert [base.p for base in found.bases] == [None] * 4
    changes = {model: by_hand(frame, model) for model in SIZES}
    # The mean's curve is farthest somewhere else than theirs.
    assert {base.model: base.largest for base in found.bases} == pytest.approx(changes, abs=0.001)
    least, most = min(changes, key=changes.__getitem__), max(changes, key=changes.__getitem__)
    (line,) = dataset_sentences([found], "short")
    assert f"base models from {100 * changes[least]:+.1f} (" in line
    # Names may be long; the headline leaves them to the cards.
    assert not any(model in study_sentences([found]) for model in SIZES)
    assert f" to {100 * changes[most]:+.1f} (" in line
    assert "nothing is shown to move" in study_sentences([found])


@pytest.mark.parametrize("models", [("wide", "deep"), ("wide", "deep", "odd", "even")])
@pytest.mark.parametrize("slope", [0.2, -0.2])
def test_what_moved_has_the_interval_of_its_change(models: tuple[str, ...], slope: float) -> None:
    """Of a line with little noise; a fall is told in points down, so its interval is above 0 too."""

    def score(_dataset: str, benchmark: str, model: str, weight: float, _seed: int) -> float:
        own = 0.01 * models.index(model) * weight + 0.002 * (benchmark == "arc") * weight
        return 0.5 + slope * weight**EXPONENT + own + NOISE[weight]

    found = group_of(frame_of(score, models=models, weights=WEIGHTS))

    assert found.moved
    assert found.change_low < slope + 0.01 * (len(models) - 1) / 2 + 0.001 < found.change_high
    ends = sorted(100 * abs(end) for end in (found.change_low, found.change_high))
    said = f"(95 % interval {ends[0]:.1f} to {ends[1]:.1f}; base models from "
    assert said in study_sentences([found])
    assert said in dataset_sentences([found], "short")[0]


def test_a_curve_that_is_none_says_by_how_much_it_misses() -> None:
    """Scores that rise with the weight itself, in all base models alike: no parabola in w_p, but one that is near."""

    def score(_dataset: str, _benchmark: str, model: str, weight: float, _seed: int) -> float:
        return 0.2 + 0.6 * weight + 0.001 * list(SIZES).index(model) * weight

    frame = frame_of(score, models=tuple(SIZES), weights=WEIGHTS)
    found = group_of(frame)

    means = frame.rows.groupby("w_p")["score01"].mean()
    parabola = np.polyfit(means.index.to_numpy(dtype=float), means.to_numpy(dtype=float), 2)
    worst = np.abs(np.polyval(parabola, means.index.to_numpy(dtype=float)) - means).max()
    assert found.misfit == pytest.approx(worst)
    assert f"of a curve that misses the mean scores by up to {100 * worst:.1f}" in study_sentences([found])


def test_a_base_model_that_lacks_weights_is_not_counted() -> None:
    frame = moving_apart(tuple(SIZES))
    rows = frame.rows[(frame.rows["model"] != "odd") | (frame.rows["prompt_weight"] > 0)]
    found = group_of(TidyFrame(rows=rows, missing=frame.missing, notes=()))
    assert [base.model for base in found.bases] == ["deep", "even", "wide"]


def test_a_benchmark_that_never_varies_is_named_beside_the_mean_that_it_is_in() -> None:
    def score(_dataset: str, benchmark: str, model: str, weight: float, _seed: int) -> float:
        return 1.0 if benchmark == "arc" else 0.4 + 0.1 * weight + 0.01 * SIZES[model] * weight + NOISE[weight]

    lines = dataset_sentences(scope_verdicts(frame_of(score, models=tuple(SIZES), weights=WEIGHTS)), "short")
    assert any(line.startswith("The same score at every weight: arc;") for line in lines)
