"""What a cell's work amounts to before any of it is done: tokens, operations, and hours of a GPU or of this machine.

A token that is trained on costs 6 operations a parameter (forward and backward), one that is read or written 2. How
much of a GPU's peak each reaches is the config's to say (`execution.cost`); what this machine's cores reach is measured
(`plw/sweep/cpu_speed.py`). Answers count at their full allowed length, so evaluation is an upper bound.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any

from plw.config import CellConfig
from plw.config.evaluation import PANDALM
from plw.config.study import AUTO, PREFERENCE, PREFIX, CostConfig
from plw.data.inputs import WORLD_PREFIX
from plw.data.rows import KINDS, dataset_rows
from plw.errors import UserError
from plw.pipeline import Cell
from plw.sweep.cpu_speed import CpuSpeed, ModelShape, model_shape
from plw.world.base_model import base_names, base_shape, mlp_width

WORLD_MODELS = f"{WORLD_PREFIX}models/"
CHARACTERS_A_TOKEN = 4
"""English text under the tokenizers of the day; used where only text is at hand."""
PROMPT_TOKENS = 100
"""A long-generation prompt with its template: AlpacaEval's mean is 77, PandaLM's 103 (LLaMA tokenizer)."""
SECONDS_AN_HOUR = 3600
DOCUMENT_S = 0.6e-3
"""What lm-eval itself takes for a document on one core: requests, metrics, items (docs/benchmarks.md)."""


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """Tokens that a model is trained on, reads and writes; None: unknown."""

    trained_tokens: float | None = 0
    prompt_tokens: float | None = 0
    generated_tokens: float | None = 0
    parameters: int | None = None
    steps: float = 0
    """Steps of the optimizer."""
    shared_tokens: float = 0
    """Of the trained tokens, those that the engine computes once for many examples."""
    rows: int = 1
    """Answers that are written at a time."""
    documents: int = 0
    """Of benchmarks."""

    def beside(self, prompt_tokens: float, generated_tokens: float) -> "StageCost":
        """The same work and so many tokens more."""
        return replace(
            self,
            prompt_tokens=None if self.prompt_tokens is None else self.prompt_tokens + prompt_tokens,
            generated_tokens=None if self.generated_tokens is None else self.generated_tokens + generated_tokens,
        )

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

    def cpu_hours(self, speed: CpuSpeed | None) -> float | None:
        """Hours of the cores that one cell has on this machine."""
        if speed is None or self.tokens is None:
            return None
        seconds = self.documents * DOCUMENT_S + speed.seconds(
            trained=(self.trained_tokens or 0) - self.shared_tokens,
            steps=self.steps,
            prompt_tokens=self.prompt_tokens or 0,
            generated_tokens=self.generated_tokens or 0,
            rows=self.rows,
        )
        return seconds / SECONDS_AN_HOUR


def stage_cost(cell: Cell, kind: str) -> StageCost | None:
    """The work of one stage on the cell's own devices; None for the judge, which has a machine of its own."""
    if kind == "judge":
        return None
    parameters = model_parameters(cell)
    if kind == "train":
        return _training(cell, parameters)
    if kind == PREFERENCE:
        return _preference(cell, parameters)
    suite = cell.config.suite
    if kind == "diagnose":
        size = _dataset(cell)
        samples = suite.diagnostics.memorisation_samples
        if size is not None:
            samples = min(samples, size[0])
        answers = _answers(samples, suite.diagnostics.memorisation_max_new_tokens, suite.batch_size, parameters)
        return answers.beside(*_sensitivity(cell))
    if kind == "generate":
        counts = [
            None if (count := prompt_count(cell, name)) is None else count * cell.config.suite.prompts[name].turns
            for name in cell.prompts
        ]
        count = None if None in counts else sum(count for count in counts if count is not None)
        return _answers(count, suite.decoding.max_new_tokens, suite.batch_size, parameters)
    return _benchmarks(cell.config, parameters)


def step_tokens(cell: Cell) -> float | None:
    """Tokens of one optimizer step."""
    size = _dataset(cell)
    return None if size is None else size[1] / size[0] * cell.config.recipe.batch_size


def cell_shape(cell: Cell) -> ModelShape | None:
    """The widths of the cell's base model: its folder's, the embedded world's, or those of a model of its size."""
    known = model_shape(cell.model.path) or _world_shape(cell.config)
    if known is None and (parameters := model_parameters(cell)) is not None:
        return ModelShape.of_size(parameters)
    return known


def _world_shape(config: CellConfig) -> ModelShape | None:
    """The shape of a base model of the embedded world, built or not."""
    name = config.model.path.removeprefix(WORLD_MODELS)
    if name not in base_names(config.world):
        return None
    base = base_shape(config.world, name)
    return ModelShape(
        vocabulary=config.world.vocabulary,
        hidden=base.hidden,
        intermediate=mlp_width(base),
        layers=base.layers,
        heads=base.heads,
        kv_heads=base.heads,
    )


