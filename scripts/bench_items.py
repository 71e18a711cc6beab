"""What items cost: size of a paper-scale cell's table, share of a harness stage, seconds of `plw compare`.

OMP_NUM_THREADS=1 python scripts/bench_items.py --json items.json
"""

import argparse
import hashlib
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
METRICS = {
    "arc_challenge": ("acc", "acc_norm"),
    "piqa": ("acc", "acc_norm"),
    "truthfulqa_mc2": ("acc",),
    "winogrande": ("acc",),
    "truthfulqa_gen": tuple(
        f"{name}_{part}" for name in ("bleu", "rouge1", "rouge2", "rougeL") for part in ("max", "acc", "diff")
    ),
}
"""What each task of the paper's suite reports; a translation reports BLEU, chrF and TER."""
CHOICE = """
output_type: multiple_choice
doc_to_target: label
doc_to_choice: "{{[a, b]}}"
metric_list: [{metric: acc}, {metric: acc_norm}]
"""
WRITES = """
output_type: generate_until
doc_to_target: " {{a}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 32, do_sample: false}
metric_list: [{metric: bleu}, {metric: chrf}, {metric: ter}]
"""
WORDS = ["the", "river", "runs", "past", "old", "houses", "people", "often", "sit", "under", "green", "trees", "there"]


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1200, help="documents of each of the two tasks that are run")
    parser.add_argument("--rounds", type=int, default=3, help="times that a stage and a comparison are timed")
    parser.add_argument("--hidden", type=int, default=256, help="width of the model of six layers that answers")
    parser.add_argument("--json", type=Path, default=None, help="also write the result here")
    options = parser.parse_args()
    from plw.files.writing import write_json_atomic

    with tempfile.TemporaryDirectory() as folder:
        result = {"table": table(Path(folder)), "compare": compare(Path(folder), options.rounds)}
        result["stage"] = stage(Path(folder), options.documents, options.rounds, options.hidden)
    print(json.dumps(result, indent=2))
    if options.json is not None:
        write_json_atomic(options.json, result)


def table(folder: Path) -> dict[str, float]:
    """Two cells with the documents and metrics of ``suite=plw`` and made-up outcomes; the size of one's items."""
    from plw.files.writing import write_json_atomic
    from plw.results.items import ITEMS, write_items

    found = {}
    for number, name in enumerate(("a", "b")):
        rows = list(made_up(number))
        path = folder / name / "harness-plw" / ITEMS
        started = time.process_time()
        write_items(path, rows)
        seconds = time.process_time() - started
        write_json_atomic(path.parent / "record.json", {"scores": [{"suite": "plw"}]})
        documents = len({(row.benchmark, row.item) for row in rows})
        found = {"documents": documents, "rows": len(rows), "megabytes": path.stat().st_size / 1e6}
        found["cpu_seconds_to_write"] = seconds
    return found


def made_up(seed: int) -> Iterator[Any]:
    """Items as models would leave them: right or wrong, probabilities, counts of sentences."""
    from plw.results.corpus_metrics import segment_counts
    from plw.results.items import ItemRow

    suite = yaml.safe_load((ROOT / "conf" / "suite" / "plw.yaml").read_text())
    dice, texts = random.Random(seed), random.Random(0)
    for benchmark, task in suite["tasks"].items():
        numbers = range(task["documents"])
        hashes = [hashlib.sha256(f"{task['task']} {number}".encode()).hexdigest() for number in numbers]
        fields = {"benchmark": benchmark, "task": task["task"], "higher_is_better": True}
        if task["group"] == "translation":
            references = [" ".join(texts.choices(WORDS, k=texts.randint(8, 35))) for _ in numbers]
            answers = [
                " ".join(word if dice.random() < 0.7 else dice.choice(WORDS) for word in text.split())
                for text in references
            ]
            columns = {name: (None, segment_counts(name, references, answers)) for name in ("bleu", "chrf")}
            # Counting edits takes milliseconds a sentence: they are drawn.
            lengths = [len(text.split()) for text in references]
            columns["ter"] = None, [[float(dice.randint(0, length)), float(length)] for length in lengths]
        else:
            # A share of the probability where choices are several, a difference of two scores; else right or wrong.
            exact = task["task"] == "truthfulqa_mc2"
            columns = {
                name: ([dice.random() if exact or not _is_right(name) else float(dice.random() < 0.6) for _ in numbers],
                       None)
                for name in METRICS[task["task"]]
            }  # fmt: skip
        for metric, (values, counts) in columns.items():
            for number in numbers:
                yield ItemRow(
                    item=number,
                    item_hash=hashes[number],
                    metric=metric,
                    headline=metric == task["metric"],
                    aggregation=metric if counts else "mean",
                    value=values[number] if values else None,
                    counts=counts[number] if counts else None,
                    **fields,
                )


