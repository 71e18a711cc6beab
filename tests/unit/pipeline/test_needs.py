"""Stages chosen by hand on cells that lack what they rest on: told before the first cell."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from plw.config import CellConfig
from plw.errors import UserError
from plw.pipeline import resolve_cell
from plw.sweep.grid import run_grid
from plw.sweep.needs import check_needs, print_needs
from tests.unit.pipeline.conftest import OwnStudy, run


@pytest.mark.parametrize(
    ("stage", "lack"),
    [
        ("harness", "none of 2 cells to run has finished the stage train, which harness rests on"),
        ("diagnose", "none of 2 cells to run has finished the stage train, which diagnose rests on"),
        ("generate", "none of 2 cells to run has finished the stage train, which generate rests on"),
        ("judge", "none of 2 cells to run has finished the stage generate, which judge rests on"),
    ],
)
def test_stages_that_no_cell_has_the_needs_of_are_refused(own_study: OwnStudy, stage: str, lack: str) -> None:
    configs = [own_study(f"seed={seed}", f"stages=[{stage}]") for seed in (1, 2)]
    with pytest.raises(UserError, match=rf"stages={stage}: {lack} .*; add (train|generate) to stages"):
        check_needs([resolve_cell(config) for config in configs], Console(quiet=True))


def test_where_some_cells_have_them_the_others_are_counted(own_study: OwnStudy) -> None:
    run(own_study("seed=1", "stages=[train]"))
    said = io.StringIO()
    cells = [resolve_cell(own_study(f"seed={seed}", "stages=[generate]")) for seed in (1, 2, 3)]
    check_needs(cells, Console(file=said, width=1000))
    assert (
        "stages=generate: 1 of 3 cells to run has finished the stage train, which generate rests on" in said.getvalue()
    )
    check_needs(cells[:1], Console(file=said, width=1000))
    assert said.getvalue().count("stages=") == 1


def test_for_jobs_that_run_later_what_is_lacking_is_told_and_nothing_refused(own_study: OwnStudy) -> None:
    said = io.StringIO()
    cells = [resolve_cell(own_study(f"seed={seed}", "stages=[generate]")) for seed in (1, 2)]
    print_needs(cells, Console(file=said, width=60))
    (line,) = said.getvalue().splitlines()
    assert line.startswith("stages=generate: none of 2 cells to run has finished the stage train")
    assert f"(it is missing in {cells[0].label}); add train to stages" in line
    print_needs([resolve_cell(own_study("stages=[train,generate]"))], Console(file=said, width=60))
    assert said.getvalue().count("\n") == 1


def test_a_grid_is_refused_before_its_first_cell(own_study: OwnStudy, tmp_path: Path) -> None:
    config: CellConfig = own_study("stages=[generate]")
    with pytest.raises(UserError, match="none of 1 cell to run has finished the stage train"):
        run_grid([config], Console(quiet=True))
    assert not list(tmp_path.rglob("failure.json"))


def test_stages_are_run_in_the_order_in_which_they_rest_on_each_other(own_study: OwnStudy) -> None:
    assert own_study("stages=[judge,generate,train]").stages == ["train", "generate", "judge"]
