"""The exported table: its columns, its order, every digit."""

import csv
import io
import itertools

import pytest

from plw.registry import export
from plw.registry.export import COLUMNS, export_csv
from plw.registry.owner import Owner
from plw.registry.rows import StageKey, StageRecord
from plw.registry.store import Registry
from plw.results.score import Score


def _fill(url, cells, make_record):
    registry = Registry.open(url)
    for cell in cells:
        stored = registry.ensure_cell(cell)
        key = StageKey(study=cell.study, scale=cell.scale, cell=cell.cell, name="train")
        owner = Owner.here()
        registry.claim(key, kind="train", fingerprint="f-train", owner=owner, lease_timeout_s=60, now=1.0)
        assert registry.finish(key, owner.token, make_record(stored))
    return registry


def test_columns_values_and_missing_fields(url, tmp_path, make_cell, make_record):
    with _fill(url, [make_cell(2.236e-3, r_g=None)], make_record) as registry:
        assert export_csv(registry, tmp_path / "out" / "scores.csv") == 2
    text = (tmp_path / "out" / "scores.csv").read_text()
    assert text.splitlines() == [
        "study,scale,dataset,model,prompt_weight,response_weight,weighting,seed,recipe,r_g,"
        "suite,benchmark,metric,judge,value,stderr,n,headline",
        "plw,mini,short,wide,0.002236,1.0,,42,plain,,suite-train,alpaca_eval,win_rate,world,40.0,,,false",
        "plw,mini,short,wide,0.002236,1.0,,42,plain,,suite-train,arc,acc_norm,,0.3333333333333333,0.02,100,true",
    ]


def test_the_table_does_not_depend_on_the_order_of_work(tmp_path, make_cell, make_record):
    grid = [make_cell(weight) for weight in (0.0, 5e-4, 0.1, 1.0)]
    texts = set()
    for number, order in enumerate(itertools.islice(itertools.permutations(grid), 0, 24, 7)):
        out = io.StringIO()
        with _fill(f"sqlite:///{tmp_path}/{number}.sqlite", order, make_record) as registry:
            export_csv(registry, out)
        texts.add(out.getvalue())
    assert len(texts) == 1
    weights = [float(row["prompt_weight"]) for row in csv.DictReader(io.StringIO(texts.pop()))]
    assert weights == sorted(weights)


@pytest.mark.parametrize(
    "chosen", [{}, {"study": "plw", "scale": "mini"}, {"study": "wit"}, {"scale": "paper"}], ids=str
)
def test_hostile_names_stay_one_field_and_other_studies_stay_out(tmp_path, make_cell, make_record, chosen):
    name = 'a,"b"\nc<script>'
    out = io.StringIO()
    with _fill(f"sqlite:///{tmp_path}/r.sqlite", [make_cell(dataset=name)], make_record) as registry:
        rows = export_csv(registry, out, **chosen)
    read = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert len(read) == rows == (2 if len(chosen) != 1 else 0)
    assert all(tuple(row) == COLUMNS and row["dataset"] == name for row in read)


def test_weightings_of_the_loss_are_told_apart(tmp_path, make_cell, make_record):
    grid = [make_cell(weighting=weighting, cell=f"c{weighting}") for weighting in ("dft", "")]
    out = io.StringIO()
    with _fill(f"sqlite:///{tmp_path}/r.sqlite", grid, make_record) as registry:
        export_csv(registry, out)
    assert [row["weighting"] for row in csv.DictReader(io.StringIO(out.getvalue()))] == ["", "", "dft", "dft"]


def test_scores_of_cells_that_look_alike_go_by_their_names_and_then_by_cell(tmp_path, make_cell, make_record, capsys):
    """Whichever cell was stored first, and whatever its value."""
    parts = ("suite", "benchmark", "metric", "judge")
    names = list(itertools.product(*((f"{part}2", f"{part}1") for part in parts)))
    with Registry.open(f"sqlite:///{tmp_path}/r.sqlite") as registry:
        for cell, value, r_g in (("b", 0.1, 0.5), ("a", 0.2, None)):
            scores = [Score(**dict(zip(parts, name, strict=True)), value=value).to_dict() for name in names]
            registry.import_record(make_record(make_cell(cell=cell, r_g=r_g), scores=scores))
        assert export_csv(registry) == 32
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(*(row[part] for part in parts), row["value"]) for row in rows] == [
        (*name, value) for name in sorted(names) for value in ("0.2", "0.1")
    ]


def test_a_record_from_before_weightings_has_none(make_cell, make_record):
    record = make_record(make_cell(weighting="dft"))
    assert StageRecord.parse(record, "r").cell.weighting == "dft"
    del record["cell"]["weighting"]
    assert StageRecord.parse(record, "r").cell.weighting == ""


def test_recipes_and_judges_are_told_apart_and_batches_do_not_show(tmp_path, make_cell, make_record, monkeypatch):
    grid = [make_cell(weight / 10, recipe=recipe, cell=f"{weight}{recipe}") for weight in range(5) for recipe in "yx"]
    texts = set()
    for size in (500, 1, 3):
        monkeypatch.setattr(export, "CELLS_AT_ONCE", size)
        out = io.StringIO()
        with _fill(f"sqlite:///{tmp_path}/{size}.sqlite", grid, make_record) as registry:
            assert export_csv(registry, out) == 20
        texts.add(out.getvalue())
    assert len(texts) == 1
    rows = list(csv.DictReader(io.StringIO(texts.pop())))
    assert [row["recipe"] for row in rows[:4]] == ["x", "x", "y", "y"]
    assert {row["judge"] for row in rows} == {"world", ""}
    names = ("prompt_weight", "recipe", "suite", "benchmark", "metric", "judge")
    assert rows == sorted(rows, key=lambda row: tuple(row[name] for name in names))
