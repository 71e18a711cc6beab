"""Items of the harness: their means and sums are its scores, their hashes lm-eval's; one process keeps them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plw.config.evaluation import SuiteConfig, TaskConfig
from plw.evaluate.lm_eval import bootstrap
from plw.evaluate.lm_eval.harness import HarnessResult, run_tasks
from plw.evaluate.models.hf import EvalModel
from plw.results.corpus_metrics import corpus_scores
from plw.results.items import ItemRow

TASKS = {
    "toy_choice": """
task: toy_choice
dataset_path: json
dataset_kwargs: {data_files: {test: given-at-run-time.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{passage}} {{question}}"
doc_to_target: label
doc_to_choice: "{{[first, second]}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
""",
    "toy_translation": """
task: toy_translation
dataset_path: json
dataset_kwargs: {data_files: {test: given-at-run-time.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: " {{first}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 6, do_sample: false}
metric_list:
  - {metric: bleu, aggregation: bleu, higher_is_better: true}
  - {metric: chrf, aggregation: chrf, higher_is_better: true}
  - {metric: ter, aggregation: ter, higher_is_better: false}
""",
    "toy_parts": """
task: toy_parts
dataset_path: json
dataset_kwargs: {data_files: {test: given-at-run-time.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: ""
generation_kwargs: {until: ["\\n"], max_gen_toks: 4, do_sample: false}
process_results: !function toy_parts.process_results
metric_list:
  - {metric: inst_level_strict_acc, aggregation: !function toy_parts.agg_inst_level_acc, higher_is_better: true}
""",
}
PARTS = """
def process_results(doc, results):
    # Items of one, two and three parts, of which one is wrong in every second.
    parts = [True] * (doc["label"] + 1) + [False] * (int(doc["question"].split()[-1]) % 2)
    return {"inst_level_strict_acc": parts}

def agg_inst_level_acc(items):
    flat = [part for item in items for part in item]
    return sum(flat) / len(flat)
"""
GROUP = """
group: toy_group
task: [toy_choice, toy_other]
aggregate_metric_list: [{metric: acc, weight_by_size: true}]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tasks")
    rows = [
        {"passage": f"the river {i // 3}", "question": f"who sells salt {i}", "first": "the old market", "second": "no",
         "label": i % 2}
        for i in range(18)
    ]  # fmt: skip
    data = made / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, text in TASKS.items():
        (made / f"{name}.yaml").write_text(text.replace("given-at-run-time.jsonl", str(data)))
    other = TASKS["toy_choice"].replace("toy_choice", "toy_other").replace("{{passage}} ", "")
    (made / "toy_other.yaml").write_text(other.replace("given-at-run-time.jsonl", str(data)))
    (made / "toy_group.yaml").write_text(GROUP)
    (made / "toy_parts.py").write_text(PARTS)
    return made


@pytest.fixture(scope="module")
def loaded(tiny_llama: Path) -> EvalModel:
    return EvalModel.load(tiny_llama, "cpu", "float32")


@pytest.fixture
def evaluate(loaded: EvalModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))

    def run(keep_items: bool = True, **tasks: TaskConfig) -> HarnessResult:
        suite = SuiteConfig(name="test", tasks=tasks, builtin_tasks=False, batch_size=8, bootstrap_iterations=10)
        return run_tasks(loaded, suite, {}, (folder,), keep_items=keep_items)

    return run


def choice(**fields: Any) -> TaskConfig:
    return TaskConfig(**{"task": "toy_choice", "group": "multiple_choice", "metric": "acc_norm", **fields})


def of_metric(result: HarnessResult, benchmark: str, metric: str) -> list[ItemRow]:
    return [item for item in result.items if (item.benchmark, item.metric) == (benchmark, metric)]


def test_means_and_sums_of_items_are_the_scores(evaluate: Any) -> None:
    translation = TaskConfig(task="toy_translation", group="translation", metric="bleu")

    parts = TaskConfig(task="toy_parts", group="long_generation", metric="inst_level_strict_acc")

    result = evaluate(bench=choice(), words=translation, parts=parts)

    assert {(score.benchmark, score.metric) for score in result.scores} >= {
        ("bench", "acc"), ("bench", "acc_norm"), ("words", "bleu"), ("words", "chrf"), ("words", "ter"),
        ("parts", "inst_level_strict_acc")
    }  # fmt: skip
    for score in result.scores:
        items = of_metric(result, score.benchmark, score.metric)
        if not items:
            assert score.metric == "cut"
            continue
        assert [item.item for item in items] == list(range(18))
        assert {item.headline for item in items} == {score.headline}
        assert {item.higher_is_better for item in items} == {score.higher_is_better}
        if items[0].aggregation == "mean":
            found = float(np.mean([item.value for item in items]))
        else:
            sums = np.sum([item.counts for item in items], axis=0)
            found = float(corpus_scores(items[0].aggregation, sums[None, :])[0])
        assert found == pytest.approx(score.value)


def test_hashes_are_lm_evals_and_shared_passages_are_clusters(evaluate: Any, folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]

    by_default, by_name = (
        of_metric(evaluate(bench=choice(**fields)), "bench", "acc") for fields in ({}, {"cluster": "label"})
    )

    for item, row in zip(by_default, rows, strict=True):
        text = json.dumps(row, indent=2, ensure_ascii=False)
        assert item.item_hash == hashlib.sha256(text.encode()).hexdigest()
        assert item.task == "toy_choice"
    assert len({item.cluster for item in by_default}) == 6
    assert [by_default[0].cluster == item.cluster for item in by_default] == [number < 3 for number in range(18)]
    assert len({item.cluster for item in by_name}) == 2


def test_tasks_of_a_group_are_its_items_and_their_subject_a_cluster(evaluate: Any) -> None:
    result = evaluate(whole=TaskConfig(task="toy_group", group="multiple_choice", metric="acc"))

    items = of_metric(result, "whole", "acc")
    (score,) = [score for score in result.scores if (score.benchmark, score.metric) == ("whole", "acc")]
    assert [item.task for item in items] == ["toy_choice"] * 18 + ["toy_other"] * 18
    assert all(item.headline and item.cluster is not None for item in items)
    assert np.mean([item.value for item in items]) == pytest.approx(score.value)


def test_segments_are_counted_once(evaluate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    original = bootstrap.segment_counts
    monkeypatch.setattr(
        bootstrap, "segment_counts", lambda name, *texts: counted.append(name) or original(name, *texts)
    )

    evaluate(words=TaskConfig(task="toy_translation", group="translation", metric="bleu"))

    assert sorted(counted) == ["bleu", "chrf", "ter"]


def test_a_process_that_does_not_keep_items_has_the_same_scores(evaluate: Any) -> None:
    kept, bare = (evaluate(keep_items=keep, bench=choice()) for keep in (True, False))

    assert bare.items == []
    assert kept.scores == bare.scores
