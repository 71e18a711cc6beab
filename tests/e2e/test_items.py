"""Items of a real sweep: a table beside every record that scores, whose means are the scores; two cells compared."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from plw.files.hashing import file_hash
from plw.files.reading import read_json
from plw.results.corpus_metrics import corpus_scores
from plw.results.items import ITEMS, read_item_export
from tests.e2e.conftest import Study

pytestmark = pytest.mark.slow

BENCHMARKS = 13


def cells(study: Study) -> list[Path]:
    """Folders of two cells that differ in the weight alone."""
    return sorted(study.runs.glob("*/world-short/*/p*"))


def test_every_stage_that_scores_answers_leaves_its_items(undisturbed: Study) -> None:
    for cell in cells(undisturbed):
        for stage in cell.iterdir():
            if not (stage / ITEMS).exists():
                continue
            record = read_json(stage / "record.json")
            assert record["products"][ITEMS]["sha256"] == file_hash(stage / ITEMS)
        assert {path.parent.name.split("-")[0] for path in cell.glob(f"*/{ITEMS}")} == {"harness", "generate", "judge"}


def test_items_make_the_scores(undisturbed: Study) -> None:
    compared = 0
    for cell in cells(undisturbed):
        for path in cell.glob(f"*/{ITEMS}"):
            rows = pq.read_table(path).to_pandas()
            for score in read_json(path.parent / "record.json")["scores"]:
                items = rows[(rows["benchmark"] == score["benchmark"]) & (rows["metric"] == score["metric"])]
                if items.empty:
                    continue
                compared += 1
                assert bool(items["headline"].all()) == score["headline"]
                if items["aggregation"].iloc[0] == "mean":
                    found = items["value"].mean()
                else:
                    sums = np.sum(np.stack(list(items["counts"])), axis=0, dtype=np.float64)
                    found = corpus_scores(items["aggregation"].iloc[0], sums[None, :])[0]
                assert found == pytest.approx(score["value"]), (path, score)
    assert compared >= 2 * BENCHMARKS


def test_two_weights_are_compared(undisturbed: Study, tmp_path: Path) -> None:
    a, b = cells(undisturbed)
    out = tmp_path / "out.json"

    done = undisturbed.call("compare", str(a), b.name[-8:], "--margin", "0.1", "--json", str(out))

    rows = json.loads(out.read_text())["benchmarks"]
    assert len(rows) == BENCHMARKS
    assert {row["test"] for row in rows} >= {"exact McNemar", "paired bootstrap"}
    records = {cell: [read_json(path) for path in cell.glob("*/record.json")] for cell in (a, b)}
    for side, cell in (("a", a), ("b", b)):
        headline = {s["benchmark"]: s["value"] for r in records[cell] for s in r["scores"] if s["headline"]}
        assert {row["benchmark"]: pytest.approx(row[side]) for row in rows} == headline
    assert "arc" in done.stdout


def test_items_of_a_study_are_exported(undisturbed: Study, tmp_path: Path) -> None:
    table, text = tmp_path / "items.parquet", tmp_path / "items.csv"

    undisturbed.call("items", "export", "--out", str(table))
    undisturbed.call("items", "export", "--out", str(text))

    rows = pq.read_table(table)
    assert len(read_item_export(table)) == len(rows)
    assert len(rows["cell"].unique()) == 4
    assert {"dataset", "model", "prompt_weight", "seed", "stage", "benchmark", "value", "counts"} <= set(
        rows.column_names
    )
    assert len(text.read_text().splitlines()) == len(rows) + 1
    refused = undisturbed.call("items", "export", "--out", str(tmp_path / "items.xlsx"), code=2)
    assert "items.xlsx" in refused.stderr
