"""What a table or figure rests on, in a sentence for its caption: how many scores, which seeds, and what is missing."""

import pandas as pd

from analysis.scores.aggregates import cell_aggregates
from analysis.scores.frame import AXES, TidyFrame, turned_round
from plw.progress import count


def seed_text(seeds: "pd.Series[int]") -> str:
    """The different seeds of some rows, as in ``seed 42`` or ``seeds 1, 2, 3``."""
    found = sorted({int(seed) for seed in seeds})
    return f"seed{'s' if len(found) > 1 else ''} {', '.join(map(str, found))}"


def coverage(frame: TidyFrame, *, whole_cells: bool = False) -> str:
    """n, seeds and missing scores of a frame.

    Args:
        frame: the tidy frame, or a part of it.
        whole_cells: whether only cells with every benchmark count, as in the aggregates.
    """
    rows = frame.rows
    cells = len(rows[AXES].drop_duplicates())
    complete = len(cell_aggregates(frame))
    parts = (
        count(rows["dataset"].nunique(), "dataset"),
        count(rows["model"].nunique(), "base model"),
        count(rows["prompt_weight"].nunique(), "weight"),
        count(rows["benchmark"].nunique(), "benchmark"),
    )
    sentences = [
        f"n = {count(len(rows), 'score')} of {count(cells, 'cell')} ({', '.join(parts)}); {seed_text(rows['seed'])}."
    ]
    if whole_cells and complete < cells:
        sentences.append(f"Left out: {count(cells - complete, 'cell')} without every benchmark.")
    turned = turned_round(rows)
    if turned:
        sentences.append(f"Turned round, as lower is better: {', '.join(turned)}.")
    sentences.append(_missing(frame))
    return " ".join(sentences)


def _missing(frame: TidyFrame) -> str:
    missing = frame.missing
    if missing.empty:
        return "Missing: nothing."
    cells = len(missing[AXES].drop_duplicates())
    lacking = sorted(set(missing["benchmark"]))
    names = ", ".join(lacking) if len(lacking) <= 4 else f"{len(lacking)} benchmarks"
    return f"Missing: {count(len(missing), 'score')} in {count(cells, 'cell')} ({names})."
