"""`plw compare` on a study's cells: two values of a field, and two registries; what is matched, and the mistakes."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy
from simulated_study import give_items, right_or_wrong, simulate
from typer.testing import CliRunner

from plw.cli import app
from plw.errors import UserError
from plw.registry.rows import CellRow
from plw.registry.store import Registry
from plw.results.items import ItemRow

N = 200
Study = tuple[str, Path]
MakeStudy = Callable[..., Study]


def items_of(cell: CellRow, *, shift: float = 0.2) -> Sequence[ItemRow]:
    """arc rises by ``shift`` from weight 0 to 1; piqa does not. Items have one difficulty in every cell."""
    difficulty_N = np.random.default_rng(0).random(N)
    noise_N = np.random.default_rng(int(cell.cell, 16)).normal(0, 0.05, size=N)
    arc_N = difficulty_N + noise_N < 0.5 + shift * cell.prompt_weight
    return right_or_wrong("arc", list(arc_N)) + right_or_wrong("piqa", list(difficulty_N + noise_N < 0.5))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Read-only."""
    axes = {"weights": (0.0, 0.1, 1.0), "datasets": ("data", "short"), "models": ("wide", "deep", "long")}
    url, runs = simulate(tmp_path_factory.mktemp("grids"), **axes)
    give_items(url, runs, items_of)
    return url, runs


def words(study: Study) -> list[str]:
    url, runs = study
    return ["scale=mini", f"registry.url={url}", f"execution.runs={runs}"]


def compare(*arguments: object, out: Path) -> tuple[str, list[dict[str, Any]]]:
    result = CliRunner().invoke(app, ["compare", *map(str, arguments), "--json", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output, json.loads(out.read_text())["benchmarks"]


def refused(*arguments: object) -> str:
    with pytest.raises(UserError) as error:
        CliRunner().invoke(app, ["compare", *map(str, arguments)], catch_exceptions=False)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_two_weights_of_a_grid(study: Study, tmp_path: Path) -> None:
    """Dataset by dataset, base models paired and taken as a sample; the difference is that of the paired cells."""
    said, rows = compare("p=0", "p=1", *words(study), out=tmp_path / "out.json")

    assert [(row["dataset"], row["benchmark"]) for row in rows] == [
        (dataset, benchmark) for dataset in ("data", "short") for benchmark in ("arc", "piqa")
    ]
    for row in rows:
        assert (row["n"], row["clusters"], row["runs"], row["over"]) == (3 * N, N, 3, "base model")
        assert (row["p_holm"] < 0.05) == (row["benchmark"] == "arc")
    assert 0.1 < rows[0]["difference"] < 0.3
    assert "base models are taken as a sample" in said


def test_where_narrows_both_sides(study: Study, tmp_path: Path) -> None:
    """One base model alone is no sample: the items of its two cells are compared, with the exact test."""
    arguments = ("p=0", "p=0.1", "--where", "dataset=short", "--where", "model=wide", *words(study))
    said, rows = compare(*arguments, out=tmp_path / "out.json")

    assert {row["dataset"] for row in rows} == {"short"}
    assert {(row["n"], row["over"], row["test"]) for row in rows} == {(N, None, "exact McNemar")}
    assert "wide p0.1" in said


def test_two_base_models_speak_for_themselves(make_study: MakeStudy, tmp_path: Path) -> None:
    url, runs = make_study(weights=(0.0, 1.0), datasets=("data",))
    give_items(url, runs, items_of)

    said, rows = compare("p=0", "p=1", *words((url, runs)), out=tmp_path / "out.json")

    assert {(row["n"], row["clusters"], row["over"], row["test"]) for row in rows} == {
        (2 * N, N, None, "t clustered by item")
    }
    assert "those of these models" in said


def test_seeds_of_one_base_are_training_runs(make_study: MakeStudy, tmp_path: Path) -> None:
    url, runs = make_study(weights=(0.0, 1.0), datasets=("data",), models=("wide",), seeds=(1, 2, 3))
    give_items(url, runs, items_of)

    _, rows = compare("p=0", "p=1", *words((url, runs)), out=tmp_path / "out.json")
    _, seeds = compare("seed=1", "seed=3", *words((url, runs)), out=tmp_path / "out.json")

    assert {(row["runs"], row["over"]) for row in rows} == {(3, "training run")}
    assert {(row["runs"], row["over"]) for row in seeds} == {(2, None)}


def test_two_registries(study: Study, tmp_path: Path) -> None:
    """The same cells run again elsewhere, one of them better: matched by dataset, model, weight and seed."""
    url, runs = study
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        shutil.copytree(runs, folder)
        shutil.copy(url.removeprefix("sqlite:///"), folder / "registry.sqlite")
    address = f"sqlite:///{other}/registry.sqlite"
    give_items(address, other, lambda cell: items_of(cell, shift=0.4))

    _, by_folder = compare(one, other, "scale=mini", out=tmp_path / "out.json")
    _, by_url = compare(one, address, "scale=mini", out=tmp_path / "out.json")
    _, narrowed = compare(one, other, "scale=mini", "--where", "p=1", out=tmp_path / "out.json")

    assert by_folder == by_url
    assert {(row["runs"], row["n"]) for row in by_folder} == {(9, 9 * N)}
    assert {(row["runs"], row["over"]) for row in narrowed} == {(3, "base model")}
    assert all((row["p_holm"] < 0.05) == (row["benchmark"] == "arc") for row in narrowed)
    assert narrowed[0]["difference"] > by_folder[0]["difference"] > 0
    (other / "plw-mini" / "d0").rename(other / "plw-mini" / "gone")
    _, rows = compare(one, other, "scale=mini", out=tmp_path / "out.json")
    assert {row["dataset"] for row in rows} == {"short"}
    shutil.rmtree(other / "plw-mini")
    assert "none of 18 cells has items.parquet" in refused(one, other, "scale=mini")


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("p=0", "p=0", "name the same cells"),
        ("p=0", "model=wide", "name the same cells"),
        ("p=0", "p=0.3", "cells have 0, 0.1, 1"),
        ("weight=0", "weight=1", "allowed is FIELD=VALUE"),
        ("p=", "p=1", "allowed is FIELD=VALUE"),
        ("p=0,p=1", "p=1", "named twice"),
        ("seed=1.5", "seed=2", "no whole number"),
        ("p=0", ".", "two values of one field"),
        ("p=0,dataset=data,model=wide", "p=1,dataset=short,model=deep", ""),
    ],
)
def test_a_mistake_is_one_line(study: Study, a: str, b: str, said: str, tmp_path: Path) -> None:
    if said:
        assert said in refused(a, b, *words(study))
    else:
        _, rows = compare(a, b, *words(study), out=tmp_path / "out.json")
        assert {row["dataset"] for row in rows} == {"data and short"}


