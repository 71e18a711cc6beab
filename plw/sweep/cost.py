"""What a grid's work amounts to before any of it is done: tokens, operations, GPU hours and money, by stage.

A token that is trained on costs 6 operations a parameter (forward and backward), one that is read or written 2. How
much of a GPU's peak each reaches is the config's to say (`execution.cost`). Answers count at their full allowed length,
so evaluation is an upper bound.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from plw.config import CellConfig
from plw.config.study import CostConfig
from plw.errors import UserError
from plw.files import read_rows
from plw.inputs import WORLD_PREFIX
from plw.pipeline import Cell

CHARACTERS_A_TOKEN = 4
"""English text under the tokenizers of the day; used where only text is at hand."""
PROMPT_TOKENS = 100
"""A long-generation prompt with its template: AlpacaEval's mean is 77, PandaLM's 103 (LLaMA tokenizer)."""
SECONDS_AN_HOUR = 3600
BYTES_A_PARAMETER = 2
"""Base models are published in 16 bits."""


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """Tokens that a model is trained on, reads and writes; None: unknown."""

    trained_tokens: float | None = 0
    prompt_tokens: float | None = 0
    generated_tokens: float | None = 0
    parameters: int | None = None

    @property
    def tokens(self) -> float | None:
        """All tokens together."""
        parts = (self.trained_tokens, self.prompt_tokens, self.generated_tokens)
        return None if None in parts else sum(part for part in parts if part is not None)

    @property
    def operations(self) -> float | None:
        """Floating-point operations."""
        if self.parameters is None or self.tokens is None:
            return None
        evaluated = (self.prompt_tokens or 0) + (self.generated_tokens or 0)
        return self.parameters * (6 * (self.trained_tokens or 0) + 2 * evaluated)

    def gpu_hours(self, rates: CostConfig) -> float | None:
        """Hours of one GPU."""
        if self.parameters is None or self.tokens is None:
            return None
        seconds = (
            6 * (self.trained_tokens or 0) / rates.training_mfu
            + 2 * (self.prompt_tokens or 0) / rates.prefill_mfu
            + 2 * (self.generated_tokens or 0) / rates.decode_mfu
        ) * (self.parameters / (rates.tflops * 1e12))
        return seconds / SECONDS_AN_HOUR


def stage_cost(cell: Cell, kind: str) -> StageCost | None:
    """The work of one stage on the cell's own GPUs; None for the judge, which has a machine of its own."""
    if kind == "judge":
        return None
    parameters = _parameters(cell)
    if kind == "train":
        size = _dataset(cell)
        tokens = None if size is None else size[1] * cell.config.recipe.epochs
        return StageCost(trained_tokens=tokens, parameters=parameters)
    if kind == "diagnose":
        diagnostics = cell.config.suite.diagnostics
        size = _dataset(cell)
        samples = diagnostics.memorisation_samples if size is None else min(diagnostics.memorisation_samples, size[0])
        read, written = _sensitivity(cell)
        return StageCost(
            prompt_tokens=samples * PROMPT_TOKENS + read,
            generated_tokens=samples * diagnostics.memorisation_max_new_tokens + written,
            parameters=parameters,
        )
    if kind == "generate":
        counts = [
            None if (count := _prompts(cell, name)) is None else count * cell.config.suite.prompts[name].turns
            for name in cell.prompts
        ]
        count = None if None in counts else sum(count for count in counts if count is not None)
        return StageCost(
            prompt_tokens=None if count is None else count * PROMPT_TOKENS,
            generated_tokens=None if count is None else count * cell.config.suite.decoding.max_new_tokens,
            parameters=parameters,
        )
    return StageCost(parameters=parameters, **_benchmarks(cell.config))


def judge_calls(cell: Cell) -> int | None:
    """Verdicts that the judge is asked for; PandaLM's are asked for in both orders, MT-Bench's for each turn."""
    counts = [
        None if (count := _prompts(cell, name)) is None else count * (2 if item.protocol == "pandalm" else item.turns)
        for name, item in cell.config.judged.items()
    ]
    return None if None in counts else sum(count for count in counts if count is not None)


def _benchmarks(config: CellConfig) -> dict[str, float | None]:
    prompt_tokens = generated_tokens = 0.0
    for task in config.suite.tasks.values():
        if task.documents is None or task.prompt_tokens is None:
            return {"prompt_tokens": None, "generated_tokens": None}
        documents = min(task.documents, config.suite.limit or task.documents)
        prompt_tokens += documents * task.prompt_tokens
        generated_tokens += documents * task.generated_tokens
    return {"prompt_tokens": prompt_tokens, "generated_tokens": generated_tokens}


def _sensitivity(cell: Cell) -> tuple[int, int]:
    """Tokens that prompt sensitivity has the model read and write: a response to each wording, under each wording."""
    config = cell.config.suite.sensitivity
    if config is None or cell.sensitivity is None:
        return 0, 0
    count = config.documents or (_measured(cell.sensitivity.path)[0] if cell.sensitivity.path.is_file() else 0)
    count = min(count, config.limit or count)
    wordings = 1 + sum(config.counts.values())
    responses = count * wordings
    read = PROMPT_TOKENS + wordings * (PROMPT_TOKENS + config.max_new_tokens)
    return responses * read, responses * config.max_new_tokens


