"""What is told of a grid under way where there is no terminal: lines on screen and in the log file."""

import io
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from plw.progress import duration
from plw.sweep import progress_lines
from plw.sweep.display import PROGRESS_LOG, GridDisplay
from plw.sweep.progress_lines import ProgressLines


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves: a list whose last entry is now."""
    now = [100.0]
    monkeypatch.setattr(progress_lines, "monotonic", lambda: now[-1])
    return now


def test_a_stage_under_way_has_its_state_and_the_time_left(clock):
    known = ProgressLines(name="grid", cells=4)
    known.moved("short/m/p0.1", "train", 20, 120, "loss 1.5, 90 tok/s")
    clock.append(160.0)
    known.moved("short/m/p0.1", "train", 40, 120, "loss 1.2, 91 tok/s")
    head, cell = known.lines()
    assert "0/4 cells" in head
    assert "first cell" in head
    # 20 steps a minute since it was first heard of at step 20, 80 to go.
    assert cell == "  short/m/p0.1: train 40/120, loss 1.2, 91 tok/s, about 4 min left"


def test_the_grids_time_left_is_that_of_the_cells_so_far(clock):
    known = ProgressLines(name="grid", cells=4)
    known.moved("a", "train", 1, 2, "")
    clock.append(700.0)
    known.ended("a")
    assert known.lines() == ["grid: 1/4 cells after 10 min, about 30 min left"]


def test_a_stage_that_says_nothing_for_long_is_named(clock):
    known = ProgressLines(name="grid", cells=1)
    known.moved("a", "harness", 3, 9, "")
    clock.append(400.0)
    assert "no word for 5 min" in known.lines()[1]


def test_a_later_stage_starts_its_own_count(clock):
    known = ProgressLines(name="grid", cells=1)
    known.moved("a", "train", 90, 100, "")
    clock.append(110.0)
    known.moved("a", "harness", 10, 100, "")
    assert "left" not in known.lines()[1], "a rate is known from the second word on"


def test_a_stage_that_is_over_is_not_shown_as_under_way(clock):
    known = ProgressLines(name="grid", cells=1)
    known.moved("a", "train", 12, 12, "loss 1.2")
    known.stage_ended("a", "train")
    clock.append(400.0)
    assert known.lines()[1] == "  a: train is over, the next stage begins"
    known.moved("a", "train", 1, 12, "")
    assert known.lines()[1].startswith("  a: train 1/12")
    known.moved("a", "generate", 0, 40, "answers")
    known.stage_ended("a", "train")
    known.stage_ended("b", "train")
    assert known.lines()[1] == "  a: generate 0/40, answers"


@pytest.mark.parametrize(("seconds", "said"), [(40, "40 s"), (720, "12 min"), (12_600, "3.5 h")])
def test_durations(seconds, said):
    assert duration(seconds) == said


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_lines_go_to_the_screen_and_to_the_log(tmp_path: Path):
    screen = io.StringIO()
    console = Console(file=screen, width=200)
    with GridDisplay("grid", cells=1, stages=2, console=console, folder=tmp_path, lines_every_s=0.05) as display:
        display.stage_moved("a/b", "train", 1, 9, "loss [1.0]")
        wait_for(lambda: (tmp_path / PROGRESS_LOG).exists())
    lines = (tmp_path / PROGRESS_LOG).read_text().splitlines()
    assert any(line.endswith("a/b: train 1/9, loss [1.0]") for line in lines)
    assert "a/b: train 1/9, loss [1.0]" in screen.getvalue()


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path):
    screen = io.StringIO()
    (tmp_path / "runs").write_text("a file where the folder should be")
    with GridDisplay(
        "grid", cells=1, stages=1, console=Console(file=screen), folder=tmp_path / "runs", lines_every_s=0.01
    ) as display:
        wait_for(lambda: "0/1 cells" in screen.getvalue())
        display.cell_ended("a/b")
    assert (tmp_path / "runs").read_text() == "a file where the folder should be"
