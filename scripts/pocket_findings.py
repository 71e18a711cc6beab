"""The tables of docs/findings-pocket.md, from the scores and items of the study that are kept in the project.

python scripts/pocket_findings.py

Of one's own run: `plw registry export` and `plw items export` with `study=plw scale=pocket` make the two files, and
`--runs runs/plw-pocket` adds what only the answers themselves tell.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path(__file__).parents[1]
SCORES, ITEMS = ROOT / "analysis/published/pocket.csv", ROOT / "docs/data/pocket-items.parquet"

OF_ITEMS = {
    ("alpaca_eval", "words"): ("words per answer, AlpacaEval", 1.0),
    ("alpaca_eval", "finished"): ("answers that end by themselves, %", 100.0),
    ("pandalm", "words"): ("words per answer, PandaLM", 1.0),
    ("truthfulqa_gen", "bleu_acc"): ("TruthfulQA-Gen, BLEU accuracy, %", 100.0),
    ("piqa", "acc_norm"): ("PIQA, accuracy, %", 100.0),
    ("truthfulqa_mc2", "acc"): ("TruthfulQA MC2, %", 100.0),
}
"""(benchmark, metric) -> its name in the tables, and what a value is multiplied by."""
OF_CELLS = {
    ("ifeval", "inst_level_loose_acc"): ("IFEval, instructions followed, %", 100.0),
    ("memorisation", "bleu"): ("memorisation, BLEU", 1.0),
    ("weight_distance", "l2"): ("distance from the base, L2", 1.0),
    ("loss_rsd", "mean"): ("instability of the loss, RSD", 1.0),
}
"""The same for measures that a cell has one number of; they have no interval."""
CHANGE = "from 0 to 1 (95 %)"
RESAMPLES = 9999


def main() -> None:
    """Print the tables."""
    import pandas as pd

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=Path, default=SCORES, help="from `plw registry export`")
    parser.add_argument("--items", type=Path, default=ITEMS, help="from `plw items export`")
    parser.add_argument("--runs", type=Path, help="the study's folder of results, for its answers")
    options = parser.parse_args()
    for path in (options.scores, options.items):
        if not path.is_file():
            sys.exit(f"{path}: no such file")
    scores, items = pd.read_csv(options.scores), pd.read_parquet(options.items)
    for dataset in sorted(items["dataset"].unique()):
        print(f"### {dataset}\n")
        of_scores, of_items = (table[table["dataset"] == dataset] for table in (scores, items))
        weights_of = of_scores.groupby("seed")["prompt_weight"].agg(set)
        first = weights_of.map(len).idxmax()
        print(measured(of_scores[of_scores["seed"] == first], of_items[of_items["seed"] == first]))
        if options.runs is not None:
            print(told_by_answers(options.runs / dataset, first))
        if len(weights_of) > 1:
            shared = set.intersection(*weights_of)
            parts = [table[table["prompt_weight"].isin(shared)] for table in (of_scores, of_items)]
            print(by_seed(*parts))


def measured(scores: "pd.DataFrame", items: "pd.DataFrame") -> str:
    """One dataset: a row a measure, a column a weight; then the change from weight 0 to 1 and the trend."""
    head = ["measure", *weight_names(scores), CHANGE, "rank correlation (p)"]
    return written(head, measure_rows(scores, items))


def weight_names(scores: "pd.DataFrame") -> list[str]:
    return [f"{weight:g}" for weight in sorted(scores["prompt_weight"].unique())]


def written(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown; numbers stand to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def measure_rows(scores: "pd.DataFrame", items: "pd.DataFrame") -> list[list[str]]:
    """Of one dataset and seed, each measure's name, its value at each weight, the change and the trend."""
    import numpy as np

    weights = sorted(scores["prompt_weight"].unique())
    rows = []
    for (benchmark, metric), (name, times) in OF_ITEMS.items():
        table = values(items, benchmark, metric) * times
        if table.empty:
            continue
        low, high = interval(table[weights[-1]] - table[weights[0]])
        change = table[weights[-1]].mean() - table[weights[0]].mean()
        means = [table[weight].mean() for weight in weights]
        rows.append(
            [name, *(f"{mean:.1f}" for mean in means), f"{change:+.1f} ({low:+.1f} to {high:+.1f})", trend(means)]
        )
    for (benchmark, metric), (name, times) in OF_CELLS.items():
        chosen = scores[(scores["benchmark"] == benchmark) & (scores["metric"] == metric)]
        means = list(chosen.groupby("prompt_weight")["value"].mean().reindex(weights) * times)
        digits = 3 if np.nanmax(means) < 1 else 1 if np.nanmax(means) > 10 else 2
        change = f"{means[-1] - means[0]:+.{digits}f}"
        rows.append([name, *(f"{mean:.{digits}f}" for mean in means), change, trend(means)])
    return rows


