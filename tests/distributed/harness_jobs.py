"""A harness stage of six kinds of task, for tests of one process and of several."""

import json
import random
from pathlib import Path
from typing import Any

from plw.config.evaluation import SuiteConfig, TaskConfig
from plw.evaluate.lm_eval.harness import HarnessResult
from plw.evaluate.lm_eval.launch import HarnessJob, run_tasks_in_processes
from plw.results.items import ITEMS

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
HEADLINE = {"whole": None, "greedy": "bleu", "sampled": "bleu"}
DOCUMENTS = {"choice": 13, "letter": 9, "last": 7, "whole": 3, "greedy": 11, "sampled": 5}


def make_harness_job(model: Path, folder: Path, **suite: Any) -> HarnessJob:
    """Tasks of unlike sizes, with documents of unlike lengths, on two processes of one thread."""
    dice, tasks, files = random.Random(1), folder / "tasks", {}
    tasks.mkdir()

    def words(most: int) -> str:
        return " ".join(dice.choices(WORDS, k=dice.randint(1, most)))

    for name, fields in KINDS.items():
        (tasks / f"{name}.yaml").write_text(f"task: toy_{name}{COMMON}{fields}\n")
        rows = [
            {"q": words(20), "a": words(6), "b": words(6), "label": dice.randrange(2)} for _ in range(DOCUMENTS[name])
        ]
        files[name] = {"test": folder / f"{name}.jsonl"}
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
    fields = {"name": "s", "tasks": asked, "builtin_tasks": False, "batch_size": 3, "bootstrap_iterations": 20}
    return HarnessJob(
        model=model, device="cpu", threads=1, processes=2, suite=SuiteConfig(**fields | suite), files=files,
        task_folders=(tasks,), folder=folder, items=folder / ITEMS, samples=folder / "samples",
        identity={"stage": "this"},
    )  # fmt: skip


def together(job: HarnessJob, **hears: Any) -> HarnessResult:
    """Run it in its processes."""
    hears = {"progress": lambda *_: None, "check_lease": lambda: None} | hears
    return run_tasks_in_processes(job, **hears)
