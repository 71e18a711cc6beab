"""What a sweep says at its end: its own cells as its own, what it took over, and what failed."""

import io
from pathlib import Path

from rich.console import Console

from plw.pipeline import CellOutcome
from plw.pipeline.stage import Outcome
from plw.sweep.grid import GridResult, stage_seconds
from plw.sweep.summary import print_summary


def said(*cells: dict[str, Outcome]) -> str:
    outcomes = [CellOutcome(folder=Path(), label=f"cell {n}", stages=stages) for n, stages in enumerate(cells)]
    out = io.StringIO()
    print_summary(GridResult(outcomes=outcomes, skipped=3), "plw-mini", Console(file=out, width=200))
    return out.getvalue()


def test_cells_of_other_workers_are_not_its_own() -> None:
    done, skipped = Outcome(status="done", seconds=1.0), Outcome(status="skipped", seconds=1.0)
    text = said({"train": done}, {"train": skipped, "harness": skipped}, {"train": skipped, "harness": done})
    assert "2 cells run, 3 done before, 1 done by other workers, 0 stages failed" in text
    assert "other workers" not in said({"train": done})


def test_a_takeover_is_told_with_the_worker_that_had_begun() -> None:
    text = said({"train": Outcome(status="done", seconds=1.0, taken_from="process 7 on host-b")})
    (line,) = [line for line in text.splitlines() if "process 7 on host-b" in line]
    assert "cell 0" in line
    assert "train" in line


def test_the_time_of_a_stage_is_that_of_the_cells_that_this_sweep_did() -> None:
    """What other workers had done, or what failed, took none of it."""
    cells = [
        {"train": Outcome(status="done", seconds=2.0), "judge": Outcome(status="failed", seconds=9.0)},
        {"train": Outcome(status="done", seconds=3.0), "judge": Outcome(status="skipped", seconds=9.0)},
    ]
    outcomes = [CellOutcome(folder=Path(), label="", stages=stages) for stages in cells]
    assert stage_seconds(GridResult(outcomes=outcomes)) == {"train": 5.0}
