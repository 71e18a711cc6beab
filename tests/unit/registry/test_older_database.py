"""A database of an older plw: it gets the columns that were added since, and its cells the names they lacked."""

import json
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from plw.files import write_json_atomic
from plw.registry.owner import Owner
from plw.registry.rebuild import rebuild
from plw.registry.rows import StageKey
from plw.registry.store import Registry

ADDED = {"cells": ["recipe"], "curves": ["penalty", "held_out_completion_loss", "tokens_per_second", "mfu"]}
RECIPES = {"plain": {"epochs": 3}, "decay": {"epochs": 3, "weight_decay": 0.1}}


@pytest.fixture
def older(url, make_cell, make_record):
    """A registry with two cells of other recipes, as it was before recipes were named."""
    with Registry.open(url) as registry:
        for weight, recipe in zip((0.0, 0.1), RECIPES.values(), strict=True):
            payload = json.dumps({"loss": {}, "recipe": recipe}, sort_keys=True, separators=(",", ":"))
            cell = registry.ensure_cell(make_cell(weight, payload=payload))
            key = StageKey(study=cell.study, scale=cell.scale, cell=cell.cell, name="train")
            owner = Owner.here()
            registry.claim(key, kind="train", fingerprint="f-train", owner=owner, lease_timeout_s=60, now=1.0)
            assert registry.finish(key, owner.token, make_record(cell))
    engine = create_engine(url)
    with engine.begin() as connection:
        for table, columns in ADDED.items():
            for column in columns:
                connection.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN {column}")
    engine.dispose()
    return url


@pytest.mark.parametrize("create", [True, False])
def test_columns_are_added_and_rows_stay(older, create):
    with Registry.open(older, create=create) as registry:
        cells, frame, curves = registry.cells(), registry.scores_frame(), registry.curves_frame()
    assert [cell.recipe for cell in cells] == [None, None]
    assert set(frame["recipe"]) == {""}
    assert len(frame) == 4
    assert curves["penalty"].isna().all()
    engine = create_engine(older)
    for table, columns in ADDED.items():
        assert set(columns) <= {column["name"] for column in inspect(engine).get_columns(table)}
    engine.dispose()


def test_a_named_cell_names_the_older_ones_of_the_same_recipe(older, make_cell):
    payload = json.dumps({"recipe": RECIPES["decay"]}, separators=(",", ":"))
    with Registry.open(older) as registry:
        registry.ensure_cell(make_cell(0.5, payload=payload, recipe="decay"))
        named = {cell.prompt_weight: cell.recipe for cell in registry.cells()}
    assert named == {0.0: None, 0.1: "decay", 0.5: "decay"}


def test_a_cell_seen_again_gets_its_recipes_name(older):
    with Registry.open(older) as registry:
        first = registry.cells()[0]
        again = registry.ensure_cell(type(first)(**first.to_dict() | {"recipe": "plain"}))
        assert again.recipe == "plain"
        assert registry.ensure_cell(type(first)(**first.to_dict() | {"recipe": "other"})).recipe == "plain"


def test_a_rebuild_names_what_the_records_name(tmp_path: Path, make_cell, make_record):
    """Records from before and after recipes were named, in any order of their folders."""
    payload = json.dumps({"recipe": RECIPES["decay"]}, separators=(",", ":"))
    for weight, recipe in ((0.0, None), (0.1, "decay"), (1.0, None)):
        cell = make_cell(weight, payload=payload)
        record = make_record(cell)
        if recipe is None:
            del record["cell"]["recipe"]
        else:
            record["cell"]["recipe"] = recipe
        write_json_atomic(tmp_path / "runs" / cell.folder / "train" / "record.json", record)
    rebuild(f"sqlite:///{tmp_path}/new.sqlite", tmp_path / "runs")
    with Registry.open(f"sqlite:///{tmp_path}/new.sqlite") as registry:
        assert {cell.recipe for cell in registry.cells()} == {"decay"}
