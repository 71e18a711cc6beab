"""What a grid's work amounts to before any of it is done: tokens, operations, GPU hours and money, by stage.

A token that is trained on costs 6 operations a parameter (forward and backward), one that is read or written 2. How
much of a GPU's peak each reaches is the config's to say (`execution.estimate`). Answers are reckoned at their full
allowed length, so evaluation is an upper bound.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from plw.config import CellConfig
from plw.config.study import EstimateConfig
from plw.pipeline import Cell

CHARACTERS_A_TOKEN = 4
"""English text under the tokenizers of the day; used where only text is at hand."""
PROMPT_TOKENS = 100
"""A long-generation prompt with its template: AlpacaEval's mean is 77, PandaLM's 103 (LLaMA tokenizer)."""
SECONDS_AN_HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class Work:
    """Tokens that a model is trained on, reads and writes; None: unknown."""

    trained: float | None = 0
    read: float | None = 0
    written: float | None = 0
    parameters: int | None = None

    @property
    def tokens(self) -> float | None:
        """All tokens together."""
        parts = (self.trained, self.read, self.written)
        return None if None in parts else sum(part for part in parts if part is not None)

    @property
    def operations(self) -> float | None:
        """Floating-point operations."""
        if self.parameters is None or self.tokens is None:
            return None
        return self.parameters * (6 * (self.trained or 0) + 2 * (self.read or 0) + 2 * (self.written or 0))

    def gpu_hours(self, rates: EstimateConfig) -> float | None:
        """Hours of one GPU."""
        if self.parameters is None or self.tokens is None:
            return None
        seconds = (
            6 * (self.trained or 0) / rates.training_mfu
            + 2 * (self.read or 0) / rates.reading_mfu
            + 2 * (self.written or 0) / rates.writing_mfu
        ) * (self.parameters / (rates.tflops * 1e12))
        return seconds / SECONDS_AN_HOUR


def stage_work(cell: Cell, kind: str) -> Work | None:
    """The work of one stage on the cell's own GPUs; None for the judge, which has a machine of its own."""
    if kind == "judge":
        return None
    parameters = _parameters(cell)
    if kind == "train":
        size = _dataset(cell)
        tokens = None if size is None else size[1] * cell.config.recipe.epochs
        return Work(trained=tokens, parameters=parameters)
    if kind == "diagnose":
        diagnostics = cell.config.suite.diagnostics
        size = _dataset(cell)
        samples = diagnostics.memorisation_samples if size is None else min(diagnostics.memorisation_samples, size[0])
        return Work(
            read=samples * PROMPT_TOKENS,
            written=samples * diagnostics.memorisation_max_new_tokens,
            parameters=parameters,
        )
    if kind == "generate":
        counts = [_prompts(cell, name) for name in cell.prompts]
        count = None if None in counts else sum(count for count in counts if count is not None)
        return Work(
            read=None if count is None else count * PROMPT_TOKENS,
            written=None if count is None else count * cell.config.suite.decoding.max_new_tokens,
            parameters=parameters,
        )
    return Work(parameters=parameters, **_benchmarks(cell.config))


def judge_calls(cell: Cell) -> int | None:
    """Verdicts that the judge is asked for; PandaLM's are asked for in both orders."""
    counts = [
        None if (count := _prompts(cell, name)) is None else count * (2 if item.protocol == "pandalm" else 1)
        for name, item in cell.config.judged.items()
    ]
    return None if None in counts else sum(count for count in counts if count is not None)


def _benchmarks(config: CellConfig) -> dict[str, float | None]:
    read = written = 0.0
    for task in config.suite.tasks.values():
        if task.documents is None or task.tokens_read is None:
            return {"read": None, "written": None}
        documents = min(task.documents, config.suite.limit or task.documents)
        read += documents * task.tokens_read
        written += documents * task.tokens_written
    return {"read": read, "written": written}


def _prompts(cell: Cell, benchmark: str) -> int | None:
    config, found = cell.config.suite.prompts[benchmark], cell.prompts[benchmark]
    count = config.documents
    if count is None and found.path.is_file():
        count = _measured(found.path)[0]
    return count if count is None or config.limit is None else min(count, config.limit)


def _dataset(cell: Cell) -> tuple[int, float] | None:
    """Records, and their tokens with the template's; examples are cut at the recipe's maximum length on average."""
    config = cell.config
    known = config.execution.estimate.datasets.get(config.dataset.name)
    if known is not None:
        records, tokens = known.examples, float(known.tokens)
    elif cell.dataset.path.is_file() and cell.dataset.path.suffix in (".json", ".jsonl"):
        records, tokens = _measured(cell.dataset.path)
    else:
        return None
    if not records:
        return None
    template = len(config.template.without_input) / CHARACTERS_A_TOKEN
    each = min(tokens / records + template, config.recipe.max_length)
    used = min(records, config.dataset.limit or records)
    return used, used * each


@lru_cache(maxsize=64)
def _measured(path: Path) -> tuple[int, float]:
    """Records of a JSON or JSONL file and, from their characters, about how many tokens."""
    text = path.read_text(encoding="utf-8")
    try:
        rows = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines() if line]
    except json.JSONDecodeError:
        return 0, 0.0
    return len(rows), sum(map(len, _texts(rows))) / CHARACTERS_A_TOKEN


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _parameters(cell: Cell) -> int | None:
    return cell.config.model.parameters or _counted(cell.model.path)


@lru_cache(maxsize=16)
def _counted(folder: Path) -> int | None:
    """Numbers in a folder's weights, read from the files' headers."""
    if not folder.is_dir():
        return None
    from safetensors import safe_open

    total = 0
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(str(file), framework="np") as weights:
            for name in weights.keys():  # noqa: SIM118 - not a dict
                size = 1
                for side in weights.get_slice(name).get_shape():
                    size *= side
                total += size
    return total or None
