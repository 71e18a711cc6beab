"""Items of simulated models, as lm-eval writes them and as a study's stages leave them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plw.files.writing import write_json_atomic
from plw.results.items import ITEMS, ItemRow, write_items

WORDS = ["the", "river", "runs", "past", "old", "houses", "people", "often", "sit", "under", "green", "trees"]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write_samples(
    folder: Path, task: str, outcomes: Mapping[str, Sequence[Any]], documents: Sequence[Mapping[str, Any]] | None = None
) -> Path:
    """`samples_<task>.jsonl` with one row a document; metric -> outcomes."""
    folder.mkdir(parents=True, exist_ok=True)
    count = len(next(iter(outcomes.values())))
    rows = []
    for number in range(count):
        document = {"question": f"{task} {number}"} if documents is None else dict(documents[number])
        rows.append(
            {
                "doc_id": number,
                "doc": document,
                "target": "0",
                "arguments": {},
                "resps": [],
                "filtered_resps": [],
                "filter": "none",
                "metrics": list(outcomes),
                "doc_hash": digest(json.dumps(document, indent=2, ensure_ascii=False)),
                **{metric: values[number] for metric, values in outcomes.items()},
            }
        )
    path = folder / f"samples_{task}_2026-11-25T12-00-00.000000.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_cell(
    runs: Path, name: str, items: Sequence[ItemRow], *, suite: str = "world", seed: int = 42, weight: float = 0.0
) -> Path:
    """A cell's folder with one finished harness stage."""
    folder = runs / "plw-mini" / "world-short" / "world-wide" / name
    stage = folder / f"harness-{suite}"
    write_items(stage / ITEMS, items)
    cell = {
        "cell": digest(name),
        "dataset": "world-short",
        "model": "world-wide",
        "seed": seed,
        "prompt_weight": weight,
    }
    write_json_atomic(stage / "record.json", {"cell": cell, "scores": [{"suite": suite}]})
    return folder


def mean_items(
    benchmark: str, values: Sequence[float], metric: str = "acc", clusters: Sequence[str | None] | None = None
) -> list[ItemRow]:
    return [
        ItemRow(
            benchmark=benchmark,
            task=benchmark,
            item=number,
            item_hash=digest(f"{benchmark} {number}"),
            cluster=None if clusters is None else clusters[number],
            metric=metric,
            headline=True,
            value=float(value),
            higher_is_better=True,
        )
        for number, value in enumerate(values)
    ]


def corpus_items(benchmark: str, counts: Sequence[Sequence[float]], metric: str = "bleu") -> list[ItemRow]:
    return [
        ItemRow(
            benchmark=benchmark,
            task=benchmark,
            item=number,
            item_hash=digest(f"{benchmark} {number}"),
            metric=metric,
            headline=True,
            aggregation=metric,
            counts=of_item,
            higher_is_better=True,
        )
        for number, of_item in enumerate(counts)
    ]


def translations(count: int, quality: float, seed: int) -> tuple[list[str], list[str]]:
    """References, and answers that keep each of their words with a chance of ``quality``."""
    of_references = np.random.default_rng(0)
    generator = np.random.default_rng(seed)
    references = [" ".join(of_references.choice(WORDS, size=of_references.integers(5, 16))) for _ in range(count)]
    answers = [
        " ".join(word if generator.random() < quality else str(generator.choice(WORDS)) for word in text.split())
        for text in references
    ]
    return references, answers
