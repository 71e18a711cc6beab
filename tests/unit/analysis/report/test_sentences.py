"""What the page says of a study: the best weight of those that can be compared."""

from types import SimpleNamespace

import pytest
from study_frames import frame_of

from analysis.report.text import verdicts
from analysis.scores.aggregates import aggregates


def _said(rule, weights=(0.0, 0.1, 1.0)):
    frame = frame_of(rule, weights=weights)
    [verdict] = verdicts(SimpleNamespace(aggregates=aggregates(frame), fits=[], verdicts=[]))
    return " ".join(verdict.sentences)


def _falling(dataset, benchmark, model, weight, seed):
    return {"wide": 0.8, "deep": 0.3}[model] - 0.05 * weight


def test_the_best_weight_is_one_whose_base_models_the_others_have_too():
    said = _said(lambda *at: None if at[2:4] == ("deep", 1.0) else _falling(*at))
    # Scores span .295 (deep at 0.1) to .8 (wide at 0): at 0 they stand at 1 and .005 / .505.
    assert (
        f"Best of the 2 weights with the same cells: PLW 0, relative aggregate {(1 + 0.005 / 0.505) / 2:.3f}." in said
    )
    assert "Not compared, for cells that they lack: PLW 1." in said


def test_of_whole_studies_it_is_of_all_weights_tried():
    said = _said(_falling)
    assert "Best of the 3 weights tried: PLW 0, relative aggregate" in said
    assert "Not compared" not in said


@pytest.mark.parametrize("weights", [(0.1,), (0.0, 1.0)])
def test_of_fewer_than_two_that_can_be_compared_there_is_no_best(weights):
    said = _said(lambda *at: None if at[2:4] == ("deep", 1.0) else _falling(*at), weights)
    assert "Best of" not in said
