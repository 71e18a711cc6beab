"""A simulated study: its axes, its scores, and the writing of its stages through the registry itself."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from plw.files import write_json_atomic
from plw.registry.owner import Owner
from plw.registry.rows import CellRow, StageKey
from plw.registry.store import Registry
from plw.score import Score

WEIGHTS = (0.0, 5e-4, 2.236e-3, 1e-2, 2.463e-2, 5e-2, 1e-1, 2.463e-1, 5e-1, 1.0)
LANGUAGES = ("avin-belo", "belo-avin", "avin-cadu", "cadu-avin", "belo-cadu", "cadu-belo")
GROUPS = (
    dict.fromkeys(("arc", "piqa", "truthful_mc", "winogrande"), "multiple_choice")
    | {"truthful_gen": "short_generation"}
    | dict.fromkeys(LANGUAGES, "translation")
    | dict.fromkeys(("alpaca_eval", "pandalm"), "long_generation")
)
RATIOS = {"data": 3.2, "cleaned": 7.7, "short": 0.08}


def write_stage(registry: Registry, runs: Path, cell: CellRow, name: str, scores: list[Score], **fields: Any) -> None:
    """Finish a stage as the sweep does: claim, record in its folder, rows in the registry."""
    owner = Owner.here()
    key = StageKey(study=cell.study, scale=cell.scale, cell=cell.cell, name=name)
    registry.claim(key, kind=name, fingerprint=f"f-{name}", owner=owner, stale_s=60, now=1000.0)
    record = {
        "study": cell.study, "scale": cell.scale, "cell": cell.to_dict(), "stage": name, "kind": name,
        "fingerprint": f"f-{name}", "payload": {}, "seconds": 2.5, "attempts": 1, "started": 1.0, "finished": 3.5,
        "scores": [score.to_dict() for score in scores], "curves": [], "versions": {}, **fields,
    }  # fmt: skip
    write_json_atomic(runs / cell.folder / name / "record.json", record)
    assert registry.finish(key, owner.token, record)


def simulated_scores(generator: np.random.Generator, dataset: str, w_p: float) -> dict[str, float]:
    """Headline values whose short dataset has an optimum inside, with the metrics' own scales."""
    values = {}
    for number, (benchmark, group) in enumerate(GROUPS.items()):
        curve = 2.2 * w_p - 1.7 * w_p**2 if dataset == "short" else 0.5 * w_p - 0.6 * w_p**2
        if group == "translation":
            curve *= 0.4
        level = -1.2 + 0.25 * number
        mean = 1 / (1 + math.exp(-(level + curve)))
        value = float(np.clip(mean + generator.normal(0, 0.015), 0.01, 0.99))
        values[benchmark] = 100 * value if group in ("translation", "long_generation") else value
    return values


def headline(benchmark: str, value: float, **fields: Any) -> Score:
    """A headline score with the metric of the benchmark's group."""
    metric = {"translation": "bleu", "long_generation": "win_rate"}.get(GROUPS[benchmark], "acc")
    judge = "world" if metric == "win_rate" else None
    known = {"suite": "world", "stderr": 0.03, "n": 100, "headline": True, "higher_is_better": True, "judge": judge}
    return Score(**known | {"benchmark": benchmark, "metric": metric, "value": value} | fields)
