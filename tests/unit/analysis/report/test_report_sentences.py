"""What the page says of a study: the best weight of those that can be compared, and how many cells are shown."""

from types import SimpleNamespace

import pytest
from study_frames import frame_of

from analysis.report.text import size_sentences, verdicts
from analysis.scores.aggregates import aggregates, cell_aggregates
from analysis.scores.frame import AXES


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
        f"Best of the 2 weights with the same base models: PLW 0, relative aggregate {(1 + 0.005 / 0.505) / 2:.3f}."
        in said
    )
    assert "Not compared, for base models that they lack: PLW 1." in said


def test_of_whole_studies_it_is_of_all_weights_tried():
    said = _said(_falling)
    assert "Best of the 3 weights tried: PLW 0, relative aggregate" in said
    assert "Not compared" not in said


@pytest.mark.parametrize("weights", [(0.1,), (0.0, 1.0)])
def test_of_fewer_than_two_that_can_be_compared_there_is_no_best(weights):
    said = _said(lambda *at: None if at[2:4] == ("deep", 1.0) else _falling(*at), weights)
    assert "Best of" not in said


def _size(frame, weightings):
    """The size of a study that has the frame's cells in each of the weightings."""
    cells = [
        SimpleNamespace(**row | {"weighting": weighting})
        for weighting in weightings
        for row in frame.rows[AXES].drop_duplicates().to_dict("records")
    ]
    study = SimpleNamespace(cells=cells, shown=cells, choice=SimpleNamespace(others=()))
    context = SimpleNamespace(frame=frame, study=study, cells=cell_aggregates(frame), varies_both=False, fits=[])
    return size_sentences(context)[0]


def test_of_several_weightings_the_size_says_which_is_shown_and_counts_its_cells():
    frame = frame_of(_falling)
    said = _size(frame, ["", "loo"])
    assert said.startswith("12 cells. The chapters are, unless they say otherwise, of the 6 with response weight 1, ")
    assert "no weighting beyond the two weights: 1 dataset, 2 base models, 3 prompt weights" in said
    assert said.endswith("6 of these have every benchmark.")
    alone = _size(frame, [""])
    assert alone.startswith("6 cells of 1 dataset")
    assert alone.endswith("6 of the cells have every benchmark.")
