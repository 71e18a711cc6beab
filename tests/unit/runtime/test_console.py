"""Long work says how far it is where there is no terminal, and short work says nothing there."""

import io
import re
import time
from collections.abc import Callable

import pytest
from rich.console import Console
from rich.table import Table

from plw.progress import Progress
from plw.runtime import console
from plw.runtime.console import DRAWN_ROWS, WritableConsole, print_table, step_bar
from plw.runtime.streams import PLAIN_LETTERS

EVERY_S = 0.05


def said(work: Callable[[Progress], None]) -> list[str]:
    """The lines in a log of a step that does ``work``."""
    log = io.StringIO()
    with step_bar("verify", Console(file=log, width=200)) as progress:
        work(progress)
    return log.getvalue().splitlines()


@pytest.mark.parametrize("silent", [True, False])
def test_a_line_comes_every_so_often(monkeypatch: pytest.MonkeyPatch, silent: bool) -> None:
    monkeypatch.setattr(console, "LINES_EVERY_S", EVERY_S)

    def work(progress: Progress) -> None:
        for done in range(1, 9):
            if not silent:
                progress(done, 2_000, "a file")
            time.sleep(EVERY_S)

    lines = said(work)
    assert 2 <= len(lines) <= 8
    state, left = ("", "") if silent else (r"\d/2,000, a file, ", r"(, about [\d.]+ (s|min|h) left)?")
    wanted = rf"verify: {state}after \d+ s{left}"
    assert all(re.fullmatch(wanted, line) for line in lines), lines
    assert silent or any("left" in line for line in lines)


def test_a_time_left_that_is_over_is_not_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report's first step is a moment, its second takes minutes: the rate so far is none to go by."""
    monkeypatch.setattr(console, "LINES_EVERY_S", EVERY_S)

    def work(progress: Progress) -> None:
        progress(0, 4)
        time.sleep(EVERY_S / 2)
        progress(1, 4)
        time.sleep(8 * EVERY_S)

    assert "left" not in said(work)[-1]


def test_short_work_says_nothing() -> None:
    assert said(lambda progress: progress(1, 1)) == []


def test_work_that_fails_ends_its_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "LINES_EVERY_S", EVERY_S)
    log = io.StringIO()

    def fail() -> None:
        with step_bar("data", Console(file=log, width=200)):
            time.sleep(2.5 * EVERY_S)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    before = log.getvalue()
    time.sleep(3 * EVERY_S)
    assert before.startswith("data: after")
    assert log.getvalue() == before


def test_digits_of_a_column_of_numbers_stand_below_each_other() -> None:
    table = Table("stage", "cells", "mean seconds", "error", "nothing")
    table.add_row("train", "5", "1,024.5", "500 from the judge", "")
    table.add_row("judge", "120", "–", "none", "–")
    console.numbers_right(table)
    assert [column.justify for column in table.columns] == ["left", "right", "right", "left", "left"]


def test_a_path_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    out = console.console()
    out.print("report: runs/a[b]/:key:/[/x]")
    console.print_table(out, ["f[b]older"], [["a[b]"], [":key:"]])
    said = capsys.readouterr().out
    assert "report: runs/a[b]/:key:/[/x]\n" in said
    assert all(word in said for word in ("f[b]older", " a[b] ", " :key: "))


@pytest.mark.parametrize("rows", [2, DRAWN_ROWS + 1])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_columns_stand_below_each_other_in_every_encoding(rows: int, encoding: str) -> None:
    """`\u03bb_p` was written as six letters where one had been measured."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors=PLAIN_LETTERS)
    header = ("dataset", "\u03bb_p", "\u03c7\u00b2(2)", "\u00b1", "folder")
    print_table(WritableConsole(file=stream, width=100), header, [("a", "0.1", "\u4e2d", "\u2013", "x")] * rows)
    stream.flush()
    lines = raw.getvalue().decode(encoding).splitlines()
    titles, cells = (next(line for line in lines if word in line) for word in ("folder", "0.1"))
    if encoding != "utf-8":
        assert "lambda_p" in titles
        assert "\\u03bb" not in titles
        assert "\\u4e2d" in cells
        assert titles.index("folder") == cells.index("x")
    else:
        assert "\u03bb_p" in titles