def _prompts(cell: Cell, benchmark: str) -> int | None:
    config, found = cell.config.suite.prompts[benchmark], cell.prompts[benchmark]
    count = config.documents
    if count is None and found.path.is_file():
        count = _measured(found.path)[0]
    return count if count is None or config.limit is None else min(count, config.limit)


def _dataset(cell: Cell) -> tuple[int, float] | None:
    """Records, and their tokens with the template's; examples are cut at the recipe's maximum length on average."""
    config = cell.config
    known = config.execution.cost.datasets.get(config.dataset.name)
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
    try:
        rows = read_rows(path)
    except UserError:
        # The run says what is wrong with the file; a plan can be had without it.
        return 0, 0.0
    return len(rows), sum(len(text) for _, row in rows for text in _texts(row)) / CHARACTERS_A_TOKEN


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


def print_costs(to_do: Iterable[tuple[Cell, str]], console: Console) -> None:
    """Tokens, operations, GPU hours and money of the stages to run, one row a kind of stage."""
    by_kind: dict[str, list[tuple[Cell, StageCost]]] = defaultdict(list)
    calls: list[int | None] = []
    for cell, kind in to_do:
        work = stage_cost(cell, kind)
        if work is None:
            calls.append(judge_calls(cell))
        else:
            by_kind[kind].append((cell, work))
    if not by_kind and not calls:
        return
    table = Table(
        "stage", "cells", "tokens", "operations", "GPU hours", "US dollars", title="Cost", title_justify="left"
    )
    totals: list[float | None] = []
    rates = next(cell for cells in by_kind.values() for cell, _ in cells).config.execution.cost if by_kind else None
    for kind, cells in by_kind.items():
        assert rates is not None
        hours = _sum(work.gpu_hours(rates) for _, work in cells)
        totals.append(hours)
        tokens, operations = _sum(work.tokens for _, work in cells), _sum(work.operations for _, work in cells)
        money = None if hours is None else hours * rates.price
        table.add_row(kind, str(len(cells)), *map(_short, (tokens, operations, hours, money)))
    if calls:
        table.add_row("judge", str(len(calls)), f"{_short(_sum(calls))} verdicts", "–", "–", "–")
    console.print(table)
    if rates is None:
        return
    total = _sum(totals)
    if total is not None:
        console.print(f"In all {_short(total)} GPU hours, {_short(total * rates.price)} US dollars.")
    console.print(
        f"Assumptions: {rates.gpu}, {rates.tflops:g} TFLOP/s, of which training reaches {rates.training_mfu:.0%}, "
        f"prefill {rates.prefill_mfu:.0%}, decode {rates.decode_mfu:.0%}; {rates.price:g} US dollars an hour; "
        "answers at full length; judges not counted (execution.cost)."
    )


def print_missing_inputs(cells: list[Cell], console: Console) -> None:
    """What is not on this machine as far as can be seen without asking the network."""
    lines = dict.fromkeys(line for cell in cells for line in _missing_inputs(cell))
    if lines:
        console.print("Missing inputs (what is in a cache already is not fetched again):")
    for line in lines:
        console.print(f"  {line}", markup=False, soft_wrap=True)


def _missing_inputs(cell: Cell) -> Iterable[str]:
    config, stages = cell.config, set(cell.config.stages)
    model = config.model
    if not cell.model.path.is_dir() and not model.path.startswith(WORLD_PREFIX):
        size = f", {model.parameters * BYTES_A_PARAMETER / 1e9:.1f} GB" if model.parameters else ""
        pinned = f"revision {model.revision}" if model.revision else "NOT PINNED: set model.revision"
        yield f"model {model.name}: {model.path} from the hub ({pinned}{size})"
    dataset = config.dataset
    if not cell.dataset.path.is_file() and not dataset.path.startswith(WORLD_PREFIX):
        yield f"dataset {dataset.name}: {dataset.path}"
    if {"generate", "judge"} & stages:
        for name, item in cell.prompts.items():
            if item.source is not None:
                yield f"prompts {name}: {item.source} -> {config.suite.prompts[name].prompts}"
            for field, found in cell.grading[name].items():
                if found.source is not None:
                    yield f"{field} of {name}: {found.source} -> {found.location}"
    if "diagnose" in stages and cell.sensitivity is not None and cell.sensitivity.source is not None:
        yield f"prompts of the sensitivity: {cell.sensitivity.source} -> {cell.sensitivity.location}"
    if "harness" in stages:
        hub = [task.task for task in config.suite.tasks.values() if not task.files]
        if hub:
            yield f"data of the tasks {', '.join(hub)}, from the hub"
    if "judge" in stages and cell.config.judged and config.judge.kind == "openai" and config.judge.endpoint is None:
        yield f"judge.endpoint: the address of a server of {config.judge.model}"


def _sum(values: Iterable[float | None]) -> float | None:
    listed = list(values)
    return None if None in listed else sum(value for value in listed if value is not None)


def _short(value: float | None) -> str:
    if value is None:
        return "unknown"
    if value >= 1e6:
        return f"{value:.2e}" if value >= 1e12 else f"{value / 1e6:,.1f} M"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
