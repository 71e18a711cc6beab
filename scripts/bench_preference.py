"""CPU seconds and peak memory of DPO on real pairs: this engine, or TRL's DPOTrainer (extra `peers`), one thread.

    OMP_NUM_THREADS=1 python scripts/bench_preference.py PAIRS.json TOKENIZER.model --pairs 16 --contender trl

PAIRS.json: rows of `conversations` (one message), `chosen` and `rejected`, as ShareGPT's data have them. The model is a
Llama of random weights (256 wide, 4 layers). Each contender is a run of its own, so that its peak of memory is its own.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAX_ROW_TOKENS = 2400
"""Characters of a row of the file, so that a batch fits into little memory."""


def main() -> None:
    """Train on the pairs once, in steps of eight, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--contender", choices=("ours", "trl"), default="ours")
    parser.add_argument("--layout", default="auto", help="of ours")
    parser.add_argument(
        "--precompute", action="store_true", help="TRL reads the frozen model's log-probabilities first"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = _ours(arguments, Path(folder)) if arguments.contender == "ours" else _trl(arguments, Path(folder))
        before = time.process_time()
        run()
        seconds = time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"contender": arguments.contender, "cpu_seconds": round(seconds, 1), "peak_mib": peak}))


def _inputs(arguments: argparse.Namespace, folder: Path) -> tuple[Any, Any, list[dict[str, Any]]]:
    """The model's folder, the tokenizer and the chosen rows."""
    from plw.data.tokenizer import load_tokenizer
    from plw.testing.models import make_random_llama

    tokenizer = load_tokenizer(arguments.tokenizer)
    tokenizer.pad_token = tokenizer.unk_token
    rows = [row for row in json.loads(arguments.file.read_text()) if len(row["conversations"]) == 1]
    short = [row for row in rows if len(json.dumps(row)) < MAX_ROW_TOKENS][: arguments.pairs]
    return make_random_llama(folder / "model", tokenizer, hidden=256, heads=4, layers=4), tokenizer, short


def _ours(arguments: argparse.Namespace, folder: Path) -> Callable[[], Any]:
    from plw.config.preference import PreferenceConfig
    from plw.config.training import TemplateConfig
    from plw.data.pairs import prepare_pairs
    from plw.testing.jobs import training_job
    from plw.train.trainer import train

    model, tokenizer, rows = _inputs(arguments, folder)
    (folder / "pairs.json").write_text(json.dumps(rows))
    preference = PreferenceConfig(
        name="bench", path=str(folder / "pairs.json"), method="dpo", format="sharegpt", epochs=1, batch_size=8
    )
    template = TemplateConfig(
        name="t", with_input="{instruction}\n{input}", without_input="{instruction}", completion=" {output}",
        turn_separator="\n\n",
    )  # fmt: skip
    pairs = prepare_pairs(preference, [folder / "pairs.json"], template, tokenizer)
    job = training_job(
        model, tokenizer, folder / "run", examples=pairs.examples, recipe=preference.recipe(), beta=preference.beta,
        seed=3, threads=1, layout=arguments.layout,
    )  # fmt: skip
    return lambda: train(job)


def _trl(arguments: argparse.Namespace, folder: Path) -> Callable[[], Any]:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import DPOConfig, DPOTrainer

    model, tokenizer, rows = _inputs(arguments, folder)
    texts = [
        {
            "prompt": row["conversations"][0]["value"],
            **{side: f" {row[side]['value']}" for side in ("chosen", "rejected")},
        }
        for row in rows
    ]
    config = DPOConfig(
        output_dir=str(folder / "trl"), max_length=None, per_device_train_batch_size=1, gradient_accumulation_steps=8,
        num_train_epochs=1, learning_rate=5e-7, report_to="none", use_cpu=True, bf16=False, disable_tqdm=True,
        dataloader_pin_memory=False, gradient_checkpointing=False, save_strategy="no",
        precompute_ref_log_probs=arguments.precompute,
    )  # fmt: skip
    loaded = AutoModelForCausalLM.from_pretrained(model)
    return lambda: DPOTrainer(
        loaded, args=config, processing_class=tokenizer, train_dataset=Dataset.from_list(texts)
    ).train()


if __name__ == "__main__":
    main()
