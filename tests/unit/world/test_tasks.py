"""The task files promise: lm-eval loads each, reads the world's documents and scores a base model on them."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from plw.files.reading import read_rows
from plw.paths import task_folder

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

TASKS = sorted(path.stem for path in task_folder().glob("world_*.yaml"))


@pytest.fixture(scope="module")
def manager() -> "TaskManager":
    from lm_eval.tasks import TaskManager

    return TaskManager(include_defaults=False, include_path=str(task_folder()))


@pytest.fixture(scope="module")
def tasks(tiny_folder: Path, manager: "TaskManager") -> dict[str, Any]:
    members = [
        {"task": name, "dataset_kwargs": {"data_files": {"test": str(tiny_folder / "benchmarks" / f"{name}.jsonl")}}}
        for name in TASKS
    ]
    loaded: dict[str, Any] = manager.load([{"group": "world", "task": members}])["tasks"]
    return loaded


def test_there_is_a_task_for_every_benchmark_file(tiny_folder: Path) -> None:
    assert sorted(path.stem for path in (tiny_folder / "benchmarks").iterdir()) == TASKS


@pytest.mark.filterwarnings("ignore")
def test_each_task_reads_its_documents(tiny_folder: Path, tasks: dict[str, Any]) -> None:
    assert sorted(tasks) == TASKS
    for name, task in tasks.items():
        documents = list(task.test_docs())
        assert len(documents) == len(read_rows(tiny_folder / "benchmarks" / f"{name}.jsonl"))
        assert task.VERSION or task.config.metadata["version"] == 1.0
        assert task.OUTPUT_TYPE in ("multiple_choice", "generate_until")


@pytest.mark.filterwarnings("ignore")
def test_prompts_are_the_harness_own_plain_style(tasks: dict[str, Any]) -> None:
    texts = {name: task.doc_to_text(next(iter(task.test_docs()))) for name, task in tasks.items()}
    for name in ("world_arc", "world_piqa"):
        assert texts[name].startswith("Question: ")
        assert texts[name].endswith("\nAnswer:")
    assert texts["world_truthful_gen"].startswith("Q: ")
    assert texts["world_avin_belo"].startswith("Avin phrase: ")
    assert texts["world_avin_belo"].endswith("\nBelo phrase:")


@pytest.mark.filterwarnings("ignore")
def test_a_base_model_is_scored_between_zero_and_the_metric_s_top(tiny_folder: Path, tasks: dict[str, Any]) -> None:
    from lm_eval import evaluate
    from lm_eval.models.huggingface import HFLM

    headline = {
        "world_arc": "acc_norm",
        "world_winogrande": "acc",
        "world_truthful_mc": "acc",
        "world_truthful_gen": "bleu_acc",
    }
    chosen = {name: tasks[name] for name in headline}
    model = HFLM(pretrained=str(tiny_folder / "models" / "deep-1"), device="cpu", batch_size=32)
    results = evaluate(model, task_dict={"tasks": chosen, "groups": {}}, limit=6, bootstrap_iters=0)["results"]
    for name, metric in headline.items():
        assert 0 <= results[name][f"{metric},none"] <= 1


class TestMetrics:
    @pytest.fixture
    def metrics(self) -> Any:
        import importlib.util

        spec = importlib.util.spec_from_file_location("world_metrics", task_folder() / "world_metrics.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def test_true_probability_is_the_share_of_the_true_choices(self, metrics: Any) -> None:
        document = {"mc2_targets": {"labels": [1, 1, 0]}}
        results = [(math.log(0.2) - 900, False), (math.log(0.1) - 900, False), (math.log(0.1) - 900, True)]
        assert metrics.true_probability(document, results)["acc"] == pytest.approx(0.75)

    def test_an_answer_is_true_only_if_it_is_closer_to_the_truth(self, metrics: Any) -> None:
        document = {
            "correct_answers": ["It makes you calm.", "You will feel calm after that."],
            "incorrect_answers": ["It makes you deaf."],
        }
        right = metrics.closer_to_truth(document, [" It makes you calm."])
        assert right["bleu_acc"] == 1
        assert right["bleu_max"] == pytest.approx(100)
        assert metrics.closer_to_truth(document, ["It makes you deaf."])["bleu_acc"] == 0
        assert metrics.closer_to_truth(document, ["It makes you tall."])["bleu_acc"] == 0
        assert metrics.closer_to_truth(document, [""])["bleu_acc"] == 0

    def test_a_blank_is_filled_with_each_option(self, metrics: Any) -> None:
        document = {"sentence": "A met B. _ sings.", "option1": "A", "option2": "B", "answer": "2"}
        assert metrics.filled_prefixes(document) == ["A met B. A", "A met B. B"]
        assert metrics.after_blank(document) == "sings."
        assert metrics.answer_index(document) == 1
