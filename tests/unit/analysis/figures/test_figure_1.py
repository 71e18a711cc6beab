"""Figure 1's panels of each base model: with several seeds the mean is seen, and every single seed too."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from analysis.figures.aggregates import POINTS, figure_1
from analysis.scores.aggregates import aggregates, cell_aggregates
from tests.unit.analysis.study_frames import frame_of

WEIGHTS = {3: (0.0, 0.1, 1.0), 5: (0.0, 0.01, 0.1, 0.5, 1.0)}


@pytest.mark.parametrize("seeds", [1, 3, 10, 30])
@pytest.mark.parametrize("weights", [3, 5])
def test_a_base_model_has_a_mark_a_weight_at_the_mean_and_a_dot_a_seed(seeds, weights):
    rng = np.random.default_rng(seeds)
    frame = frame_of(
        lambda dataset, benchmark, model, weight, seed: 0.4 + 0.1 * (model == "deep") + 0.02 * rng.random(),
        weights=WEIGHTS[weights],
        seeds=range(seeds),
    )
    cells = cell_aggregates(frame)
    figure = figure_1(cells, aggregates(frame))
    panel = next(axis for axis in figure.axes if axis.get_title(loc="left").startswith("c"))
    marks, dots = ([line.get_xydata() for line in panel.lines if line.get_marker() in of] for of in ("os", "."))
    of_models = [rows for _, rows in cells.groupby("model")]
    assert len(marks) == len(of_models)
    for rows, mark_W in zip(of_models, marks, strict=True):
        assert_allclose(mark_W[:, 1], rows.groupby("prompt_weight")["simple"].mean())
    shown = np.concatenate(dots)[:, 1] if dots else np.array([])
    assert sorted(shown) == pytest.approx(sorted(cells["simple"]) if seeds > 1 else [])
    curves = [line.get_xydata() for line in panel.lines if line.get_marker() == "None" and len(line.get_xdata()) > 1]
    assert len(curves) == len(of_models)
    assert all((np.diff(curve[:, 0]) > 0).all() for curve in curves), "a line goes on from weight to weight"


def test_of_very_many_seeds_so_many_as_can_be_drawn_are_spread_over_all():
    frame = frame_of(lambda *cell: 0.4 + cell[-1] / 10_000, models=("wide",), benchmarks=("arc",), seeds=range(1000))
    figure = figure_1(cell_aggregates(frame), aggregates(frame))
    panel = next(axis for axis in figure.axes if axis.get_title(loc="left").startswith("c"))
    (dots,) = [line.get_xydata() for line in panel.lines if line.get_marker() == "."]
    assert len(dots) == POINTS
    assert len(np.unique(dots[:, 0])) == 3
