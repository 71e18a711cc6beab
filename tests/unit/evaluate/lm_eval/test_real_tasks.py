"""The real benchmarks on all their documents: the numbers of `plw` are those that lm-eval's own command line gives."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lm_eval
import pytest
import torch
import yaml

from plw.config.evaluation import SuiteConfig, TaskConfig
from plw.evaluate.lm_eval.harness import run_tasks
from plw.evaluate.models.hf import EvalModel
from plw.testing.models import make_model
from plw.testing.tokenizers import byte_level_tokenizer

pytestmark = pytest.mark.slow

LM_EVAL_TASKS = Path(lm_eval.__file__).parent / "tasks"
TASKS = {
    "piqa": ("piqa", "piqa_validation.jsonl", 1838, "acc_norm"),
    "truthfulqa_mc2": ("truthfulqa", "truthfulqa_multiple_choice.jsonl", 817, "acc"),
    "truthfulqa_gen": ("truthfulqa", "truthfulqa_generation.jsonl", 817, "bleu_acc"),
}
BATCH = 128
ONE_ROUGE_SAMPLE = """
# The command resamples the ROUGE of one answer 1000 times, five minutes in all; every resample of one item is that item
# (test_a_resample_of_one_answer_is_that_answer).
from rouge_score import scoring
scoring.BootstrapAggregator.__init__.__defaults__ = (0.95, 1)
"""


ANSWER_WORDS = 5


def questions(folder: Path) -> list[str]:
    """Question and the first words of its answer, as TruthfulQA asks."""
    rows = [json.loads(line) for line in (folder / "truthfulqa_generation.jsonl").read_text().splitlines()]
    return [f"Q: {row['question']}\nA: {' '.join(row['best_answer'].split()[:ANSWER_WORDS])}\n\n" for row in rows]


@pytest.fixture(scope="module")
def short_answering_llama(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved Llama of one narrow layer that has seen enough questions to end an answer."""
    from transformers import LlamaForCausalLM

    texts = questions(shared_data / "tasks")
    examples = yaml.safe_load((LM_EVAL_TASKS / "truthfulqa" / "truthfulqa_mc1.yaml").read_text())["doc_to_text"]
    # Few entries, for a small model's cost is in the vocabulary; the benchmarks' words, for it is in length too.
    tokenizer = byte_level_tokenizer([*texts, *[examples] * 20], size=1024, pad=None)
    folder = make_model(
        tmp_path_factory.mktemp("real") / "model", "Llama", tokenizer, vocab_size=1024, hidden_size=32,
        intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
        max_position_embeddings=2048,
    )  # fmt: skip
    model = LlamaForCausalLM.from_pretrained(folder).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    token_T = torch.tensor([token for text in texts for token in tokenizer(text)["input_ids"][1:]])
    token_BT = token_T[: len(token_T) // 64 * 64].reshape(-1, 64)
    for start in range(0, 100 * 8, 8):
        rows = token_BT[torch.arange(start, start + 8) % len(token_BT)]
        model(input_ids=rows, labels=rows).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def command_line(
    shared_data: Path, short_answering_llama: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What `lm_eval` prints and writes for the three tasks on the local files."""
    work = tmp_path_factory.mktemp("command-line")
    (work / "tasks").mkdir()
    for task, (folder, file, _, _) in TASKS.items():
        (work / "tasks" / f"{task}.yaml").write_text(
            f"include: {LM_EVAL_TASKS}/{folder}/{task}.yaml\ntask: {task}\ntag: null\ndataset_path: json\n"
            f"dataset_name: null\ntraining_split: null\n"
            f"dataset_kwargs: {{data_files: {{validation: {shared_data}/tasks/{file}}}}}\n"
        )
    (work / "sitecustomize.py").write_text(ONE_ROUGE_SAMPLE)
    options = {
        "--model": "hf", "--model_args": f"pretrained={short_answering_llama},dtype=float32", "--device": "cpu",
        "--tasks": ",".join(TASKS), "--include_path": str(work / "tasks"), "--batch_size": str(BATCH),
        "--output_path": str(work / "out"),
    }  # fmt: skip
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lm_eval")), "run", *(word for pair in options.items() for word in pair)],
        env={**os.environ, "PYTHONPATH": str(work), "HF_HOME": str(work / "hf"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (written,) = (work / "out").rglob("results_*.json")
    return {"printed": done.stdout, **json.loads(written.read_text())}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in another order end in other last digits; both sides use the threads of OMP_NUM_THREADS."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    yield
    torch.set_num_threads(before)


def test_all_documents_score_as_on_lm_evals_command_line(
    shared_data: Path, short_answering_llama: Path, command_line: dict[str, Any], tmp_path: Path
) -> None:
    suite = SuiteConfig(
        name="real",
        tasks={
            task: TaskConfig(task=task, group="multiple_choice", metric=metric)
            for task, (_, _, _, metric) in TASKS.items()
        },
        bootstrap_iterations=1000,
        batch_size=BATCH,
    )
    files = {task: {"validation": shared_data / "tasks" / file} for task, (_, file, _, _) in TASKS.items()}
    ours = run_tasks(EvalModel.load(short_answering_llama), suite, files, (tmp_path,)).scores

    for task, (_, _, documents, _) in TASKS.items():
        theirs = command_line["results"][task]
        mine = {score.metric: score for score in ours if score.benchmark == task}
        assert mine.pop("cut").value == 0
        assert {score.n for score in mine.values()} == {documents}
        # One document more or less moves a share by 5e-4; MC2 is a mean of probabilities, whose last digits go with the
        # shape of the batch that the processor's kernel was given.
        assert {name: score.value for name, score in mine.items()} == pytest.approx(
            {
                key.removesuffix(",none"): value
                for key, value in theirs.items()
                if key.endswith(",none") and "_stderr" not in key
            },
            rel=1e-6,
        )
        for name, score in mine.items():
            assert score.stderr == pytest.approx(theirs[f"{name}_stderr,none"], rel=1e-6)
            assert f"{score.value:.4f}" in command_line["printed"]
    assert len({score.value for score in ours}) > 10
