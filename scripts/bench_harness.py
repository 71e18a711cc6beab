"""Time lm-eval's requests by its own transformers model and by this project's, which computes shared contexts once.

    python -m scripts.bench_harness --model FOLDER --data TASKS [--documents 20] [--batch-size 40]

TASKS: a folder with `piqa_validation.jsonl`, `truthfulqa_multiple_choice.jsonl` and `ifeval.jsonl`, in any depth. Both
ways take turns, with the same requests; for each task the seconds, the ratio, and how far the likelihoods are apart.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any


def main() -> None:
    """Take turns at each kind of request; print a line of JSON for each."""
    import torch
    from lm_eval.models.huggingface import HFLM

    from plw.evaluate.models.hf import DTYPES, EvalModel

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=40)
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()

    loaded = EvalModel.load(options.model, dtype=options.dtype)
    ways = {
        "lm_eval": HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=options.batch_size),
        "ours": loaded.for_harness(options.batch_size),
    }
    piqa, choices, prompts = (
        read(options.data, name)[: options.documents]
        for name in ("piqa_validation.jsonl", "truthfulqa_multiple_choice.jsonl", "ifeval.jsonl")
    )
    few_shot = "\n\n".join(
        f"Q: {row['question']}\nA: {row['mc1_targets']['choices'][0]}" for row in choices[: min(6, len(choices))]
    )
    how = {"until": [], "do_sample": False, "temperature": 0.0, "max_gen_toks": options.max_new_tokens}
    tasks: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
        "two choices of a question (PIQA)": (
            "loglikelihood",
            [(f"Question: {row['goal']}\nAnswer:", f" {row[name]}") for row in piqa for name in ("sol1", "sol2")],
        ),
        "many choices after six examples (TruthfulQA)": (
            "loglikelihood",
            [
                (f"{few_shot}\n\nQ: {row['question']}\nA:", f" {choice}")
                for row in choices
                for choice in row["mc2_targets"]["choices"]
            ],
        ),
        "answers (IFEval)": ("generate_until", [(row["prompt"], how) for row in prompts]),
    }
    for task, (kind, arguments) in tasks.items():
        print(
            json.dumps(
                {"task": task, "threads": torch.get_num_threads(), **turns(ways, kind, arguments, options.rounds)}
            )
        )


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    """The rows of the one file of this name."""
    path = next(iter(sorted(folder.rglob(name))), None)
    if path is None:
        raise SystemExit(f"{folder}: no {name}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def turns(ways: dict[str, Any], kind: str, arguments: list[tuple[Any, ...]], rounds: int) -> dict[str, Any]:
    """Seconds of both ways in turn, and how their answers differ."""
    from lm_eval.api.instance import Instance

    requests = [
        Instance(request_type=kind, doc={}, arguments=given, idx=number) for number, given in enumerate(arguments)
    ]
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    answers: dict[str, list[Any]] = {}
    for _ in range(rounds):
        for way, model in ways.items():
            ask: Callable[..., list[Any]] = getattr(model, kind)
            started = time.perf_counter()
            answers[way] = ask(requests, disable_tqdm=True)
            seconds[way].append(time.perf_counter() - started)
    theirs, ours = answers["lm_eval"], answers["ours"]
    if kind == "loglikelihood":
        apart = max(abs(a - b) / max(1.0, abs(a)) for (a, _), (b, _) in zip(theirs, ours, strict=True))
        difference = {"largest_relative_distance": round(apart, 4)}
    else:
        difference = {"equal": sum(a == b for a, b in zip(theirs, ours, strict=True))}
    return {
        "requests": len(requests),
        "seconds": {way: round(median(times), 1) for way, times in seconds.items()},
        "times_ours": round(median(a / b for a, b in zip(seconds["lm_eval"], seconds["ours"], strict=True)), 2),
        **difference,
    }


if __name__ == "__main__":
    main()
