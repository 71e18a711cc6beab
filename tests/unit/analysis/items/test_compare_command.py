"""`plw compare` on cells and on lm-eval's own results: the JSON's contract, the sentences, and the mistakes."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu
from scipy import stats
from simulated_items import corpus_items, mean_items, translations, write_cell, write_samples
from typer.testing import CliRunner

from plw.cli import app
from plw.errors import UserError
from plw.files.products import note_products
from plw.results.corpus_metrics import segment_counts
from plw.results.items import write_items

CONTRACT = {
    "benchmark", "metric", "n", "clusters", "a", "b", "difference", "se", "low", "high", "p", "p_holm", "test", "mde",
    "equivalent",
}  # fmt: skip


def compare(*arguments: object, out: Path) -> tuple[str, dict[str, dict[str, Any]]]:
    """What is printed, and the JSON's rows by benchmark."""
    result = CliRunner().invoke(app, ["compare", *map(str, arguments), "--json", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output, {row["benchmark"]: row for row in json.loads(out.read_text())["benchmarks"]}


def refused(*arguments: object) -> str:
    with pytest.raises(UserError) as error:
        CliRunner().invoke(app, ["compare", *map(str, arguments)], catch_exceptions=False)
    assert "\n" not in str(error.value)
    return str(error.value)


def rights(share: float, count: int, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(count) < share).astype(float)


@pytest.fixture
def cells(tmp_path: Path) -> tuple[Path, Path]:
    """Two cells: accuracy moves, another accuracy does not, BLEU moves, a win rate."""
    made = []
    for name, share, quality in (("p0-r1-s42-0000aaaa", 0.5, 0.7), ("p1-r1-s42-0000bbbb", 0.65, 0.8)):
        seed = 1 if quality == 0.7 else 2
        references, answers = translations(120, quality, seed=seed)
        points = np.random.default_rng(seed).choice([0.0, 50.0, 100.0], size=100)
        items = mean_items("arc", rights(share, 600, seed)) + mean_items("piqa", rights(0.5, 600, 10 + seed))
        items += corpus_items("wmt", segment_counts("bleu", references, answers))
        made.append(write_cell(tmp_path / "runs", name, items + mean_items("alpaca", points, metric="win_rate")))
    return made[0], made[1]


def test_instructions_followed_are_a_share_of_all_that_were_asked(tmp_path: Path) -> None:
    sides = [[[place % 2 == 0, place % 3 == 0][: 1 + place % 2] for place in range(60)], [[True], [False, True]] * 30]
    for name, outcomes in zip("ab", sides, strict=True):
        write_samples(tmp_path / name, "ifeval", {"inst_level_loose_acc": outcomes})
    _, rows = compare(tmp_path / "a", tmp_path / "b", out=tmp_path / "out.json")
    row = rows["ifeval"]
    assert (row["n"], row["test"], row["scale"]) == (60, "paired bootstrap", 1.0)
    assert row["a"] == pytest.approx(sum(map(sum, sides[0])) / 90)
    assert row["b"] == pytest.approx(60 / 90)
    assert row["low"] < row["difference"] < row["high"]


def test_rows_keep_the_contract(cells: tuple[Path, Path], tmp_path: Path) -> None:
    said, rows = compare(*cells, "--margin", "0.1", out=tmp_path / "out.json")

    assert list(rows) == ["arc", "piqa", "wmt", "alpaca"]
    assert all(row.keys() >= CONTRACT for row in rows.values())
    assert {name: row["test"] for name, row in rows.items()} == {
        "arc": "exact McNemar", "piqa": "exact McNemar", "wmt": "paired bootstrap", "alpaca": "paired bootstrap"
    }  # fmt: skip
    assert all(row["low"] <= row["difference"] <= row["high"] for row in rows.values())
    assert rows["arc"]["p_holm"] < 0.05 < rows["piqa"]["p_holm"]
    assert re.search(r"arc: B is higher by \d+\.\d+ points, better", said)
    assert re.search(r"piqa: not shown .*Excluded are a fall of more than", said)


def test_numbers_are_those_of_the_references(cells: tuple[Path, Path], tmp_path: Path) -> None:
    _, rows = compare(*cells, out=tmp_path / "out.json")
    a_N, b_N = rights(0.5, 600, 1), rights(0.65, 600, 2)
    only_a, only_b = int((a_N > b_N).sum()), int((b_N > a_N).sum())
    references, answers = translations(120, 0.8, seed=2)

    assert rows["arc"]["difference"] == pytest.approx(b_N.mean() - a_N.mean())
    assert rows["arc"]["p"] == pytest.approx(stats.binomtest(only_a, only_a + only_b).pvalue)
    assert rows["arc"]["se"] == pytest.approx((b_N - a_N).std(ddof=1) / 600**0.5)
    assert rows["wmt"]["b"] == pytest.approx(sacrebleu.corpus_bleu(answers, [references]).score)
    assert rows["arc"]["p_holm"] >= rows["arc"]["p"]
    assert rows["arc"]["equivalent"] is None


def test_margin_is_a_share_of_the_range(tmp_path: Path) -> None:
    """0.1 is 0.1 of accuracy and 10 points of a win rate."""
    folders = [
        write_cell(
            tmp_path, f"p{seed}-r1-s42-{seed:08x}",
            mean_items("arc", rights(0.5, 4000, seed))
            + mean_items("alpaca", 100 * rights(0.5, 4000, seed), "win_rate"),
        )
        for seed in (1, 2)
    ]  # fmt: skip

    _, wide = compare(*folders, "--margin", "0.1", out=tmp_path / "out.json")
    _, narrow = compare(*folders, "--margin", "0.001", out=tmp_path / "out.json")

    assert [wide[name]["equivalent"] for name in ("arc", "alpaca")] == [True, True]
    assert [narrow[name]["equivalent"] for name in ("arc", "alpaca")] == [False, False]


def test_clusters_widen_the_interval(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    passages = [f"passage {number // 8}" for number in range(400)]
    alike = np.repeat(generator.random(50) < 0.5, 8)
    folders, alone = [], []
    for side in (1, 2):
        value_N = np.where(
            generator.random(400) < 0.8, alike ^ (side == 2) * np.repeat(generator.random(50) < 0.5, 8), 0
        )
        folders.append(write_cell(tmp_path, f"c-{side:08x}", mean_items("boolq", value_N, clusters=passages)))
        alone.append(write_cell(tmp_path, f"d-{side:08x}", mean_items("boolq", value_N)))

    _, clustered = compare(*folders, out=tmp_path / "out.json")
    _, independent = compare(*alone, out=tmp_path / "out.json")

    assert (clustered["boolq"]["n"], clustered["boolq"]["clusters"]) == (400, 50)
    assert (clustered["boolq"]["test"], independent["boolq"]["test"]) == ("clustered t", "exact McNemar")
    assert clustered["boolq"]["se"] > 1.5 * independent["boolq"]["se"]
    assert clustered["boolq"]["a_high"] - clustered["boolq"]["a_low"] > (
        independent["boolq"]["a_high"] - independent["boolq"]["a_low"]
    )


def test_seeds_are_paired_and_counted_as_runs(tmp_path: Path) -> None:
    """The run moves all of its items, so two runs say less than twice the items would."""
    sides: dict[str, list[str]] = {"0": [], "1": []}
    for seed in (1, 2, 3):
        for weight in ("0", "1"):
            share = 0.5 + (0.1 if weight == "1" else 0) + (0.08 * (seed - 2) if weight == "1" else 0)
            items = mean_items("arc", rights(share, 500, 10 * seed + int(weight)))
            name = f"p{weight}-r1-s{seed}-{seed}{weight}000000"
            sides[weight].append(str(write_cell(tmp_path, name, items, seed=seed, weight=float(weight))))

    _, rows = compare(",".join(sides["0"]), ",".join(reversed(sides["1"])), out=tmp_path / "out.json")

    row = rows["arc"]
    assert (row["n"], row["clusters"], row["runs"]) == (1500, 500, 3)
    assert row["test"] == "t clustered by item and training run"
    assert row["se"] > 1.3 * (0.5 / 1500) ** 0.5


def test_eight_characters_name_a_cell(cells: tuple[Path, Path], tmp_path: Path) -> None:
    runs = f"execution.runs={tmp_path / 'runs'}"

    _, rows = compare("0000aaaa", "0000bbbb", runs, out=tmp_path / "out.json")

    assert len(rows) == 4
    assert "0000cccc: no cell" in refused("0000aaaa", "0000cccc", runs)


def test_lm_evals_own_results(tmp_path: Path) -> None:
    """Paired by documents, though one side has them in another order and lacks some; BLEU from its texts."""
    documents = [{"sentence": f"document {number}"} for number in range(300)]
    value_a, value_b = rights(0.5, 300, 1), rights(0.6, 300, 2)
    references, answers_a = translations(80, 0.7, seed=1)
    _, answers_b = translations(80, 0.75, seed=2)
    write_samples(tmp_path / "a", "piqa", {"acc": value_a, "acc_norm": value_a}, documents)
    write_samples(tmp_path / "b" / "model", "piqa", {"acc": value_b[::-1][:250]}, documents[::-1][:250])
    for side, answers in (("a", answers_a), ("b/model", answers_b)):
        write_samples(tmp_path / side, "wmt", {"bleu": list(zip(references, answers, strict=True))})

    _, rows = compare(tmp_path / "a", tmp_path / "b", "--metric", "acc", "--metric", "bleu", out=tmp_path / "out.json")

    assert (rows["piqa"]["metric"], rows["piqa"]["n"]) == ("acc", 250)
    assert rows["piqa"]["difference"] == pytest.approx(value_b[50:].mean() - value_a[50:].mean())
    assert rows["wmt"]["a"] == pytest.approx(sacrebleu.corpus_bleu(answers_a, [references]).score)


def test_documents_of_a_passage_are_a_cluster(tmp_path: Path) -> None:
    documents = [{"passage": f"text {number // 4}", "question": f"question {number}"} for number in range(200)]
    for side, seed in (("a", 1), ("b", 2)):
        write_samples(tmp_path / side, "boolq", {"acc": rights(0.5, 200, seed)}, documents)

    _, rows = compare(tmp_path / "a", tmp_path / "b", out=tmp_path / "out.json")

    assert (rows["boolq"]["n"], rows["boolq"]["clusters"]) == (200, 50)


def test_a_group_is_one_benchmark_clustered_by_subject(tmp_path: Path) -> None:
    for side, seed in (("a", 1), ("b", 2)):
        for number, subject in enumerate(("mmlu_anatomy", "mmlu_law", "mmlu_physics")):
            write_samples(tmp_path / side, subject, {"acc": rights(0.4 + number / 10, 100, seed + number)})
        results = {"groups": {"mmlu": {}, "mmlu_other": {}}, "group_subtasks": {
            "mmlu": ["mmlu_other", "mmlu_physics"], "mmlu_other": ["mmlu_anatomy", "mmlu_law"]
        }}  # fmt: skip
        (tmp_path / side / "results_2026-11-25T12-00-00.json").write_text(json.dumps(results))

    _, rows = compare(tmp_path / "a", tmp_path / "b", out=tmp_path / "out.json")

    assert {name: (row["n"], row["clusters"]) for name, row in rows.items()} == {"mmlu": (300, 3)}


def write_group(folder: Path, tasks: dict[str, dict[str, np.ndarray]]) -> Path:
    for task, outcomes in tasks.items():
        write_samples(folder, task, outcomes)
    results = {"groups": {"g": {}}, "group_subtasks": {"g": [*tasks]}}
    (folder / "results_2026-11-25T12-00-00.json").write_text(json.dumps(results))
    return folder


def test_a_group_is_compared_by_a_metric_that_all_of_its_tasks_have(tmp_path: Path) -> None:
    """The normalised accuracy of one task alone rises, where the accuracy of all falls."""
    sides = [
        {"g_x": {"acc": rights(share, 40, seed), "acc_norm": rights(share, 40, seed)}, "g_y": {"acc": other}}
        for seed, share, other in ((1, 0.4, np.ones(60)), (2, 0.8, np.zeros(60)))
    ]
    folders = [write_group(tmp_path / name, tasks) for name, tasks in zip("ab", sides, strict=True)]

    _, rows = compare(*folders, out=tmp_path / "out.json")

    a, b = (np.concatenate([tasks["g_x"]["acc"], tasks["g_y"]["acc"]]).mean() for tasks in sides)
    assert (rows["g"]["metric"], rows["g"]["n"]) == ("acc", 100)
    assert rows["g"]["difference"] == pytest.approx(b - a)
    assert rows["g"]["difference"] < 0
    assert "no benchmark has items of the metric acc_norm" in refused(*folders, "--metric", "acc_norm")


def test_a_group_without_a_common_metric_is_said_to_be_left_out(tmp_path: Path) -> None:
    for side, seed in (("a", 1), ("b", 2)):
        tasks = {"g_x": {"acc_norm": rights(0.5, 40, seed)}, "g_y": {"exact_match": rights(0.5, 40, seed)}}
        write_group(tmp_path / side, tasks)
    assert "no metric that all of its tasks have" in refused(tmp_path / "a", tmp_path / "b")

    for side, seed in (("a", 1), ("b", 2)):
        write_samples(tmp_path / side, "t", {"acc": rights(0.5, 40, seed)})
    said, rows = compare(tmp_path / "a", tmp_path / "b", out=tmp_path / "out.json")

    assert list(rows) == ["t"]
    assert "Not compared: g (no metric that all of its tasks have)." in " ".join(said.split())
    (left,) = json.loads((tmp_path / "out.json").read_text())["not_compared"]
    assert (left["benchmark"], left["reason"]) == ("g", "no metric that all of its tasks have")


def test_benchmarks_without_the_metric_asked_for_are_said_to_be_left_out(
    cells: tuple[Path, Path], tmp_path: Path
) -> None:
    """Of cells and of lm-eval's folders; the lengths of answers are no benchmark that anybody misses."""
    said, rows = compare(*cells, "--metric", "acc", out=tmp_path / "out.json")
    assert list(rows) == ["arc", "piqa"]
    assert "Not compared: wmt (no metric acc). Not compared: alpaca (no metric acc)." in " ".join(said.split())

    for side, seed in (("a", 1), ("b", 2)):
        write_samples(tmp_path / side, "t", {"acc": rights(0.5, 40, seed)})
        write_samples(tmp_path / side, "u", {"f1" if side == "a" else "acc": rights(0.5, 40, seed)})
    said, rows = compare(tmp_path / "a", tmp_path / "b", "--metric", "acc", out=tmp_path / "out.json")
    assert list(rows) == ["t"]
    assert "Not compared: u (A: no metric acc)." in " ".join(said.split())


def test_unreadable_verdicts_are_left_out_in_pairs(tmp_path: Path) -> None:
    points = [100.0, 0.0, float("nan"), 50.0, 100.0, 0.0]
    items = [
        replace(item, value=None) if item.value != item.value else item for item in mean_items("x", points, "win_rate")
    ]
    folders = [
        write_cell(tmp_path, "a-0000000a", items),
        write_cell(tmp_path, "b-0000000b", mean_items("x", [0.0] * 6, "win_rate")),
    ]

    _, rows = compare(*folders, out=tmp_path / "out.json")

    assert rows["x"]["n"] == 5
    assert rows["x"]["a"] == pytest.approx(50.0)


def test_equal_cells_are_told_so(tmp_path: Path) -> None:
    items = mean_items("arc", rights(0.5, 50, 1))
    a, b = (write_cell(tmp_path, f"p{side}-r1-s42-0000000{side}", items) for side in (1, 2))

    said, rows = compare(a, b, out=tmp_path / "out.json")

    assert "equal on all 50 items" in said
    assert (rows["arc"]["difference"], rows["arc"]["p"]) == (0.0, 1.0)
    assert "the same cell" in refused(a, a)


def test_of_equal_models_too_it_is_said_what_was_not_compared(tmp_path: Path) -> None:
    alike, apart = rights(0.5, 400, 1), [{"q": f"other {number}"} for number in range(400)]
    for side in "ab":
        write_samples(tmp_path / side, "t", {"acc": alike})
        write_samples(tmp_path / side, "u", {"acc": alike}, apart if side == "b" else None)
    write_samples(tmp_path / "a", "v", {"acc": alike})

    said, rows = compare(tmp_path / "a", tmp_path / "b", "--margin", "0.02", out=tmp_path / "out.json")

    said = " ".join(said.split())
    assert rows["t"]["equivalent"] is True
    assert "A and B are equal on all 400 items of t" in said
    assert "Within 2 points of each other, by two one-sided tests of 5 % on each benchmark alone: t." in said
    assert "Not compared: u (no item in common; the documents differ)." in said
    assert "Not compared: v (only one of the two has it)." in said


@pytest.mark.parametrize("missing", [None, float("nan"), float("inf"), -float("inf"), 10**400])
def test_items_that_are_left_out_are_counted(tmp_path: Path, missing: float | None) -> None:
    """50 of the first and 30 of the second have no counterpart; of 50 pairs 10 lack an outcome."""
    documents = [{"q": number} for number in range(130)]
    value_a, value_b = rights(0.5, 100, 1).tolist(), rights(0.6, 80, 2).tolist()
    write_samples(tmp_path / "a", "t", {"acc": value_a}, documents[:100])
    write_samples(tmp_path / "b", "t", {"acc": [missing] * 10 + value_b[10:]}, documents[50:])

    said, rows = compare(tmp_path / "a", tmp_path / "b", out=tmp_path / "out.json")

    row = rows["t"]
    assert (row["n"], row["only_in_one"], row["unscored"]) == (40, 80, 10)
    assert row["difference"] == pytest.approx(np.mean(value_b[10:50]) - np.mean(value_a[60:]))
    assert "t: left out are 80 items that only one of the two has and 10 pairs of which one has no outcome." in (
        " ".join(said.split())
    )


def test_outcomes_that_are_all_infinite_are_none(tmp_path: Path) -> None:
    write_samples(tmp_path / "a", "t", {"acc": [float("inf")] * 100})
    write_samples(tmp_path / "b", "t", {"acc": [1.0] * 100})

    assert "t: only no item with an outcome" in refused(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("suite", "suite"),
        ("documents", "no item in common"),
        ("one item", "one item"),
        ("benchmark", "no benchmark in common"),
    ],
)
def test_what_cannot_be_compared_is_one_line(tmp_path: Path, other: str, said: str) -> None:
    items = mean_items("arc", rights(0.5, 50, 1))
    made = {
        "suite": items,
        "documents": mean_items("arc2", rights(0.5, 50, 1)),
        "one item": items[:1],
        "benchmark": mean_items("piqa", rights(0.5, 50, 1)),
    }[other]
    if other == "documents":
        made = [replace(item, benchmark="arc") for item in made]
    a = write_cell(tmp_path, "a-0000000a", items)
    b = write_cell(tmp_path, "b-0000000b", made, suite="plw" if other == "suite" else "world")

    assert said in refused(a, b)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "row 3 is not valid JSON"),
        ("[1]", "row 3 is a list"),
        ('{"doc_id": 1}', "row 3 is no sample"),
        ('{"doc_id": 0, "doc": {}, "metrics": ["acc"], "filter": "none", "acc": 1}', "document 0 stands there twice"),
        ('{"doc_id": 9, "doc": {}, "metrics": ["acc"], "filter": "none"}', "row 3 has no acc"),
    ],
)
def test_a_broken_sample_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = write_samples(tmp_path / "a", "piqa", {"acc": [1.0, 0.0]})
    write_samples(tmp_path / "b", "piqa", {"acc": [1.0, 0.0]})
    path.write_text(path.read_text() + line + "\n")

    found = refused(tmp_path / "a", tmp_path / "b")

    assert path.name in found
    assert said in found


def test_other_mistakes_are_one_line(cells: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    assert "no such folder" in refused(cells[0], tmp_path / "absent")
    assert "neither items.parquet" in refused(cells[0], tmp_path / "empty")
    assert "--margin 2" in refused(*cells, "--margin", "2")
    assert "no benchmark has items of the metric f1" in refused(*cells, "--metric", "f1")
    assert "training runs" in refused(f"{cells[0]},{cells[1]}", cells[0])
    broken = cells[0] / "harness-world" / "items.parquet"
    broken.write_bytes(b"PAR1")
    assert "items.parquet: not a Parquet file" in refused(*cells)


def test_a_table_that_was_changed_is_refused(cells: tuple[Path, Path]) -> None:
    record = cells[1] / "harness-world" / "record.json"
    noted = note_products(record.parent, leave_out=[record])
    record.write_text(json.dumps(json.loads(record.read_text()) | {"products": noted}))
    write_items(record.parent / "items.parquet", mean_items("arc", [1.0, 0.0]))

    assert "items.parquet is not what harness-world left" in refused(*cells)
