"""lm-eval's own files of samples: those of its command line on the same model and tasks, and read back as items."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.items.lm_eval_samples import read_samples
from analysis.items.parquet import read_cell
from plw.config.evaluation import SuiteConfig, TaskConfig
from plw.evaluate.lm_eval.harness import run_tasks
from plw.evaluate.models.hf import EvalModel
from plw.results.items import ITEMS, write_items

COMMON = """
dataset_path: json
test_split: test
fewshot_split: test
doc_to_text: "Q: {{q}}\\nA:"
metadata: {version: 1.0}
"""
TASKS = {
    "toy_choice": """
output_type: multiple_choice
doc_to_target: label
doc_to_choice: "{{[a, b]}}"
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
""",
    "toy_other": """
output_type: multiple_choice
doc_to_target: label
doc_to_choice: ["yes", "no"]
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
""",
    "toy_written": """
output_type: generate_until
doc_to_target: " {{a}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 5, do_sample: false}
metric_list: [{metric: bleu, aggregation: bleu, higher_is_better: true}]
""",
}
GROUP = """
group: toy_group
task: [toy_choice, toy_other]
aggregate_metric_list: [{metric: acc, weight_by_size: true}]
"""
DOCUMENTS = 7
LIKELIHOOD = re.compile(r"-\d+\.\d+")


@pytest.fixture(scope="module")
def task_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    rows = [
        {"q": f"Name colour {n} (für)", "a": f"red {n}", "b": "blue", "label": n % 2}
        for n in range(DOCUMENTS)
    ]  # fmt: skip
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = f"dataset_kwargs: {{data_files: {{test: {folder}/rows.jsonl}}}}\n"
    for name, fields in TASKS.items():
        (folder / f"{name}.yaml").write_text(f"task: {name}{COMMON}{data}{fields}")
    (folder / "toy_group.yaml").write_text(GROUP)
    return folder


@pytest.fixture(scope="module")
def theirs(task_folder: Path, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that lm-eval's command line leaves."""
    work = tmp_path_factory.mktemp("theirs")
    options = {
        "--model": "hf", "--model_args": f"pretrained={tiny_llama},dtype=float32", "--device": "cpu",
        "--tasks": "toy_group,toy_written", "--include_path": str(task_folder), "--batch_size": "4",
        "--num_fewshot": "1", "--output_path": str(work / "out"),
    }  # fmt: skip
    words = [word for pair in options.items() for word in pair]
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lm_eval")), "run", *words, "--log_samples"],
        env={**os.environ, "HF_HOME": str(work / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (results,) = (work / "out").rglob("results_*.json")
    return results.parent


@pytest.fixture(scope="module")
def ours(task_folder: Path, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage's folder with items and samples of the same tasks, which the suite calls otherwise."""
    import torch

    folder = tmp_path_factory.mktemp("ours")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    result = evaluate(
        tiny_llama, task_folder, folder / "samples",
        choices=TaskConfig(task="toy_group", group="multiple_choice", shots=1),
        written=TaskConfig(task="toy_written", group="short_generation", metric="bleu", shots=1),
    )  # fmt: skip
    torch.set_num_threads(threads)
    write_items(folder / ITEMS, result.items)
    return folder


def evaluate(model: Path, task_folder: Path, samples: Path, **tasks: TaskConfig) -> Any:
    suite = SuiteConfig(name="s", tasks=tasks, builtin_tasks=False, batch_size=4, bootstrap_iterations=10)
    return run_tasks(EvalModel.load(model), suite, {}, (task_folder,), samples=samples)


def files(folder: Path) -> dict[str, Path]:
    """Names without their time -> files; each time is written as lm-eval writes it."""
    stamp = re.compile(r"_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d+)(?=\.jsonl?$)")
    assert all(stamp.search(path.name) for path in folder.iterdir())
    return {stamp.sub("", path.name): path for path in folder.iterdir()}


@pytest.mark.slow
def test_the_files_are_those_of_the_command_line(theirs: Path, ours: Path) -> None:
    mine, original = files(ours / "samples"), files(theirs)
    assert mine.keys() == original.keys()
    assert {f"samples_{task}.jsonl" for task in TASKS} < mine.keys()
    for name in mine:
        if name.endswith(".jsonl"):
            # Contexts are computed once, so the last digits of likelihoods are others.
            rows = _numbers(_rows(mine[name]), float)
            assert rows == _numbers(_rows(original[name]), lambda value: pytest.approx(value, abs=1e-4))
            assert len(rows) == DOCUMENTS
    found, expected = (json.loads(files["results.json"].read_text()) for files in (mine, original))
    for part in ("results", "groups", "versions", "n-shot", "higher_is_better", "n-samples", "group_subtasks"):
        assert found[part].keys() == expected[part].keys(), part
    assert found["lm_eval_version"] == expected["lm_eval_version"]


def _numbers(value: Any, number: Callable[[float], Any]) -> Any:
    """Likelihoods, which are texts there, as numbers."""
    if isinstance(value, dict):
        return {name: _numbers(one, number) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(one, number) for one in value]
    return number(float(value)) if isinstance(value, str) and LIKELIHOOD.fullmatch(value) else value


def _rows(path: Path) -> list[list[tuple[str, Any]]]:
    return [list(json.loads(line).items()) for line in path.read_text().splitlines()]


def test_read_back_they_are_the_items(ours: Path) -> None:
    items, samples = read_cell(ours), read_samples(ours / "samples")
    names = {"choices": "toy_group", "written": "toy_written"}
    assert samples.benchmarks.keys() == set(names.values())
    assert items is not None
    for benchmark, theirs in names.items():
        mine, read = items.benchmarks[benchmark], samples.benchmarks[theirs]
        assert sorted(mine.key_N) == sorted(read.key_N)
        order = [list(read.key_N).index(key) for key in mine.key_N]
        np.testing.assert_array_equal(mine.value_N, read.value_N[order])
        if mine.counts_NC is not None:
            assert read.counts_NC is not None
            np.testing.assert_array_equal(mine.counts_NC, read.counts_NC[order])
        assert mine.higher_is_better == read.higher_is_better


def test_one_task_with_other_shots_is_told_apart(task_folder: Path, tiny_llama: Path, tmp_path: Path) -> None:
    evaluate(
        tiny_llama, task_folder, tmp_path,
        none=TaskConfig(task="toy_other", group="multiple_choice"),
        two=TaskConfig(task="toy_other", group="multiple_choice", shots=2),
    )  # fmt: skip
    assert {"samples_none.jsonl", "samples_two.jsonl", "results.json"} == files(tmp_path).keys()
    assert read_samples(tmp_path).benchmarks.keys() == {"none", "two"}
