"""Items that all differ alike: a standard error of 0 is no certainty, whatever the outcomes and however many runs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from scipy import stats
from simulated_items import mean_items, write_cell, write_samples
from typer.testing import CliRunner

from plw.cli import app

ENDS = ("low", "high", "mde", "a_low", "a_high", "b_low", "b_high")


def compare(a: object, b: object, *options: str, out: Path) -> tuple[str, dict[str, Any]]:
    """What is said, on one line, and the JSON's one row."""
    words = ["compare", str(a), str(b), *options, "--json", str(out)]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0
    (row,) = json.loads(out.read_text())["benchmarks"]
    return " ".join(result.output.split()), row


def sides(
    folder: Path, a: Sequence[float], b: Sequence[float], *, metric: str = "acc", cluster: int = 1
) -> tuple[Path, Path]:
    """Two folders of lm-eval's; ``cluster`` items in a row share a passage."""
    documents = [{"q": number, "passage": f"p{number // cluster}"} for number in range(len(a))]
    for name, outcomes in (("a", a), ("b", b)):
        write_samples(folder / name, "t", {metric: outcomes}, documents)
    return folder / "a", folder / "b"


def test_clusters_that_all_turn_right_are_as_sure_as_so_many_signs(tmp_path: Path) -> None:
    """Ten clusters: a sign test of ten, and Clopper and Pearson's limit of the share that turns right."""
    said, row = compare(*sides(tmp_path, [0.0] * 40, [1.0] * 40, cluster=4), out=tmp_path / "out.json")

    signs = stats.binomtest(10, 10)
    assert (row["clusters"], row["difference"], row["se"]) == (10, 1.0, 0.0)
    assert row["p"] == pytest.approx(signs.pvalue)
    assert row["low"] == pytest.approx(2 * signs.proportion_ci(0.95, method="exact").low - 1)
    assert row["high"] == 1.0
    assert row["mde"] > 0.5
    assert "t: B is higher by 100.00 points" in said
    assert "95 % interval 38.30 to 100.00" in said


def test_so_it_is_where_all_turn_wrong(tmp_path: Path) -> None:
    said, row = compare(*sides(tmp_path, [1.0] * 40, [0.0] * 40, cluster=4), out=tmp_path / "out.json")

    assert (row["low"], row["high"]) == (-1.0, pytest.approx(1 - 2 * 0.025**0.1))
    assert "B is lower by 100.00 points (1 to 0; 95 % interval 38.30 to 100.00" in said


def test_independent_items_that_all_turn_right_keep_mcnemars_test(tmp_path: Path) -> None:
    said, row = compare(*sides(tmp_path, [0.0] * 12, [1.0] * 12), out=tmp_path / "out.json")

    assert (row["test"], row["p"]) == ("exact McNemar", pytest.approx(2 * 0.5**12))
    assert "B is higher by 100.00 points" in said


def test_scores_that_all_rise_by_one_amount(tmp_path: Path) -> None:
    """0.7 - 0.2 leaves a rounding error. Of 40 rises by 0.5, a share of 1 - 0.025^(1/40) may be falls by 1."""
    _, row = compare(*sides(tmp_path, [0.2] * 40, [0.7] * 40), "--margin", "0.6", out=tmp_path / "out.json")

    rises = stats.binomtest(40, 40).proportion_ci(0.95, method="exact").low
    assert row["low"] == pytest.approx(0.5 * rises - (1 - rises))
    assert row["high"] == pytest.approx(0.5 * rises + (1 - rises))
    # The likeliest to show 40 rises of all whose mean is 0: rises of 0.5 and falls of 1, two to one.
    assert row["p"] == pytest.approx(2 * stats.binom.pmf(40, 40, 2 / 3))
    assert (row["a_low"], row["a_high"]) == pytest.approx((0.2 * rises, 0.2 * rises + 1 - rises))
    assert row["equivalent"] is True


def test_a_score_without_bounds_has_no_interval(tmp_path: Path) -> None:
    said, row = compare(*sides(tmp_path, [5.0] * 40, [7.5] * 40, metric="words"), out=tmp_path / "out.json")

    assert [row[name] for name in ENDS] == [None] * len(ENDS)
    assert row["p"] == pytest.approx(stats.binomtest(40, 40).pvalue)
    assert "no interval, since all differences are alike and the score has no bounds" in said


def test_win_rates_that_all_turn(tmp_path: Path) -> None:
    folders = [
        write_cell(tmp_path, f"{side}-0000000{side}", mean_items("t", [value] * 8, "win_rate"))
        for side, value in (("a", 0.0), ("b", 100.0))
    ]
    _, row = compare(*folders, out=tmp_path / "out.json")

    assert row["p"] == pytest.approx(2 * 0.5**8)
    assert (row["low"], row["high"]) == (pytest.approx(100 * (2 * 0.025 ** (1 / 8) - 1)), 100.0)
    assert row["b_low"] == pytest.approx(100 * 0.025 ** (1 / 8))


@pytest.mark.parametrize(("runs", "signs"), [(2, 30), (3, 3), (5, 5)])
def test_runs_of_a_sample_that_all_turn_are_so_many_signs(tmp_path: Path, runs: int, signs: int) -> None:
    """Of three runs and more the interval is of others like them; two are no sample, and the 30 items count."""
    named = [
        ",".join(
            str(write_cell(tmp_path, f"{side}-s{seed}-{seed:07d}{side}", mean_items("t", [value] * 30), seed=seed))
            for seed in range(runs)
        )
        for side, value in (("a", 0.0), ("b", 1.0))
    ]
    said, row = compare(*named, out=tmp_path / "out.json")

    expected = stats.binomtest(signs, signs)
    assert (row["runs"], row["difference"], row["p"]) == (runs, 1.0, pytest.approx(expected.pvalue))
    assert row["low"] == pytest.approx(2 * expected.proportion_ci(0.95, method="exact").low - 1)
    assert ("A difference is shown." in said) == (expected.pvalue < 0.05)


def test_items_whose_differences_cancel_are_not_called_equal(tmp_path: Path) -> None:
    said, row = compare(*sides(tmp_path, [0.0, 1.0] * 20, [1.0, 0.0] * 20, cluster=2), out=tmp_path / "out.json")

    assert (row["difference"], row["differing"], row["p"]) == (0.0, 40, 1.0)
    assert row["high"] == pytest.approx(1 - 0.025 ** (1 / 20))
    assert "equal" not in said
    assert "no difference on any" not in said
