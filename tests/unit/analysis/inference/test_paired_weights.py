"""Each weight against the smallest on paired items, and the noise floor: known numbers are found again."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from simulated_study import GROUPS, give_items, right_or_wrong, some_items
from study_frames import frame_of

from analysis.figures.forest import figure_forest
from analysis.inference.noise import noise_floor
from analysis.inference.paired_weights import WeightComparisons, weight_comparisons
from analysis.scores.benchmarks import Benchmarks
from analysis.scores.frame import tidy_frame
from analysis.scores.study import read_study
from analysis.tables.paired import comparisons_table, noise_sentence, noise_table
from plw.registry.rows import CellRow
from plw.results.items import ItemRow

MakeStudy = Callable[..., tuple[str, Path]]


def compared(url: str, runs: Path, best: float = 0.1) -> WeightComparisons:
    read = read_study(url, runs, "plw", "mini", configured=lambda name: Benchmarks(groups=GROUPS))
    return weight_comparisons(read, tidy_frame(read.scores, GROUPS, read.cells), {"data": best})


def test_each_weight_is_held_against_0_and_the_best_against_1(make_study: MakeStudy) -> None:
    """Items of one cell are missing; it is left out, and the others of its weight are compared."""
    url, runs = make_study(weights=(0.0, 0.1, 1.0), datasets=("data",), models=("wide", "deep", "long"))

    def items(cell: CellRow) -> list:
        return [] if (cell.model, cell.prompt_weight) == ("deep", 0.1) else some_items(cell)

    give_items(url, runs, items)
    rows = {(row.weight, row.reference, row.found.benchmark): row for row in compared(url, runs).rows}

    assert {key[:2] for key in rows} == {(0.1, 0.0), (1.0, 0.0), (0.1, 1.0)}
    moved, still = rows[1.0, 0.0, "alpaca_eval"], rows[1.0, 0.0, "arc"]
    assert moved.found.difference == pytest.approx(40, abs=8)
    assert (moved.group, moved.found.over, moved.found.runs) == ("long_generation", "base model", 3)
    assert moved.found.p < 0.05 < still.found.p
    assert (rows[0.1, 0.0, "arc"].found.runs, rows[0.1, 0.0, "arc"].found.over) == (2, None)
    assert rows[0.1, 1.0, "alpaca_eval"].found.difference < -25
    raw = comparisons_table(list(rows.values())).raw
    assert len(raw) == 6
    assert {"dataset", "weight", "reference", "low", "high", "p_holm", "mde", "equivalent"} <= set(raw)


def test_without_weight_0_each_weight_is_held_against_the_smallest(make_study: MakeStudy) -> None:
    url, runs = make_study(weights=(0.1, 0.5, 1.0), datasets=("data",), models=("wide", "deep", "long"))
    give_items(url, runs, some_items)

    found = compared(url, runs)

    # The smallest weight is the best here: it is held against 1 already.
    assert {(row.weight, row.reference) for row in found.rows} == {(0.5, 0.1), (1.0, 0.1)}
    table = comparisons_table(found.rows)
    assert list(table.shown) == ["dataset", "benchmark", "PLW 0.1", "0.5", "1", "detectable"]
    assert "Difference from PLW 0.1 in points" in table.caption
    assert "PLW 0 " not in table.caption
    assert (table.shown != "–").all(axis=None)
    assert figure_forest(found.rows) is not None


def test_of_one_weight_the_note_is_that_there_is_but_one(make_study: MakeStudy) -> None:
    url, runs = make_study(weights=(0.1,), datasets=("data",), models=("wide",))
    give_items(url, runs, some_items)

    found = compared(url, runs)

    assert list(found.rows) == []
    assert list(found.notes) == ["There is but one prompt weight, PLW 0.1: no difference between weights to show."]


def test_what_cannot_be_compared_is_named_with_the_reason(make_study: MakeStudy) -> None:
    """Other documents of arc at weight 1, and a metric of piqa that is no mean over items."""
    url, runs = make_study(weights=(0.0, 0.1, 1.0), datasets=("data",), models=("wide",))

    def items(cell: CellRow) -> list[ItemRow]:
        rows = [row for row in some_items(cell) if row.benchmark == "alpaca_eval"]
        arc = right_or_wrong("arc", np.arange(20) < 10)
        if cell.prompt_weight == 1.0:
            arc = [replace(row, item_hash=f"other {row.item_hash}") for row in arc]
        odd = [replace(row, aggregation="median") for row in right_or_wrong("piqa", np.arange(20) < 10)]
        return rows + arc + odd

    give_items(url, runs, items)
    found = compared(url, runs)
    reasons = {(item.benchmark, item.weight, item.reference): item.reason for item in found.left_out}
    assert reasons["arc", 1.0, 0.0] == "no item in common; the documents differ"
    assert ("arc", 0.1, 0.0) not in reasons
    assert {key[1:] for key in reasons if key[0] == "piqa"} == {(0.1, 0.0), (1.0, 0.0), (0.1, 1.0)}
    assert reasons["winogrande", 0.1, 0.0] == "no items of it were kept"
    # Every benchmark that has a score, at every pair of weights.
    made = {(row.found.benchmark, row.weight, row.reference) for row in found.rows}
    assert not made & set(reasons)
    assert len(made | set(reasons)) == 3 * len(GROUPS)
    caption = comparisons_table(found.rows, found.left_out).caption
    assert "arc on data at 1 against 0 and arc on data at 0.1 against 1 (no item in common" in caption
    assert "piqa (acc is neither a mean over items nor made of counts)" in caption
    listed = json.loads(json.dumps(found.to_list(), allow_nan=False))
    assert len({tuple(sorted(entry)) for entry in listed}) == 1, "all entries have the same fields"
    [entry] = [item for item in listed if (item["benchmark"], item["weight"], item["reference"]) == ("piqa", 1.0, 0.0)]
    assert (entry["p"], entry["not_compared"]) == (None, reasons["piqa", 1.0, 0.0])
    assert [item["not_compared"] for item in listed[: len(found.rows)]] == [None] * len(found.rows)


def test_the_correction_is_over_weights_and_benchmarks(make_study: MakeStudy) -> None:
    url, runs = make_study(weights=(0.0, 0.01, 0.1, 1.0), datasets=("data",), models=("wide",))
    give_items(url, runs, some_items)

    found = [row.found for row in compared(url, runs).rows if row.reference == 0]

    smallest = min(found, key=lambda row: row.p)
    assert smallest.p_holm == pytest.approx(min(1.0, 6 * smallest.p))


def test_without_items_the_reason_is_said(make_study: MakeStudy) -> None:
    url, runs = make_study(weights=(0.0, 1.0), datasets=("data",))
    assert "items" in compared(url, runs).notes[0]

    give_items(url, runs, some_items)
    for path in runs.rglob("items.parquet"):
        path.write_bytes(b"PAR1")
    found = compared(url, runs)
    assert not found.rows
    assert all("not a Parquet file" in note for note in found.notes)


def test_the_spread_over_seeds_and_over_bases_is_found() -> None:
    """A seed moves its own cell by 2 points; a base model has a level of its own, and a slope by 5 points."""
    generator = np.random.default_rng(3)
    models, seeds, weights = [f"base {number}" for number in range(12)], range(12), (0.0, 0.5, 1.0)
    level = {model: generator.uniform(0.3, 0.6) for model in models}
    slope = {model: generator.normal(0, 0.05) for model in models}

    def rule(dataset: str, benchmark: str, model: str, weight: float, seed: int) -> float:
        own = slope[model] if benchmark == "arc" else 0.0
        return level[model] + own * (weight > 0) + generator.normal(0, 0.02)

    noise = noise_floor(frame_of(rule, models=models, seeds=seeds, weights=weights)).set_index(["benchmark", "source"])

    seed = noise.loc[("arc", "seed")]
    assert (seed["df"], seed["sd"]) == (12 * 3 * 11, pytest.approx(2, rel=0.1))
    assert seed["sd_low"] < 2 < seed["sd_high"]
    assert seed["floor"] == pytest.approx(1.96 * 2**0.5 * 2, rel=0.12)
    ends = [seed["sd"] * (seed["df"] / stats.chi2.isf(tail, seed["df"])) ** 0.5 for tail in (0.025, 0.975)]
    assert seed[["sd_low", "sd_high"]].tolist() == pytest.approx(ends)
    base = noise.loc[("arc", "base model")]
    assert base["floor"] == pytest.approx(stats.t.isf(0.025, base["df"]) * base["sd"]), "a change, no difference of two"
    known = np.std(list(slope.values()), ddof=1) * 100
    assert noise.loc[("arc", "base model"), "sd"] == pytest.approx(known, rel=0.15)
    assert noise.loc[("piqa", "base model"), "sd"] < 1.5
    assert "not told from it" in noise_sentence(noise.reset_index())


def test_the_noise_of_documents_is_that_of_comparisons_of_the_same_base_models(make_study: MakeStudy) -> None:
    """In points; an error over base models too is not that of documents alone, and a length has no points."""
    url, runs = make_study(weights=(0.0, 0.1, 1.0), datasets=("data",), models=("wide",))
    give_items(url, runs, some_items)
    found = [row for row in compared(url, runs).rows if row.found.benchmark in ("arc", "alpaca_eval")]
    over_bases = [replace(row, found=replace(row.found, se=9.0, over="base model")) for row in found]
    lengths = [replace(row, found=replace(row.found, se=9.0, scale=None)) for row in found]
    frame = frame_of(lambda *_: 0.5, benchmarks=("arc", "alpaca_eval", "piqa"))

    noise = noise_floor(frame, [*found, *over_bases, *lengths]).query("source == 'items'").set_index("benchmark")

    assert set(noise.index) == {"arc", "alpaca_eval"}
    assert [row.found.scale for row in found if row.found.benchmark == "alpaca_eval"] == [100] * 3
    for name, scale in (("arc", 1), ("alpaca_eval", 100)):
        sd = np.median([100 / scale * row.found.se for row in found if row.found.benchmark == name])
        assert noise.loc[name, ["sd", "floor"]].tolist() == pytest.approx([sd, 1.96 * sd], rel=1e-3)
        assert np.isnan(noise.loc[name, "df"])


def test_where_no_seed_changes_a_score_there_is_no_floor() -> None:
    """A standard deviation of 0 is no certainty: another seed might differ."""
    frame = frame_of(lambda dataset, benchmark, model, weight, seed: 0.5 + 0.1 * weight, seeds=(1, 2))
    noise = noise_floor(frame)

    assert noise["sd"].tolist() == noise["sd_low"].tolist() == [0.0] * 4
    assert noise["floor"].isna().all()
    assert noise["sd_high"].isna().all()
    assert noise_sentence(noise).startswith("No two seeds of a cell differ in any score; that is no certainty")
    assert list(noise_table(noise).shown["seed: floor"]) == ["–", "–"]


def test_one_seed_alone_has_no_floor_and_the_way_to_one_is_said() -> None:
    noise = noise_floor(frame_of(lambda dataset, benchmark, model, weight, seed: 0.5 + 0.1 * weight))

    assert set(noise["source"]) == {"base model"}
    assert "seed=42,43" in noise_sentence(noise)
    assert list(noise_table(noise).shown["seed: SD"]) == ["–", "–"]
