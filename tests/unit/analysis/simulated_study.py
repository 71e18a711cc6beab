"""A simulated study: its axes, its scores, and the writing of its stages through the registry itself."""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from plw.files.writing import write_json_atomic
from plw.registry.owner import Owner
from plw.registry.rows import CellRow, StageKey
from plw.registry.store import Registry
from plw.results.items import ITEMS, ItemRow, write_items
from plw.results.score import PERCENT_METRICS, Score

WEIGHTS = (0.0, 5e-4, 2.236e-3, 1e-2, 2.463e-2, 5e-2, 1e-1, 2.463e-1, 5e-1, 1.0)
LANGUAGES = ("avin-belo", "belo-avin", "avin-cadu", "cadu-avin", "belo-cadu", "cadu-belo")
GROUPS = (
    dict.fromkeys(("arc", "piqa", "truthful_mc", "winogrande"), "multiple_choice")
    | {"truthful_gen": "short_generation"}
    | dict.fromkeys(LANGUAGES, "translation")
    | dict.fromkeys(("alpaca_eval", "pandalm"), "long_generation")
)
RATIOS = {"data": 3.2, "cleaned": 7.7, "short": 0.08}


def write_stage(
    registry: Registry, runs: Path, cell: CellRow, name: str, scores: list[Score], kind: str = "", **fields: Any
) -> None:
    """Finish a stage as the sweep does: claim, record in its folder, rows in the registry."""
    kind = kind or name
    owner = Owner.here()
    key = StageKey(study=cell.study, scale=cell.scale, cell=cell.cell, name=name)
    registry.claim(key, kind=kind, fingerprint=f"f-{name}", owner=owner, lease_timeout_s=60, now=1000.0)
    record = {
        "study": cell.study, "scale": cell.scale, "cell": cell.to_dict(), "stage": name, "kind": kind,
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


def simulated_curves(weight: float, steps: int = 12) -> list[dict[str, Any]]:
    """Training losses that fall; at weight 0 the prompt loss is not known."""
    return [
        {"step": step, "epoch": 1.0, "loss": (1 + weight) / step, "completion_loss": 1 / step + 0.2,
         "prompt_loss": 2 / step + 1 if weight else None, "tokens": 100}
        for step in range(1, steps + 1)
    ]  # fmt: skip


def write_answers(
    url: str,
    runs: Path,
    prompts: Sequence[tuple[str, str]],
    answer: Callable[[CellRow, int], str],
    points: Callable[[CellRow, int], float | None],
) -> None:
    """Give every cell answers to the prompts, and a judge's verdicts on them."""
    with Registry.open(url) as registry:
        for cell in registry.cells():
            generate, judge = runs / cell.folder / "generate-world", runs / cell.folder / "judge-world-oracle"
            rows = [
                {"instruction": instruction, "input": given, "output": answer(cell, i), "tokens": 7, "finished": i > 0}
                for i, (instruction, given) in enumerate(prompts)
            ]
            verdicts = [
                {"points": points(cell, i), "conflict": False, "replies": [f"reply {i}"]} for i in range(len(prompts))
            ]
            write_json_atomic(generate / "pandalm.json", rows)
            write_json_atomic(generate / "payload.json", {})
            write_json_atomic(judge / "pandalm.json", verdicts)
            write_json_atomic(judge / "payload.json", {"generate": "f-generate-world", "judge": {"name": "oracle"}})
            write_stage(registry, runs, cell, "generate-world", [], kind="generate")
            write_stage(registry, runs, cell, "judge-world-oracle", [], kind="judge")


def give_items(url: str, runs: Path, items: Callable[[CellRow], Sequence[ItemRow]]) -> None:
    """Put an item table beside the harness record of every cell; one without items gets none."""
    with Registry.open(url) as registry:
        for cell in registry.cells():
            rows = items(cell)
            if rows:
                write_items(runs / cell.folder / "harness" / ITEMS, rows)


def right_or_wrong(benchmark: str, right_N: Iterable[bool], metric: str = "acc") -> list[ItemRow]:
    """Items of one benchmark, each right or wrong; of a percentage 100 or 0."""
    full = 100.0 if metric in PERCENT_METRICS else 1.0
    return [
        ItemRow(
            benchmark=benchmark, task=benchmark, item=number, item_hash=f"{benchmark} {number}", metric=metric,
            headline=True, value=full * bool(right), higher_is_better=True,
        )
        for number, right in enumerate(right_N)
    ]  # fmt: skip


def some_items(cell: CellRow) -> list[ItemRow]:
    """Of one benchmark that rises with the weight by 40 points and one that stays, the same difficulties everywhere."""
    difficulty_N = np.random.default_rng(0).random(60)
    noise_N = np.random.default_rng(int(cell.cell, 16)).normal(0, 0.03, size=60)
    win_N = difficulty_N + noise_N < 0.3 + 0.4 * cell.prompt_weight
    return right_or_wrong("arc", difficulty_N + noise_N < 0.5) + right_or_wrong("alpaca_eval", win_N, "win_rate")


def simulate(
    folder: Path,
    *,
    weights: tuple[float, ...] = WEIGHTS,
    datasets: tuple[str, ...] = ("data", "cleaned", "short"),
    models: tuple[str, ...] = ("wide", "deep"),
    seeds: tuple[int, ...] = (42,),
    skip: Callable[[CellRow, str], bool] = lambda cell, benchmark: False,
    value: Callable[[CellRow, str, float], float] = lambda cell, benchmark, simulated: simulated,
    name: str = "study",
) -> tuple[str, Path]:
    """Write a whole study; returns the registry's address and the runs folder."""
    url, runs = f"sqlite:///{folder}/{name}/registry.sqlite", folder / name / "runs"
    generator = np.random.default_rng(7)
    with Registry.open(url) as registry:
        for dataset in datasets:
            for model in models:
                for seed, weight in product(seeds, weights):
                    r_g = RATIOS.get(dataset, 1.0)
                    number = sum(1 for _ in registry.cells())
                    cell = registry.ensure_cell(CellRow(
                        study="plw", scale="mini", cell=f"{number:064x}", dataset=dataset, model=model,
                        prompt_weight=weight, response_weight=1.0, normalizer="nonzero", scope="batch", seed=seed,
                        r_g=r_g, folder=f"plw-mini/d{datasets.index(dataset)}/m{models.index(model)}/p{weight:g}"
                        + f"-s{seed}" * (len(seeds) > 1),
                        payload="{}", created=1.0, recipe="",
                    ))  # fmt: skip
                    w_p = weight**0.30103
                    data = {
                        "instruction_mean": 13.4, "instruction_sd": 4.97, "input_mean": 6.25, "input_sd": 14.38,
                        "completion_mean": 64.51 * r_g, "completion_sd": 64.85, "total_tokens": 4376482, "r_g": r_g,
                        "r_g_mean_of_ratios": r_g * 1.3, "examples": 400, "truncated": 3, "without_completion": 0,
                    }  # fmt: skip
                    write_stage(registry, runs, cell, "train", [], data=data, curves=simulated_curves(weight))
                    simulated = simulated_scores(generator, dataset, w_p)
                    write_stage(registry, runs, cell, "harness", [
                        headline(benchmark, value(cell, benchmark, score))
                        for benchmark, score in simulated.items() if not skip(cell, benchmark)
                    ])  # fmt: skip
                    short, noise = dataset == "short", generator.normal(1, 0.04, size=(4,))
                    write_stage(registry, runs, cell, "diagnose", [
                        Score(suite="world", benchmark=benchmark, metric=metric, value=float(number * factor))
                        for (benchmark, metric, number), factor in zip((
                            ("loss_rsd", "mean", 0.12 - 0.05 * w_p + 0.05 * short),
                            ("weight_distance", "l2", 8.0 + 5 * w_p**2 - 1.2 * short),
                            ("memorisation", "bleu", 50 - 24 * w_p - 10 * short),
                            ("generation_length", "tokens", 44 - 38 * short * (1 - w_p)),
                        ), noise, strict=True)
                    ])  # fmt: skip
    return url, runs
