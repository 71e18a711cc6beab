"""Time answers whose rows leave the batch as they end, against transformers' `generate`, which keeps all to the end.

    python -m scripts.bench_decode --model FOLDER --data PROMPTS.json [--prompts 40] [--max-new-tokens 256]

PROMPTS.json: rows with `instruction`, as Alpaca's and AlpacaEval's have them. Both ways take turns, the same batches;
prints the seconds of each, the ratio, and how many answers are the same.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median


def main() -> None:
    """Take turns; print a line of JSON."""
    import torch

    from plw.evaluate.models import decode
    from plw.evaluate.models.hf import DTYPES, EvalModel

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=40)
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=40)
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stretches", type=int, nargs="+", default=[decode.STRETCH])
    options = parser.parse_args()

    rows = json.loads(options.data.read_text(encoding="utf-8"))[: options.prompts]
    prompts = [f"### Instruction:\n{row['instruction']}\n\n### Response:" for row in rows]
    loaded = EvalModel.load(options.model, dtype=options.dtype)
    # One stretch as long as the answers is transformers' own `generate`.
    stretches = [options.max_new_tokens, *options.stretches]
    seconds: dict[int, list[float]] = {stretch: [] for stretch in stretches}
    answers = {}
    for _ in range(options.rounds):
        for stretch in stretches:
            decode.STRETCH = stretch
            started = time.perf_counter()
            answers[stretch] = loaded.answer(
                prompts, max_new_tokens=options.max_new_tokens, batch_size=options.batch_size
            )
            seconds[stretch].append(time.perf_counter() - started)
    whole = answers[options.max_new_tokens]
    result = {
        "prompts": len(prompts),
        "tokens": sum(answer.tokens for answer in whole),
        "threads": torch.get_num_threads(),
        "generate_seconds": round(median(seconds[options.max_new_tokens]), 1),
        "stretches": {
            stretch: {
                "seconds": round(median(seconds[stretch]), 1),
                "share_of_generate": round(
                    median(a / b for a, b in zip(seconds[stretch], seconds[options.max_new_tokens], strict=True)), 2
                ),
                "same_answers": sum(a == b for a, b in zip(answers[stretch], whole, strict=True)),
            }
            for stretch in options.stretches
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
