"""`plw recommend`: R_g of a file, Table 4 of the paper, and the registry's own model or why there is none."""

import json
import sys

import numpy as np
import pytest

from plw import cli
from plw.registry.rows import CellRow
from plw.registry.store import Registry
from plw.results.score import Score
from tests.unit.analysis.simulated_study import write_stage

WEIGHTS, RATIOS = (0.0, 0.01, 0.1, 1.0), {"data": 3.0, "cleaned": 7.5, "short": 0.1}
TASKS = ("arc", "piqa", "truthful_gen", "alpaca_eval")


@pytest.fixture
def recommend(monkeypatch, capsys, tmp_path, tiny_tokenizer):
    """Call the command on a file of six records; returns exit code, screen, errors and the JSON."""
    tiny_tokenizer.save_pretrained(tmp_path / "tokenizer")
    data, out = tmp_path / "mine.json", tmp_path / "advice.json"

    def call(*overrides, output="It is 42. " * 3, records=6):
        rows = [{"instruction": "Give me the sum of 12 and 30.", "input": "", "output": output}] * records
        data.write_text(json.dumps(rows))
        words = ["recommend", data, "--tokenizer", tmp_path / "tokenizer", f"execution.runs={tmp_path}", *overrides]
        monkeypatch.setattr(sys, "argv", ["plw", *map(str, words), "--json", str(out)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        told = capsys.readouterr()
        return stopped.value.code or 0, told.out, told.err, json.loads(out.read_text()) if out.exists() else None

    return call


def write_registry(folder, datasets):
    """Scores that rise with the weight, as the registry itself holds them."""
    generator = np.random.default_rng(3)
    with Registry.open(f"sqlite:///{folder}/registry.sqlite") as registry:
        for number, (dataset, weight) in enumerate((d, w) for d in datasets for w in WEIGHTS):
            cell = registry.ensure_cell(CellRow(
                study="plw", scale="mini", cell=f"{number:064x}", dataset=dataset, model="wide", prompt_weight=weight,
                response_weight=1.0, normalizer="nonzero", scope="batch", seed=42, r_g=RATIOS[dataset],
                folder=f"plw-mini/{dataset}/p{weight:g}", payload="{}", created=1.0, recipe="plain",
            ))  # fmt: skip
            scores = [
                Score(
                    suite="world", benchmark=name, metric="acc", value=float(0.3 + 0.3 * weight + noise), stderr=0.03,
                    n=100, headline=True, higher_is_better=True,
                )
                for name, noise in zip(TASKS, generator.normal(0, 0.01, len(TASKS)), strict=True)
            ]  # fmt: skip
            write_stage(registry, folder, cell, "harness", scores)


def test_without_a_registry_the_papers_part_still_comes(recommend, tmp_path):
    code, screen, errors, made = recommend()
    assert (code, errors) == (0, "")
    assert "no registry there" in made["no_model"]
    assert sum("no registry there" in line for line in screen.splitlines()) == 1
    assert [item["aggregate"] for item in made["published"]] == ["all", "multiple choice", "generation"]
    assert made["own"] == []
    assert f"{made['r_g']:.4g}" in screen
    assert " ".join(made["advice"].split()) in " ".join(screen.split())
    assert not (tmp_path / "registry.sqlite").exists()


def test_r_g_is_that_of_the_data_and_the_advice_follows_it(recommend):
    few = recommend(output="Yes.")[3]
    many = recommend(output="It is 42, because 12 + 30 = 42. " * 20)[3]
    assert few["r_g"] < 1 < 6 < many["r_g"]
    assert (few["plw"], many["plw"]) == (pytest.approx(0.155, abs=0.1), None)
    assert many["advice"].startswith("It hardly matters at R_g 8, the nearest")


def test_the_registrys_own_model_stands_beside_the_paper(recommend, tmp_path):
    write_registry(tmp_path, ("data", "cleaned", "short"))
    code, screen, errors, made = recommend()
    assert (code, errors, made["no_model"]) == (0, "", None)
    own = {item["aggregate"]: item for item in made["own"]}
    assert own["all"]["plw"] == 1.0
    assert own["all"]["low"] <= 1.0 <= own["all"]["high"]
    assert "model of plw-mini" in screen
    # The embedded world's models decide nothing for others.
    assert made["plw"] != 1.0
    assert "no evidence for others" in made["advice"]


def test_all_evidence_stands_in_one_table_with_how_far_it_agrees(recommend, tmp_path):
    write_registry(tmp_path, ("data", "cleaned", "short"))
    code, screen, errors, made = recommend(output="It is 42, because 12 + 30 = 42. " * 5)
    assert (code, errors) == (0, "")
    sources = {item["source"]: item for item in made["evidence"]}
    own = [item for name, item in sources.items() if name.startswith("this registry")]
    assert len(own) == 2
    # The embedded world's base models are no evidence for others.
    assert not any(item["speaks"] for item in own)
    assert sources["WIT paper's grid (Alpaca-Cleaned, 5 base models)"]["speaks"]
    assert set(made["agreement"]) == {"all", "multiple choice", "generation"}
    told = " ".join(screen.split())
    for kind, words in made["agreement"].items():
        assert f"- {kind}: {words}" in told


def test_a_registry_of_too_few_ratios_says_so(recommend, tmp_path):
    write_registry(tmp_path, ("data", "short"))
    code, screen, _, made = recommend()
    assert code == 0
    assert "3 different generation ratios or more; found short 0.1, data 3" in made["no_model"]
    assert screen.count("No model") == 1


def test_a_registry_without_the_study_says_so(recommend, tmp_path):
    Registry.open(f"sqlite:///{tmp_path}/registry.sqlite").close()
    code, _, _, made = recommend()
    assert (code, made["own"]) == (0, [])
    assert "nothing of study plw at scale mini" in made["no_model"]


def test_a_scales_own_sample_is_not_drawn_of_a_file(recommend):
    code, _, errors, made = recommend("scale=pocket")
    assert (code, errors) == (0, "")
    assert made["r_g"] == recommend()[3]["r_g"]
    assert "dataset.sample=7 is more than the dataset's 6 records" in recommend("dataset.sample=7")[2]


def test_data_without_completions_is_one_line(recommend):
    code, _, errors, made = recommend(output="")
    assert (code, made) == (2, None)
    assert len(errors.splitlines()) == 1
    assert "no record has a completion token" in errors


def test_missing_data_is_one_line(recommend, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["plw", "recommend", str(tmp_path / "none.json"), "--tokenizer", str(tmp_path)])
    with pytest.raises(SystemExit):
        cli.main()
    assert "none.json: no such file" in capsys.readouterr().err


def test_kinds_of_task_are_told_of_the_nearest_dataset(recommend, tmp_path):
    """One base model with four weights shows nothing, so bounds are told; the nearest is so by its logarithm."""
    write_registry(tmp_path, ("data", "short"))

    code, screen, _, made = recommend("scale=mini")

    nearest = min(RATIOS, key=lambda name: abs(np.log(RATIOS[name] / made["r_g"])) if name != "cleaned" else np.inf)
    assert (code, made["by_kind"]["dataset"]) == (0, nearest)
    groups = {item["name"]: item for item in made["by_kind"]["verdicts"] if item["scope"] == "group"}
    assert {"multiple_choice", "short_generation", "long_generation"} <= set(groups)
    told = " ".join(screen.split())
    for name, verdict in groups.items():
        # So few cells may exclude nothing that a score can do; then there is no bound.
        bound = verdict["excluded"]
        assert verdict["direction"] == "up" if verdict["moved"] else bound is None or 0 < bound < 100
        assert ("excluded" in told) or bound is None
        assert f"- {name.replace('_', ' ').capitalize()}:" in told
