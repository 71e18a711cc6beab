"""A cell whose worker dies is tried again as often as it may, and the cells beside it do not pay for it."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress

import pytest

from plw.pipeline import Cell, CellOutcome, open_registry, resolve_cell
from plw.sweep.workers import run_cells
from tests.unit.pipeline.conftest import OwnStudy


def killer(victim: Cell, killed: list[int]) -> Callable[..., None]:
    """A report that kills the worker of one cell as soon as it begins."""

    def report(label: str, *_: object) -> None:
        if label != victim.label:
            return
        with open_registry(victim.config) as registry:
            found = [row for row in registry.stage_rows() if row.cell == victim.row().cell]
        pid = found[0].pid if found else None
        if pid is not None and pid not in killed:
            killed.append(pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    return report


def ran(cells: list[Cell], killed: list[int]) -> dict[str, CellOutcome]:
    """How every cell ended, with a worker each, while the first one's is killed whenever it begins."""
    with open_registry(cells[0].config) as registry:
        registry.ensure_cells(cell.row() for cell in cells)
    done = run_cells(cells, workers=2, report=killer(cells[0], killed), may_begin=lambda: True)
    return {cell.label: outcome for cell, outcome in done}


@pytest.mark.slow
def test_the_cell_beside_one_that_dies_is_not_given_up(own_study: OwnStudy) -> None:
    # Long enough that the second is under way whenever the first dies.
    long = ["stages=[train]", "recipe.batch_size=1", "recipe.epochs=20"]
    cells = [resolve_cell(own_study(f"seed={seed}", *long)) for seed in (1, 2)]
    killed: list[int] = []
    outcomes = ran(cells, killed)
    died, other = (outcomes[cell.label] for cell in cells)
    assert len(killed) == cells[0].config.execution.max_attempts == 2
    assert died.stages["worker"].status == "failed"
    assert "died 2 times" in (died.stages["worker"].error or "")
    assert other.busy or other.stages["train"].status == "done"


@pytest.mark.slow
def test_no_worker_works_on_when_the_sweep_ends_with_a_death(own_study: OwnStudy) -> None:
    """The one beside it is told to stop, and makes its checkpoint: the command must not say before that it is over.

    It is the worker that was started last that dies, which Python's pool looks at only once it is given another task.
    """
    long = ["stages=[train]", "recipe.batch_size=1", "recipe.epochs=400"]
    cells = [resolve_cell(own_study(f"seed={seed}", *long)) for seed in (1, 2)]
    killed: list[int] = []
    with open_registry(cells[0].config) as registry:
        registry.ensure_cells(cell.row() for cell in cells)

    def report(*_: object) -> None:
        with open_registry(cells[0].config) as registry:
            pids = [row.pid for row in registry.stage_rows() if row.pid is not None]
        if len(pids) == len(cells) and not killed:
            killed.append(max(pids))
            os.kill(killed[0], signal.SIGKILL)

    outcomes = list(run_cells(cells, workers=2, report=report, may_begin=lambda: not killed))
    assert killed
    assert multiprocessing.active_children() == []
    assert outcomes == [], "the other one trained to its end"
    with open_registry(cells[0].config) as registry:
        assert [row.heartbeat for row in registry.stage_rows() if row.pid != killed[0]] == [None]


@pytest.mark.slow
def test_the_last_cell_is_given_up_as_others_are(own_study: OwnStudy) -> None:
    cell = resolve_cell(own_study("stages=[train]", "recipe.epochs=50"))
    killed: list[int] = []
    outcomes = ran([cell], killed)
    assert outcomes[cell.label].stages["worker"].status == "failed"
    assert len(killed) == 2