def by_seed(scores: "pd.DataFrame", items: "pd.DataFrame") -> str:
    """One dataset at the weights that all seeds have: a row a measure and seed."""
    seeds = sorted(scores["seed"].unique())
    of_seed = [measure_rows(scores[scores["seed"] == seed], items[items["seed"] == seed]) for seed in seeds]
    rows = [
        [name, str(seed), *cells[:-1]]
        for of_measure in zip(*of_seed, strict=True)
        for seed, (name, *cells) in zip(seeds, of_measure, strict=True)
    ]
    return written(["measure", "seed", *weight_names(scores), CHANGE], rows)


def told_by_answers(folder: Path, seed: int) -> str:
    """Of one seed, a row a weight: AlpacaEval answers with the template's words, and the share of repeated 4-grams."""
    import json
    import re

    lines = ["| weight | answers with the template's words, % | repeated 4-grams, % |", "| ---: | ---: | ---: |"]
    found = {}
    for path in folder.glob(f"*/*-s{seed}-*/generate-*/alpaca_eval.json"):
        texts = [row["output"] for row in json.loads(path.read_text(encoding="utf-8"))]
        weight = float(re.match(r"p([^-]+(?:e-\d+)?)-r", path.parts[-3])[1])
        template = sum("### " in text for text in texts) / len(texts)
        found[weight] = f"| {weight:g} | {100 * template:.0f} | {100 * sum(map(repeated, texts)) / len(texts):.0f} |"
    return "\n".join([*lines, *(found[weight] for weight in sorted(found))]) + "\n"


def repeated(text: str) -> float:
    """Share of a text's 4-grams of words that stood in it before; 0 where there are none."""
    words = text.split()
    grams = list(zip(words, words[1:], words[2:], words[3:], strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def values(items: "pd.DataFrame", benchmark: str, metric: str) -> "pd.DataFrame":
    """Items answered at every weight: a row an item, a column a weight."""
    chosen = items[(items["benchmark"] == benchmark) & (items["metric"] == metric)]
    return chosen.pivot_table(index="item_hash", columns="prompt_weight", values="value", aggfunc="mean").dropna()


def interval(differences: "pd.Series[float]") -> tuple[float, float]:
    """95 % bootstrap interval (BCa) of the mean of paired differences; items are the sample."""
    import numpy as np
    from scipy.stats import bootstrap

    if differences.nunique() == 1:
        return float(differences.iloc[0]), float(differences.iloc[0])
    found = bootstrap((differences.to_numpy(),), np.mean, n_resamples=RESAMPLES, rng=0).confidence_interval
    return float(found.low), float(found.high)


def trend(means: list[Any]) -> str:
    """Spearman's correlation with the weight, and its permutation p; nothing below five weights."""
    import numpy as np
    from scipy.stats import permutation_test, rankdata

    if len(means) < 5:
        return "–"
    rank_W = rankdata(means) - (len(means) + 1) / 2
    order_W = np.arange(len(means)) - (len(means) - 1) / 2
    size = np.linalg.norm(rank_W) * np.linalg.norm(order_W)
    test = permutation_test(
        (order_W,),
        lambda places, axis: (places * rank_W).sum(axis=axis) / size,
        permutation_type="pairings",
        n_resamples=RESAMPLES,
        vectorized=True,
        rng=0,
    )
    p = f"{test.pvalue:.3f}" if test.pvalue >= 0.001 else "<.001"
    return f"{test.statistic:+.2f} ({p})"


if __name__ == "__main__":
    main()
