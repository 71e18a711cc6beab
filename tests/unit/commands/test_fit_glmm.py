"""`plw fit glmm`: the numbers in the file, the words on the screen, one line for each mistake."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from plw import cli

KEYS = {
    "fixed",
    "fixed_se",
    "random",
    "dispersion",
    "log_likelihood",
    "wald",
    "lrt",
    "optimum",
    "converged",
    "messages",
}


@pytest.fixture
def table(tmp_path):
    generator = np.random.default_rng(6)
    plw, b, m = (axis.ravel() for axis in np.meshgrid([0.0, 0.001, 0.01, 0.1, 1.0], np.arange(4), np.arange(2)))
    w = plw**0.30103
    mean = expit(-0.8 + 3 * w - 2.4 * w**2 + 0.3 * generator.standard_normal(4)[b] * w)
    score = generator.beta(mean * 40, (1 - mean) * 40)
    frame = pd.DataFrame({"acc": score, "weight": plw, "task": [f"t{code}" for code in b], "base": m, "run": 1})

    def write(**changes):
        path = tmp_path / "scores.csv"
        frame.assign(**changes).to_csv(path, index=False)
        return path

    return write


def _plw(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["plw", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    out = capsys.readouterr()
    return stopped.value.code or 0, out.out, out.err


COLUMNS = ("--score", "acc", "--plw", "weight", "--benchmark", "task", "--model", "base")


@pytest.mark.parametrize("more", [(), ("--poly", "orthogonal"), ("--seed", "run"), ("--bootstrap", "3")])
def test_the_numbers_and_the_words(monkeypatch, capsys, table, tmp_path, more):
    out = tmp_path / "fit.json"
    code, screen, errors = _plw(monkeypatch, capsys, "fit", "glmm", table(), *COLUMNS, *more, "--json", out)
    assert (code, errors) == (0, "")
    made = json.loads(out.read_text())
    assert set(made) >= KEYS
    assert set(made["fixed"]) == set(made["fixed_se"]) == {"intercept", "w", "w2"}
    assert set(made["wald"]) == set(made["lrt"]) == {"chisq", "df", "p"}
    assert set(made["optimum"]) == {"plw", "low", "high"}
    assert ("bootstrap" in made) == ("--bootstrap" in more)
    assert ("seed" in made["random"]) == ("--seed" in more)
    assert f"{made['fixed']['w']:.4f}" in screen
    assert "likelihood ratio" in screen
    for message in made["messages"]:
        assert message in screen


def test_power_of_larger_studies(monkeypatch, capsys, table, tmp_path):
    out = tmp_path / "power.json"
    words = ("fit", "power", table(), *COLUMNS, "--benchmarks", 4, "--seeds", 1, "--seeds", 2, "--studies", 3)
    code, screen, errors = _plw(monkeypatch, capsys, *words, "--json", out)
    assert (code, errors) == (0, "")
    assert [row["seeds"] for row in json.loads(out.read_text())["power"]] == [1, 2]
    assert "Power by size of study" in screen


@pytest.mark.parametrize(("changes", "line"), [
    ({"acc": 1.5}, "row 2: acc is '1.5'; allowed is a number from 0 to 1"),
    ({"acc": "much"}, "row 2: acc is 'much'; allowed is a number from 0 to 1"),
    ({"acc": ""}, "row 2: acc is empty; allowed is a number from 0 to 1"),
    ({"acc": "nan"}, "row 2: acc is 'nan'; allowed is a number from 0 to 1"),
    ({"weight": -1}, "row 2: weight is '-1'; allowed is a number from 0 to 1"),
    ({"task": "arc"}, "one benchmark only (arc); slopes that differ by benchmark need at least two"),
    ({"task": ""}, "row 2: task is empty; a name is needed"),
    ({"weight": 0.1}, "one weight only (PLW 0.1); a parabola needs three"),
    ({"acc": 0.5}, "every score is 0.5; there is nothing to explain"),
])  # fmt: skip
def test_a_mistake_is_one_line(monkeypatch, capsys, table, changes, line):
    path = table(**changes)
    code, screen, errors = _plw(monkeypatch, capsys, "fit", "glmm", path, *COLUMNS)
    assert (code, screen, errors) == (2, "", f"plw: {path}: {line}\n")


def test_files_that_are_none(monkeypatch, capsys, table, tmp_path):
    def line(path, *arguments):
        code, _, errors = _plw(monkeypatch, capsys, "fit", "glmm", path, *arguments)
        assert code == 2
        assert errors.count("\n") == 1
        return errors

    assert "nothing.csv: no such file" in line(tmp_path / "nothing.csv")
    assert "column 'score' is missing; the file has acc, weight, task, base, run" in line(table())
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    assert "the file is empty" in line(empty)
    empty.write_text("acc,weight,task,base\n")
    assert "there is no row under the header" in line(empty, *COLUMNS)
    empty.write_bytes(b"\xff\xfe\x00a,b\n\x00")
    assert "empty.csv: " in line(empty, *COLUMNS)
    assert "cannot be read" in line(tmp_path, *COLUMNS)


def test_rows_that_repeat_another_are_said_to_be_taken_for_independent(monkeypatch, capsys, table):
    """As in an export of several response weights, where one score would count as many."""
    path = table()
    once = pd.read_csv(path)
    code, screen, _ = _plw(monkeypatch, capsys, "fit", "glmm", path, *COLUMNS)
    assert code == 0
    assert "independent repeats" not in screen
    pd.concat([once, once.assign(acc=once["acc"] * 0.99, run=2)]).to_csv(path, index=False)
    code, screen, _ = _plw(monkeypatch, capsys, "fit", "glmm", path, *COLUMNS)
    assert code == 0
    assert "40 scores of a task, base and weight that an earlier row has too" in " ".join(screen.split())
    code, screen, _ = _plw(monkeypatch, capsys, "fit", "glmm", path, *COLUMNS, "--seed", "run")
    assert code == 0
    assert "independent repeats" not in screen