def _is_right(metric: str) -> bool:
    return metric.startswith("acc") or metric.endswith("_acc")


def compare(folder: Path, rounds: int) -> dict[str, float]:
    """``plw compare`` of the two cells, from the shell: median seconds on the clock and of the processor."""
    command = [sys.executable, "-m", "plw", "compare", str(folder / "a"), str(folder / "b"), "--json", os.devnull]
    clock, processor = [], []
    for _ in range(rounds + 1):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        clock.append(time.perf_counter() - started)
        processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    # The first one reads everything from the disk.
    return {"seconds": statistics.median(clock[1:]), "cpu_seconds": statistics.median(processor[1:])}


def stage(folder: Path, documents: int, rounds: int, hidden: int) -> dict[str, float]:
    """A harness stage's processor time with items and the log of answers, and with neither, in turns."""
    import torch

    from plw.config.evaluation import SuiteConfig, TaskConfig
    from plw.evaluate.lm_eval.answer_log import AnswerLog, answer_files
    from plw.evaluate.lm_eval.harness import run_tasks
    from plw.evaluate.models.hf import EvalModel
    from plw.results.items import ITEMS, write_items
    from plw.testing.models import make_model
    from plw.testing.tokenizers import byte_level_tokenizer

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    tasks = tasks_of(folder, documents)
    model = EvalModel.load(
        make_model(
            folder / "model", "Llama", byte_level_tokenizer([" ".join(WORDS)], size=400), hidden_size=hidden,
            intermediate_size=3 * hidden, num_hidden_layers=6, num_attention_heads=4, num_key_value_heads=4,
            head_dim=hidden // 4, initializer_range=0.02, max_position_embeddings=512,
        )
    )  # fmt: skip
    suite = SuiteConfig(
        name="bench",
        tasks={
            "choice": TaskConfig(task="choice", group="multiple_choice"),
            "written": TaskConfig(task="written", group="translation", metric="bleu"),
        },
        builtin_tasks=False,
    )
    spent: dict[bool, list[float]] = {False: [], True: []}
    size = 0
    for turn in range(2 * rounds + 2):
        kept = turn % 2 == 1
        started = time.process_time()
        if kept:
            with AnswerLog(folder, {"stage": "bench"}) as answers:
                write_items(folder / ITEMS, run_tasks(model, suite, {}, (tasks,), answers=answers).items)
            size = sum(path.stat().st_size for path in answer_files(folder))
            for path in answer_files(folder):
                path.unlink()
        else:
            run_tasks(model, suite, {}, (tasks,), keep_items=False)
        spent[kept].append(time.process_time() - started)
    without, with_items = (statistics.median(spent[kept][1:]) for kept in (False, True))
    ratios = [b / a for a, b in zip(spent[False][1:], spent[True][1:], strict=True)]
    return {
        "documents": 2 * documents,
        "cpu_seconds_without": without,
        "cpu_seconds_with": with_items,
        "cost": statistics.median(ratios) - 1,
        "log_megabytes": size / 1e6,
    }


def tasks_of(folder: Path, documents: int) -> Path:
    """lm-eval task files of one benchmark of choices and one of translation."""
    dice, tasks = random.Random(0), folder / "tasks"
    tasks.mkdir()

    def words(least: int, most: int) -> str:
        return " ".join(dice.choices(WORDS, k=dice.randint(least, most)))

    for name, fields in (("choice", CHOICE), ("written", WRITES)):
        rows = [
            {"q": words(10, 40), "a": words(4, 16), "b": words(4, 16), "label": dice.randrange(2)}
            for _ in range(documents)
        ]
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tasks / f"{name}.yaml").write_text(
            f"task: {name}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {data}}}}}\ntest_split: test\n"
            f'doc_to_text: "{{{{q}}}}"\nmetadata: {{version: 1}}\n{fields}'
        )
    return tasks


if __name__ == "__main__":
    main()
