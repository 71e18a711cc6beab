"""The rows that the analysis reads: those of the registry's own frame, whatever is missing, on either database."""

import itertools

import numpy as np
import pytest
from sqlalchemy import update

from analysis.scores.registry_rows import ABOUT_CELL, SCORE_COLUMNS, curve_rows, score_rows
from plw.registry.schema import FAILED, stages
from plw.registry.store import Registry
from plw.results.score import Score

FLAGS = (True, False, None)


@pytest.fixture
def registry(url, make_cell, make_record):
    """Six cells whose scores have every combination of what may be missing; a stage of one cell has failed since."""
    dice = np.random.default_rng(7)
    with Registry.open(url) as registry:
        for place, weight in enumerate((0.1, 1.0, 0.0, 0.5, 0.01, 0.25)):
            cell = make_cell(weight, r_g=None if place == 3 else 0.5, seed=place % 2)
            for stage in ("judge", "harness"):
                scores = [
                    Score(
                        suite=f"suite-{stage}", benchmark=f"{stage} {number}", metric="acc, ünï", value=dice.normal(),
                        stderr=dice.choice([None, 0.1]), n=dice.choice([None, 2**53 + 1]), headline=bool(number % 3),
                        higher_is_better=flag, judge=judge,
                    )
                    for number, (flag, judge) in enumerate(itertools.product(FLAGS, (None, "world")))
                ]  # fmt: skip
                finished = None if place == 4 else 11.5 + place
                record = make_record(cell, stage, scores=[score.to_dict() for score in scores], finished=finished)
                registry.import_record(record)
        with registry.transaction() as connection:
            of = (stages.c.cell == make_cell(0.5).cell, stages.c.name == "harness")
            connection.execute(update(stages).where(*of).values(status=FAILED))
        yield registry


def test_the_analysis_reads_the_headline_scores_of_finished_stages_in_the_order_of_the_cells(registry):
    cells = registry.cells(study="plw", scale="mini")
    rows = score_rows(registry, "plw", "mini", cells)
    assert list(rows.columns) == [*ABOUT_CELL, *SCORE_COLUMNS, "finished"]
    everything = registry.scores_frame()
    expected = everything[everything["headline"]].reset_index(drop=True)
    assert len(rows) == len(expected) == 11 * 4
    # The registry's frame is in the order of the cells too: one dataset and model, by weight.
    for name in (*ABOUT_CELL, *SCORE_COLUMNS):
        one, other = rows[name], expected[name]
        assert (one.isna() == other.isna()).all(), name
        assert (one.dropna() == other.dropna()).all(), name
    finished = {stage.cell: stage.finished for stage in registry.stage_rows()}
    assert np.array_equal(rows["finished"], [finished[cell] or np.nan for cell in rows["cell"]], equal_nan=True)


def test_of_some_cells_and_of_none(registry):
    cells = registry.cells()[:2]
    rows = score_rows(registry, "plw", "mini", cells)
    assert rows["cell"].unique().tolist() == [cell.cell for cell in cells]
    nothing = score_rows(registry, "wit", "mini", [])
    assert nothing.empty
    assert list(nothing.columns) == list(rows.columns)
    assert [str(kind) for kind in nothing.dtypes[10:]] == [str(kind) for kind in rows.dtypes[10:]]
    assert curve_rows(registry, "plw", "mini", cells).empty
