"""The PLW paper's suite: what its file says, and each of its tasks on small files of the task's own schema."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from plw.config.evaluation import SuiteConfig, TaskConfig
from plw.errors import UserError
from plw.evaluate.lm_eval.harness import run_tasks
from plw.evaluate.lm_eval.task_index import task_manager
from plw.evaluate.lm_eval.tasks import load_task
from plw.evaluate.models.hf import EvalModel
from plw.paths import conf_folder, task_folder

SUITE = yaml.safe_load((conf_folder() / "suite" / "plw.yaml").read_text())
TRANSLATIONS = [name for name in SUITE["tasks"] if name.startswith("wmt")]
TABLE_2 = {
    "arc_challenge": (25, "acc_norm"), "piqa": (0, "acc_norm"), "truthfulqa_mc2": (0, "acc"), "winogrande": (5, "acc"),
    "truthfulqa_gen": (0, "bleu_acc"), **dict.fromkeys(TRANSLATIONS, (0, "bleu")),
}  # fmt: skip
LANGUAGES = ("en", "fr", "de", "ro")


def rows(count: int, make: Any) -> list[dict[str, Any]]:
    return [make(number) for number in range(count)]


def arc(number: int) -> dict[str, Any]:
    choices = {"text": [f"a {number}", "rope", "salt"], "label": ["A", "B", "C"]}
    return {"id": str(number), "question": f"What is {number}?", "choices": choices, "answerKey": "ABC"[number % 3]}


def winogrande(number: int) -> dict[str, Any]:
    return {"sentence": f"Ann met Bo {number} times, so _ was tired.", "option1": "Ann", "option2": "Bo", "answer": "1"}


def translation(number: int) -> dict[str, Any]:
    return {"translation": {language: f"word{number} {language} river salt rope" for language in LANGUAGES}}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, dict[str, Path]]:
    """Benchmark -> split -> file."""
    sets = {
        "arc-train": rows(25, arc), "arc-test": rows(4, arc), "wg-train": rows(6, winogrande),
        "wg-validation": rows(4, winogrande), "wmt-validation": rows(2, translation),
        "wmt-test": rows(5, translation)[2:],
    }  # fmt: skip
    paths = {}
    for name, documents in sets.items():
        paths[name] = tmp_path / f"{name}.jsonl"
        paths[name].write_text("".join(json.dumps(row) + "\n" for row in documents))
    return {
        "arc_challenge": {"train": paths["arc-train"], "test": paths["arc-test"]},
        "winogrande": {"train": paths["wg-train"], "validation": paths["wg-validation"]},
    } | {name: {"validation": paths["wmt-validation"], "test": paths["wmt-test"]} for name in TRANSLATIONS}


def test_shots_and_headline_metrics_are_the_papers() -> None:
    assert {name: (task["shots"], task["metric"]) for name, task in SUITE["tasks"].items()} == TABLE_2
    assert {item["protocol"] for item in SUITE["prompts"].values()} == {"alpaca_eval", "pandalm"}
    assert len(SUITE["tasks"]) + len(SUITE["prompts"]) == 13


def test_eight_tasks_on_small_files_of_their_own_schema(loaded: EvalModel, files: dict[str, dict[str, Path]]) -> None:
    tasks = {name: TaskConfig(**SUITE["tasks"][name]) for name in files}
    # 25 shots and 256 tokens do not fit the small model's context of 512; the file's own shots are checked above.
    tasks["arc_challenge"].shots = 3
    suite = SuiteConfig(name="plw", tasks=tasks, batch_size=4, bootstrap_iterations=10)

    scores = run_tasks(loaded, suite, files, (task_folder(),)).scores

    documents = {"arc_challenge": 4, "winogrande": 4} | dict.fromkeys(TRANSLATIONS, 5)
    metrics = {"arc_challenge": {"acc", "acc_norm"}, "winogrande": {"acc"}}
    for name, count in documents.items():
        mine = {score.metric: score for score in scores if score.benchmark == name}
        assert mine.pop("cut").value == 0
        assert set(mine) == metrics.get(name, {"bleu", "ter", "chrf"})
        assert [score.metric for score in mine.values() if score.headline] == [tasks[name].metric]
        assert {score.n for score in mine.values()} == {count}
        assert {metric: score.higher_is_better for metric, score in mine.items()} == {
            metric: metric != "ter" for metric in mine
        }


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_translation_asks_in_the_papers_words_and_reads_validation_then_test(
    name: str, files: dict[str, dict[str, Path]]
) -> None:
    _, source, target = name.split("_")
    words = {"en": "English", "fr": "French", "de": "German", "ro": "Romanian"}

    manager = task_manager((task_folder(),), builtin=False, names={name})

    loaded = load_task(manager, name, TaskConfig(**SUITE["tasks"][name]), files[name], 1)

    task = loaded.tasks[name]
    documents = list(task.eval_docs)
    assert [document["translation"]["en"][:5] for document in documents] == [f"word{number}" for number in range(5)]
    text = task.doc_to_text(documents[0])
    assert text.startswith(f"Translate the following from {words[source]} to {words[target]}\n")
    assert documents[0]["translation"][source] in text
    assert task.doc_to_target(documents[0]).strip() == documents[0]["translation"][target]


def test_translation_reads_the_hubs_layout_without_its_training_set(tmp_path: Path) -> None:
    """The hub's data is parquet files named by split, in a folder a language pair."""
    import datasets

    import conf.task.plw_wmt as plw_wmt

    folder = tmp_path / "wmt" / "fr-en"
    folder.mkdir(parents=True)
    for split, numbers in (("train", (9,)), ("validation", (0, 1)), ("test", (2,))):
        data = datasets.Dataset.from_list([translation(number) for number in numbers])
        data.to_parquet(folder / f"{split}-00000-of-00001.parquet")
    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = str(tmp_path / "cache")
    try:
        made = plw_wmt.validation_and_test(root=str(tmp_path / "wmt"), pair="fr-en", version=1.0)
    finally:
        datasets.config.HF_DATASETS_CACHE = before

    assert set(made) == {"validation", "test"}
    assert [row["translation"]["en"][:5] for row in made["test"]] == ["word0", "word1", "word2"]


def test_data_that_only_the_hub_has_is_missed_at_once_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    from plw.pipeline.hub import go_offline_if_unreachable

    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "unset, so that the test leaves it as it was")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert go_offline_if_unreachable()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    name = TRANSLATIONS[0]
    remedy = r"\+suite\.tasks\.wmt14_en_fr\.files\.SPLIT=FILE"
    with pytest.raises(UserError, match=rf"fetch wmt/wmt14 \(fr-en\) from the hub.*{remedy}"):
        load_task(
            task_manager((task_folder(),), builtin=False, names={name}), name, TaskConfig(**SUITE["tasks"][name]), {}, 1
        )


def test_vllm_is_asked_for_by_name(tmp_path: Path) -> None:
    from importlib.util import find_spec

    from plw.evaluate.models.vllm import load_vllm

    if find_spec("vllm") is not None:
        pytest.skip("vllm is installed")
    with pytest.raises(UserError, match=r"suite\.backend=vllm needs the package vllm"):
        load_vllm(tmp_path, dtype="bfloat16", seed=1)
