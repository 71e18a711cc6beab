"""`hydra/sweeper=adaptive` on a tiny model: each combination is searched by itself; each mistake is one line."""

import sys

import pytest

from plw import cli
from tests.unit.commands.tune_case import WORDS, registry


def test_a_failed_cell_ends_the_search_of_its_combination_alone(place, tiny_llama, monkeypatch, capsys):
    words = [
        "run", "-m", "hydra/sweeper=adaptive", "hydra.sweeper.budget=4", "hydra.sweeper.margin=0.00001", "study=own",
        "scale=own", "model=folder", "model.name=tiny", f"model.path={tiny_llama}", "dataset=file", "dataset.name=mine",
        f"dataset.path={place}/mine.json", "dataset.limit=32", "suite=held-out", "stages=[train,generate]",
        f"suite.prompts.held_out.prompts={place}/mine.json", "execution.max_attempts=1",
        "loss.prompt_weight=0,0.01,0.1,1", *WORDS, "recipe.learning_rate=1e12,1e-3", f"execution.runs={place}/runs",
        *registry(place),
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["plw", *words])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    told = capsys.readouterr()
    assert stopped.value.code == 1
    assert told.err == "plw: 3 stages failed; the same command tries them again\n"
    assert "recipe.learning_rate=0.001\nTake prompt weight" in told.out
    assert "recipe.learning_rate=1000000000000.0\nNo weight is found here: a cell failed." in told.out
    assert len(list((place / "runs").rglob("generate-*/record.json"))) == 4


def test_the_sweeper_searches_each_combination_of_a_study(tune, place, tiny_llama, monkeypatch, capsys):
    words = [
        "run", "-m", "hydra/sweeper=adaptive", "hydra.sweeper.budget=3", "study=own", "scale=own", "model=folder",
        "model.name=tiny", f"model.path={tiny_llama}", "dataset=file", "dataset.name=mine",
        f"dataset.path={place}/mine.json", "dataset.limit=32", "suite=held-out", "stages=[train,generate]",
        f"suite.prompts.held_out.prompts={place}/mine.json",
        "loss.prompt_weight=0,0.01,0.1,1", "seed=1,2", *WORDS, f"execution.runs={place}/runs", *registry(place),
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["plw", *words])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    told = capsys.readouterr()
    assert (stopped.value.code or 0, told.err) == (0, "")
    assert {path.parents[1].name.rsplit("-", 1)[0] for path in (place / "runs").rglob("generate-*/record.json")} == {
        f"p{weight}-r1-s{seed}" for weight in ("0", "0.1", "1") for seed in (1, 2)
    }
    for seed in (1, 2):
        assert f"seed={seed}\nTake prompt weight" in told.out
    for other, said in (
        ("hydra.sweeper.budget=1", "hydra.sweeper.budget=1"),
        ("hydra.sweeper.budget=x", "hydra.sweeper.budget=x: allowed is a whole number"),
        ("hydra.sweeper.budget=2.5", "hydra.sweeper.budget=2.5: allowed is a whole number"),
        ("hydra.sweeper.margin=abc", "hydra.sweeper.margin=abc: allowed is a share"),
        ("hydra.sweeper.margin=null", "hydra.sweeper.margin=None: allowed is a share"),
        ("stages=[train]", "no headline score to choose a weight by in stages=train"),
        ("loss.prompt_weight=1", "give loss"),
    ):
        field = other.partition("=")[0]
        kept = [word for word in words if word.partition("=")[0] != field]
        monkeypatch.setattr(sys, "argv", ["plw", *kept, other])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        told = capsys.readouterr()
        (line,) = told.err.strip().splitlines()
        assert (stopped.value.code, told.out) == (2, "")
        assert said in line
