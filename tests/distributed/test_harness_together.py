"""The harness in two processes: every score and standard error of one, to the last digit; mistakes in a line."""

import contextlib
import json
import os
import random
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from plw.config.evaluation import SuiteConfig, TaskConfig
from plw.errors import ClaimLostError, UserError
from plw.evaluate.lm_eval.data_parallel import data_parallel
from plw.evaluate.lm_eval.harness import HarnessResult, run_tasks
from plw.evaluate.lm_eval.launch import HarnessJob, read_harness_job, run_tasks_in_processes, write_harness_job
from plw.evaluate.models.hf import EvalModel
from plw.items import ITEMS, write_items
from plw.launch.group import Group

WORDS = ["the", "river", "Paris", "warm", "colours", "sum", "answer", "capital", "France", "Name", "process"]
COMMON = """
dataset_path: json
dataset_kwargs: {data_files: {test: given-at-run-time.jsonl}}
test_split: test
fewshot_split: test
doc_to_text: "Q: {{q}}\\nA:"
metadata: {version: 1.0}
"""
CHOICE = "output_type: multiple_choice\ndoc_to_target: label\nmetric_list: [{metric: acc}, {metric: brier_score}]\n"
WRITES = 'output_type: generate_until\ndoc_to_target: " {{a}}"\nmetric_list: [{metric: bleu}, {metric: chrf}]\n'
KINDS = {
    # Continuous metrics show a change of the last digit that a share of right answers would hide.
    "choice": CHOICE + 'doc_to_choice: "{{[a, b]}}"',
    # Choices of one token share their context, which lm-eval reads once for both.
    "letter": CHOICE + 'doc_to_choice: ["a", "b"]',
    "last": 'output_type: loglikelihood\ndoc_to_target: " {{a}}"\nmetric_list: [{metric: perplexity}, {metric: acc}]',
    "whole": 'output_type: loglikelihood_rolling\ndoc_to_target: "{{a}}"\nmetric_list: [{metric: word_perplexity}]',
    "greedy": WRITES + 'generation_kwargs: {until: ["\\n"], max_gen_toks: 6, do_sample: false}',
    "sampled": WRITES + 'generation_kwargs: {until: ["\\n"], max_gen_toks: 5, do_sample: true, temperature: 0.9}',
}
HEADLINE = {"last": "perplexity", "whole": "word_perplexity", "greedy": "bleu", "sampled": "bleu"}
DOCUMENTS = {"choice": 13, "letter": 9, "last": 7, "whole": 3, "greedy": 11, "sampled": 5}


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


@pytest.fixture
def job(tiny_llama: Path, tmp_path: Path) -> HarnessJob:
    """Six kinds of task of unlike sizes, with documents of unlike lengths, on two processes of one thread."""
    dice, tasks, files = random.Random(1), tmp_path / "tasks", {}
    tasks.mkdir()

    def words(most: int) -> str:
        return " ".join(dice.choices(WORDS, k=dice.randint(1, most)))

    for name, fields in KINDS.items():
        (tasks / f"{name}.yaml").write_text(f"task: toy_{name}{COMMON}{fields}\n")
        rows = [
            {"q": words(20), "a": words(6), "b": words(6), "label": dice.randrange(2)} for _ in range(DOCUMENTS[name])
        ]
        files[name] = {"test": tmp_path / f"{name}.jsonl"}
        files[name]["test"].write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = {
        name: TaskConfig(
            task=f"toy_{name}",
            group="multiple_choice",
            metric=HEADLINE.get(name, "acc"),
            shots=0 if name == "whole" else 2,
        )
        for name in KINDS
    }
    suite = SuiteConfig(name="s", tasks=asked, builtin_tasks=False, batch_size=3, bootstrap_iterations=20)
    return HarnessJob(
        model=tiny_llama, device="cpu", threads=1, processes=2, suite=suite, files=files, task_folder=tasks,
        items=tmp_path / ITEMS,
    )  # fmt: skip


def together(job: HarnessJob, folder: Path, **hears: Any) -> HarnessResult:
    hears = {"progress": lambda *_: None, "check_lease": lambda: None} | hears
    return run_tasks_in_processes(job, folder, **hears)


def test_two_processes_have_the_scores_of_one_to_the_last_digit(job: HarnessJob, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    alone = run_tasks(EvalModel.load(job.model), job.suite, job.files, job.task_folder)
    heard: list[tuple[int, int]] = []

    both = together(job, tmp_path, progress=lambda done, total, note="": heard.append((done, total)))

    assert both.scores == alone.scores
    assert both.raw == alone.raw
    write_items(tmp_path / "alone.parquet", alone.items)
    assert alone.items
    assert job.items.read_bytes() == (tmp_path / "alone.parquet").read_bytes()
    assert {score.benchmark: score.n for score in both.scores} == DOCUMENTS
    with_error = {score.benchmark for score in both.scores if score.stderr is not None}
    assert with_error == set(DOCUMENTS) - {"whole"}
    assert heard
    assert all(0 < done <= total for done, total in heard)
    assert not (tmp_path / "launch").exists()


def test_each_batch_is_one_processs_and_a_sampled_one_everyones() -> None:
    from lm_eval.models import huggingface

    requests = [(f"{number:02}", {"do_sample": number >= 20}) for number in range(25)]
    found, alone = [], list(huggingface.Collator(requests, group_by="gen_kwargs").get_batched(n=4))
    for rank in range(3):
        with data_parallel(Group(rank=rank, size=3)):
            found.append(list(huggingface.Collator(requests, group_by="gen_kwargs").get_batched(n=4)))
    shares = [[batch for batch in share if batch[0] < requests[20]] for share in found]
    assert [len(share) for share in shares] == [2, 2, 1]
    assert sorted(batch for share in shares for batch in share) == alone[:5]
    assert all(share[-2:] == alone[5:] for share in found)


def test_a_mistake_in_a_worker_is_its_own_line(job: HarnessJob, tmp_path: Path) -> None:
    (file,) = job.files["choice"].values()
    file.write_text(file.read_text().replace('"a": "', '"a": "' + "zq " * 1500, 1))
    with pytest.raises(UserError, match=r"^suite\.tasks: an answer .* context of 2048 tokens") as caught:
        together(job, tmp_path)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "launch/output.txt").exists()


def test_a_lost_claim_ends_every_process(job: HarnessJob, tmp_path: Path) -> None:
    launch = tmp_path / "launch"

    def check_lease() -> None:
        if len(list(launch.glob("worker-*.json"))) == 2:
            raise ClaimLostError("taken over")

    with pytest.raises(ClaimLostError):
        together(job, tmp_path, check_lease=check_lease)
    for path in launch.glob("worker-*.json"):
        pid = json.loads(path.read_text())["pid"]
        # The number may have gone to another process since; a process that has ended may wait to be collected.
        with contextlib.suppress(psutil.NoSuchProcess):
            assert "plw.evaluate.lm_eval.worker" not in psutil.Process(pid).cmdline()
    assert not (launch / "result.json").exists()


def test_a_job_survives_its_file(job: HarnessJob, tmp_path: Path) -> None:
    write_harness_job(job, tmp_path / "launch", owner=17)
    assert read_harness_job(tmp_path / "launch") == job