def _training(cell: Cell, parameters: int | None) -> StageCost:
    size, recipe = _dataset(cell), cell.config.recipe
    if size is None:
        return StageCost(trained_tokens=None, parameters=parameters)
    records, tokens = size
    shared = 0.0
    if cell.config.execution.layout in (AUTO, PREFIX) and not recipe.dropout:
        # The template's words before the instruction begin every example.
        shared = len(cell.config.template.without_input.partition("{")[0]) / CHARACTERS_A_TOKEN
    return StageCost(
        trained_tokens=tokens * recipe.epochs,
        parameters=parameters,
        steps=ceil(records / recipe.batch_size) * recipe.epochs,
        shared_tokens=recipe.epochs * records * min(shared, tokens / records),
    )


def _preference(cell: Cell, parameters: int | None) -> StageCost:
    """A prompt counts once for both answers; the frozen model reads every pair once."""
    preference = cell.config.preference
    assert cell.pairs is not None
    size = data_size(cell.config, preference.name, cell.pairs.path)
    if size is None:
        return StageCost(trained_tokens=None, prompt_tokens=None, parameters=parameters)
    pairs = min(size[0], preference.limit or size[0])
    tokens = pairs * min(size[1] / size[0], 2 * preference.max_length)
    steps = ceil(pairs / preference.batch_size) * preference.epochs
    return StageCost(
        trained_tokens=tokens * preference.epochs, prompt_tokens=tokens, parameters=parameters, steps=steps
    )


def _answers(count: int | None, new_tokens: int, batch_size: int, parameters: int | None) -> StageCost:
    return StageCost(
        prompt_tokens=None if count is None else count * PROMPT_TOKENS,
        generated_tokens=None if count is None else count * new_tokens,
        parameters=parameters,
        rows=max(1, min(batch_size, count or 1)),
    )


def judge_calls(cell: Cell) -> int | None:
    """Verdicts that the judge is asked for; PandaLM's are asked for in both orders, MT-Bench's for each turn."""
    counts = [
        None if (asked := prompt_count(cell, name)) is None else asked * (2 if item.protocol == PANDALM else item.turns)
        for name, item in cell.config.judged.items()
    ]
    return None if None in counts else sum(count for count in counts if count is not None)


def _benchmarks(config: CellConfig, parameters: int | None) -> StageCost:
    prompt_tokens = generated_tokens = 0.0
    asked, rows = 0, config.suite.batch_size
    for name, task in config.suite.tasks.items():
        if task.documents is None or task.prompt_tokens is None:
            return StageCost(prompt_tokens=None, generated_tokens=None, parameters=parameters)
        documents = min(task.documents, config.suite.document_limit(name) or task.documents)
        asked += documents
        prompt_tokens += documents * task.prompt_tokens
        generated_tokens += documents * min(task.generated_tokens, task.max_new_tokens or task.generated_tokens)
        if task.generated_tokens:
            rows = min(rows, documents)
    return StageCost(
        prompt_tokens=prompt_tokens,
        generated_tokens=generated_tokens,
        parameters=parameters,
        rows=rows,
        documents=asked,
    )


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


def prompt_count(cell: Cell, benchmark: str) -> int | None:
    """Prompts of a long benchmark that are answered; None where neither config nor file tells."""
    config, found = cell.config.suite.prompts[benchmark], cell.prompts[benchmark]
    count = config.documents
    if count is None and found.path.is_file():
        count = _measured(found.path)[0]
    return count if count is None or config.limit is None else min(count, config.limit)


def _dataset(cell: Cell) -> tuple[int, float] | None:
    """Records, and their tokens with the template's; examples are cut at the recipe's maximum length on average."""
    config = cell.config
    size = data_size(config, config.dataset.name, cell.dataset.path)
    if size is None:
        return None
    records, tokens = size
    template = len(config.template.without_input) / CHARACTERS_A_TOKEN
    each = min(tokens / records + template, config.recipe.max_length)
    used = min(records, config.dataset.sample or records, config.dataset.limit or records)
    return used, used * each


def data_size(config: CellConfig, name: str, path: Path) -> tuple[int, float] | None:
    """Records of named data, and about how many tokens they have; None where neither config nor file tells."""
    known = config.execution.cost.datasets.get(name)
    if known is not None:
        return known.examples, float(known.tokens)
    if path.is_file() and path.suffix.lower() in KINDS:
        records, tokens = _measured(path)
        return (records, tokens) if records else None
    return None


@lru_cache(maxsize=64)
def _measured(path: Path) -> tuple[int, float]:
    """Records of a file and, from their characters, about how many tokens."""
    try:
        rows = list(dataset_rows(path))
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


def model_parameters(cell: Cell) -> int | None:
    """Numbers in the base model's weights: the config's, its folder's or the embedded world's; None: unknown."""
    known = cell.config.model.parameters or _counted(cell.model.path)
    shape = None if known else _world_shape(cell.config)
    return shape.parameters if shape else known


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
