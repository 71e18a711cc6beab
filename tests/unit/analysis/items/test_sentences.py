"""What a comparison says in words: what is shown, and numbers with as many digits as they need."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from simulated_items import mean_items, write_cell
from typer.testing import CliRunner

from plw.cli import app


def said(folder: Path, a: dict[str, list[float]], b: dict[str, list[float]], metric: str = "acc") -> str:
    """What `plw compare` prints of two cells with these items, on one line."""
    cells = [
        write_cell(folder, f"{side}-0000000{side}", [row for name in of for row in mean_items(name, of[name], metric)])
        for side, of in (("a", a), ("b", b))
    ]
    result = CliRunner().invoke(app, ["compare", *map(str, cells)], catch_exceptions=False, env={"COLUMNS": "300"})
    assert result.exit_code == 0
    return " ".join(result.output.split())


def first_right(right: int) -> list[float]:
    return [float(number < right) for number in range(60)]


def test_an_interval_that_excludes_0_shows_nothing_where_the_test_does_not(tmp_path: Path) -> None:
    """Five of 60 turn right: Newcombe's interval lies above 0, McNemar's exact p is 0.0625."""
    text = said(tmp_path, {"t": first_right(0)}, {"t": first_right(5)})

    assert stats.binomtest(5, 5).pvalue == 0.0625
    assert "t: not shown (p 0.062), though the 95 % interval is +0.68 to +18.07 points." in text
    assert "alone" not in text
    assert "corrected" not in text


def test_shown_alone_is_what_the_correction_takes_away(tmp_path: Path) -> None:
    """Six of 60 turn right: p 0.03125, of two benchmarks 0.0625."""
    text = said(tmp_path, {"t": first_right(0), "u": first_right(9)}, {"t": first_right(6), "u": first_right(9)})

    assert re.search(r"t: shown alone \(p 0.031, \+\d+\.\d\d to \+\d+\.\d\d points\)", text)
    assert "but not once corrected (corrected p 0.062)." in text


@pytest.mark.parametrize(("size", "rise"), [(1e-5, "0.0010"), (1e-7, "0.000010")])
def test_small_differences_have_the_digits_that_show_them(tmp_path: Path, size: float, rise: str) -> None:
    value_N = 0.5 + np.linspace(-size / 4, size / 4, 100)
    text = said(tmp_path, {"t": [0.5] * 100}, {"t": (value_N + size).tolist()}, "acc")

    assert f"B is higher by {rise}" in text
    low, high = stats.t.interval(0.95, 99, size * 100, 100 * stats.sem(value_N))
    found = re.search(r"\((\S+) to (\S+); 95 % interval (\S+) to (\S+),", text)
    assert found is not None
    assert float(found[1]) < float(found[2])
    assert [float(found[3]), float(found[4])] == pytest.approx([low, high], rel=0.01)


def test_differences_of_usual_size_have_two_digits(tmp_path: Path) -> None:
    text = said(tmp_path, {"t": first_right(20)}, {"t": first_right(40)})

    assert "t: B is higher by 33.33 points, better (0.3333 to 0.6667; 95 % interval" in text
