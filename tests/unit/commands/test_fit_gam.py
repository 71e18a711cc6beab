"""`plw fit gam`: the numbers in the file, the words on the screen, one line for each mistake."""

import json
import sys

import numpy as np
import pandas as pd
import pytest

from analysis.gam.fit import fit_gam
from analysis.r_bridge import r_has
from plw import cli

KEYS = {"edf", "edf_total", "smoothing", "score", "scale", "log_likelihood", "predictions", "predictions_se"}
COLUMNS = ("--score", "acc", "--plw", "w", "--ratio", "r", "--benchmark", "task")


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["plw", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    told = capsys.readouterr()
    return stopped.value.code or 0, told.out, told.err


def scores():
    generator = np.random.default_rng(6)
    w, r, b = (axis.ravel() for axis in np.meshgrid([0.0, 0.001, 0.01, 0.1, 1.0], [0.08, 1.0, 3.3, 7.8], np.arange(3)))
    score = 0.4 + 0.1 * b + 0.3 * w**0.3 - 0.3 * w**0.6 + generator.normal(0, 0.02, len(w))
    return pd.DataFrame({"acc": score, "w": w, "r": r, "task": [f"task {code}" for code in b]})


@pytest.fixture
def table(tmp_path):
    def write(frame=None, name="scores.csv", **changes):
        path = tmp_path / name
        (scores() if frame is None else frame).assign(**changes).to_csv(path, index=False)
        return path

    return write


@pytest.mark.parametrize("method", ["gcv", "reml", "ml"])
def test_the_numbers_are_those_of_the_fit(monkeypatch, capsys, table, tmp_path, method):
    out, file = tmp_path / "fit.json", table()
    code, screen, errors = run(monkeypatch, capsys, "fit", "gam", file, *COLUMNS, "--method", method, "--json", out)
    assert (code, errors) == (0, "")
    made, rows = json.loads(out.read_text()), pd.read_csv(file)
    fit = fit_gam(rows["acc"], rows["w"], rows["r"], list(rows["task"]), method=method)
    assert set(made) >= KEYS
    assert (made["edf_total"], made["score"], made["scale"]) == (fit.edf_total, fit.score, fit.scale)
    assert len(made["edf"]) == 3 + 8
    assert made["smoothing"] == fit.smoothing_2.tolist()
    np.testing.assert_array_equal(made["predictions"], fit.predict(rows["w"], rows["r"], list(rows["task"]))[0])
    assert [item["ratio"] for item in made["optima"]] == [0.08, 1.0, 3.3, 7.8]
    assert "60 scores of 3 benchmarks, by python" in screen
    assert f"{fit.edf_total:.3f}" in screen


def test_predictions_are_made_where_asked(monkeypatch, capsys, table, tmp_path):
    grid = table(pd.DataFrame({"w": [0.0, 0.3], "r": [1.0, 2.0], "task": ["task 2", "task 0"]}), "grid.csv")
    out, rows = tmp_path / "fit.json", scores()
    code, *_ = run(monkeypatch, capsys, "fit", "gam", table(), *COLUMNS, "--predict", grid, "--json", out)
    made = json.loads(out.read_text())
    assert code == 0
    fit = fit_gam(rows["acc"], rows["w"], rows["r"], list(rows["task"]))
    mean_M, error_M = fit.predict([0.0, 0.3], [1.0, 2.0], ["task 2", "task 0"])
    np.testing.assert_allclose(made["predictions"], mean_M, rtol=1e-9)
    np.testing.assert_allclose(made["predictions_se"], error_M, rtol=1e-9)


def test_predictions_outside_the_data_are_told(monkeypatch, capsys, table, tmp_path):
    """The data have ratios from 0.08 to 7.8 and weights of up to 0.1; their ends are within."""
    file, out = table(scores().query("w <= 0.1")), tmp_path / "fit.json"
    for ratios, weights, said in (
        ([0.08, 7.8, 20.0], [0.0, 0.1, 0.1], ["1 prediction outside the data, which have r from 0.08 to 7.8: r 20;"]),
        ([0.01, 1.0, 20.0], [0.0, 0.5, 1.0], ["r 0.01 to 20;", "which have w from 0 to 0.1: w 0.5 to 1;"]),
        ([0.08, 1.0, 7.8], [0.0, 0.05, 0.1], []),
    ):
        grid = table(pd.DataFrame({"w": weights, "r": ratios, "task": "task 1"}), "grid.csv")
        code, screen, errors = run(monkeypatch, capsys, "fit", "gam", file, *COLUMNS, "--predict", grid, "--json", out)
        assert (code, errors) == (0, "")
        told = [line for line in json.loads(out.read_text())["messages"] if "outside" in line]
        assert len(told) == len(said)
        for words in said:
            assert any(words in line for line in told)
            assert words in " ".join(screen.split())


@pytest.mark.r
@pytest.mark.skipif(not r_has("mgcv"), reason="R with mgcv and jsonlite is not installed")
def test_r_gives_the_same_json(monkeypatch, capsys, table, tmp_path):
    file, made = table(task=['b, "x\'" #1', "ü;b", "Z"] * 20), {}
    for engine in ("python", "r"):
        out = tmp_path / f"{engine}.json"
        code, _, errors = run(monkeypatch, capsys, "fit", "gam", file, *COLUMNS, "--engine", engine, "--json", out)
        assert (code, errors) == (0, "")
        made[engine] = json.loads(out.read_text())
    assert set(made["python"]) - {"optima"} <= set(made["r"])
    assert "mgcv" in made["r"]["engine"]
    for key in KEYS | {"coefficients"}:
        np.testing.assert_allclose(made["python"][key], made["r"][key], rtol=1e-5, atol=1e-7)


def test_one_benchmark_is_fitted_and_told(monkeypatch, capsys, table):
    file = table(scores().query("task == 'task 1'"))
    code, screen, errors = run(monkeypatch, capsys, "fit", "gam", file, *COLUMNS)
    assert (code, errors) == (0, "")
    assert "one benchmark only" in screen


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"r": None}, "column 'r' is missing"),
        ({"acc": "good"}, "row 2: acc is 'good'; allowed is a number from 0 to 1"),
        ({"acc": 62.5}, "row 2: acc is '62.5'; allowed is a number from 0 to 1"),
        ({"acc": ""}, "row 2: acc is empty"),
        ({"w": 1.5}, "row 2: w is '1.5'; allowed is a number from 0 to 1"),
        ({"r": -1.0}, "row 2: r is -1; allowed is a ratio of 0 or more"),
        ({"task": ""}, "row 2: task is empty"),
        ({"acc": 0.25}, "all 60 scores are 0.25"),
        ({"w": 0.1}, "needs 3 different values of the prompt weight or more; found 0.1"),
        ({"r": 2.0}, "needs 3 different values of the ratio or more; found 2"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(monkeypatch, capsys, table, tmp_path, changes, words):
    frame = scores().drop(columns=[name for name, value in changes.items() if value is None])
    changes = {name: value for name, value in changes.items() if value is not None}
    out = tmp_path / "fit.json"
    code, _, errors = run(monkeypatch, capsys, "fit", "gam", table(frame, **changes), *COLUMNS, "--json", out)
    assert code == 2
    assert len(errors.splitlines()) == 1
    assert "scores.csv" in errors
    assert words in errors
    assert not out.exists()


@pytest.mark.parametrize(("text", "words"), [(None, "no such file"), ("", "is empty"), ("acc,w,r,task\n", "no row")])
def test_a_file_without_scores_is_one_line(monkeypatch, capsys, tmp_path, text, words):
    path = tmp_path / "scores.csv"
    if text is not None:
        path.write_text(text)
    code, _, errors = run(monkeypatch, capsys, "fit", "gam", path, *COLUMNS)
    assert (code, len(errors.splitlines())) == (2, 1)
    assert words in errors


def test_a_grid_with_an_unknown_benchmark_names_its_row(monkeypatch, capsys, table):
    grid = table(pd.DataFrame({"w": [0.0, 0.3], "r": [1.0, 2.0], "task": ["task 2", "chess"]}), "grid.csv")
    code, _, errors = run(monkeypatch, capsys, "fit", "gam", table(), *COLUMNS, "--predict", grid)
    assert code == 2
    assert "grid.csv: row 3: task is 'chess'" in errors
    assert "it has task 0, task 1, task 2" in errors
