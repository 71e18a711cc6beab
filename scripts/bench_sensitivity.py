"""Time POSIX (prompt sensitivity) of a model, beside plain forward passes of the same pairs.

    python -m scripts.bench_sensitivity --model FOLDER --data PROMPTS.json [--prompts 200] [--max-new-tokens 16]

PROMPTS.json: rows with `instruction`, as Alpaca's data have them. Each prompt is worded in five ways (itself, two slips
of spelling, another wording, another format), so it has 25 pairs of wording and response. Prints the seconds of all,
those of the answers alone, and those of one forward pass of each pair, in batches of the same size by length: what is
asked, without anything around it.
"""

import argparse
import json
import time
from pathlib import Path


def main() -> None:
    """Measure, then the answers again, then the passes; print a line of JSON."""
    import torch

    from plw.config.evaluation import SensitivityConfig
    from plw.evaluate.models.batches import longest_first
    from plw.evaluate.models.hf import EvalModel
    from plw.evaluate.models.likelihood import greedy_responses
    from plw.evaluate.sensitivity.measure import measure_sensitivity
    from plw.evaluate.sensitivity.variants import make_variants

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--max-new-tokens", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=32)
    options = parser.parse_args()

    texts = [row["instruction"] for row in json.loads(options.data.read_text(encoding="utf-8"))]
    counts = SensitivityConfig(prompts=str(options.data)).counts
    wordings = [make_variants(text, counts) for text in texts[: options.prompts]]
    loaded = EvalModel.load(options.model)
    how = {"max_new_tokens": options.max_new_tokens, "batch_size": options.batch_size}
    started = time.perf_counter()
    found = measure_sensitivity(loaded, wordings, **how)
    whole = time.perf_counter() - started

    started = time.perf_counter()
    responses = iter(greedy_responses(loaded, [text for texts in wordings for text in texts], **how))
    answers = time.perf_counter() - started
    sets = [[next(responses) for _ in texts] for texts in wordings]
    rows = [[*prompt, *response] for pairs in sets for prompt, _ in pairs for _, response in pairs]
    started = time.perf_counter()
    with torch.inference_mode():
        for places in longest_first(rows, options.batch_size):
            width = max(len(rows[place]) for place in places)
            loaded.model(torch.tensor([[*rows[place], *[0] * (width - len(rows[place]))] for place in places]))
    passes = time.perf_counter() - started
    seconds = {"all": whole, "answers": answers, "plain_passes": passes}
    figures = {name: round(value, 1) for name, value in seconds.items()}
    about = {"prompts": len(found), "pairs": len(rows), "threads": torch.get_num_threads()}
    print(json.dumps({**about, "seconds": figures, "times_answers_and_passes": round(whole / (answers + passes), 2)}))


if __name__ == "__main__":
    main()
