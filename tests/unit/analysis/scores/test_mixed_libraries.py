"""Scores of several versions of one library are told, with the cells; those of one version, or of clients, are not."""

import pandas as pd
import pytest

from analysis.scores.mixtures import mixed_libraries


def rows_of(*versions: str | None, benchmark: str = "arc") -> pd.DataFrame:
    """A cell for each version, of weights 0, 0.1, 0.2 ..."""
    return pd.DataFrame([
        {"cell": f"c{n}", "dataset": "short", "model": "wide", "prompt_weight": n / 10, "seed": 42, "suite": "s",
         "benchmark": benchmark, "judge": None, "library_version": version}
        for n, version in enumerate(versions)
    ])  # fmt: skip


def test_several_versions_are_told_with_their_cells() -> None:
    rows = rows_of("lm-eval 0.4.8", "lm-eval 0.4.8", "lm-eval 0.4.9")
    judged = rows_of("alpaca_eval 0.6.5", "alpaca_eval 0.6.6", benchmark="alpaca")
    assert mixed_libraries(pd.concat([rows, judged])) == [
        "Several versions of alpaca_eval scored alpaca: 0.6.5 in 1 cell, 0.6.6 in 1 cell; differences between these "
        "cells may be the library's. 0.6.6: short, wide, PLW 0.1, seed 42.",
        "Several versions of lm-eval scored arc: 0.4.8 in 2 cells, 0.4.9 in 1 cell; differences between these cells "
        "may be the library's. 0.4.9: short, wide, PLW 0.2, seed 42.",
    ]


def test_of_many_cells_some_are_named() -> None:
    (line,) = mixed_libraries(rows_of(*["lm-eval 0.4.8"] * 40, *["lm-eval 0.4.9"] * 13))
    assert line.endswith("PLW 4.9, seed 42; 3 more.")


@pytest.mark.parametrize(
    "versions", [["lm-eval 0.4.8"] * 3, ["httpx 0.27.0", "httpx 0.28.1"], [None, "lm-eval 0.4.8"], [None, ""], []]
)
def test_what_changes_no_score_is_not_told(versions: list[str | None]) -> None:
    assert mixed_libraries(rows_of(*versions) if versions else rows_of("x").head(0)) == []