def test_other_mistakes_are_one_line(study: Study, make_study: MakeStudy, tmp_path: Path) -> None:
    bare = make_study(weights=(0.0, 1.0), datasets=("data",), name="bare")

    assert "has items.parquet" in refused("p=0", "p=1", *words(bare))
    assert "no registry there" in refused(f"sqlite:///{tmp_path}/none.sqlite", "p=0", *words(study))
    assert "it holds study=plw scale=mini" in refused("p=0", "p=1", *words(study), "scale=paper")
    assert "--where" in refused(tmp_path, tmp_path, "--where", "p=1")
    assert "--cluster passage" in refused("p=0", "p=1", "--cluster", "passage", *words(study))
    assert "no benchmark has items of the metric f1" in refused("p=0", "p=1", "--metric", "f1", *words(study))


def test_weights_of_one_datasets_name_and_two_contents_are_not_compared(make_study: MakeStudy) -> None:
    """Such as data that were edited after the first weight was trained."""
    url, runs = make_study(weights=(0.0, 1.0), datasets=("data",), models=("wide",))
    give_items(url, runs, items_of)
    edited = sqlalchemy.text("UPDATE cells SET payload = :payload WHERE prompt_weight = :weight")
    with Registry.open(url) as registry, registry.transaction() as connection:
        for weight in (0.0, 1.0):
            content = json.dumps({"dataset": {"content": f"{weight:g}" * 64}})
            connection.execute(edited, {"payload": content, "weight": weight})
    said = refused("p=0", "p=1", *words((url, runs)))
    assert " have one dataset.name, data, and differ in dataset.content: 000" in said


def test_help_has_an_example_of_each() -> None:
    said = " ".join(CliRunner().invoke(app, ["compare", "--help"]).output.split())

    for example in ("plw compare p=0 p=0.1", "plw compare runs /other/machine/runs", "samples_*.jsonl", "seed=42"):
        assert example in said
