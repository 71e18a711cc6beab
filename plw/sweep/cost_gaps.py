"""Why a plan calls a cost unknown, and which field would tell it."""

from collections.abc import Iterable

from plw.pipeline import Cell
from plw.sweep.cost import data_size, model_parameters, prompt_count

SIZE = "{examples: N, tokens: N}"


def unknown_sizes(cell: Cell, kind: str) -> Iterable[str]:
    """What keeps the cost of a stage from being known, each with the field that gives it."""
    config, suite = cell.config, cell.config.suite
    if kind != "judge" and model_parameters(cell) is None:
        yield f"how large model {config.model.name} is (model.parameters=N)"
    if kind == "train" and data_size(config, config.dataset.name, cell.dataset.path) is None:
        yield f"how large dataset {config.dataset.name} is ({_size_field(config.dataset.name)})"
    if kind == "preference" and cell.pairs is not None:
        name = config.preference.name
        if data_size(config, name, cell.pairs.path) is None:
            yield f"how many pairs {name} has ({_size_field(name)})"
    if kind in ("generate", "judge"):
        for name in cell.prompts if kind == "generate" else config.judged:
            if prompt_count(cell, name) is None:
                yield f"how many prompts {name} has (suite.prompts.{name}.documents=N)"
    if kind == "harness":
        for name, task in suite.tasks.items():
            missing = [field for field in ("documents", "prompt_tokens") if getattr(task, field) is None]
            if missing:
                fields = " ".join(f"suite.tasks.{name}.{field}=N" for field in missing)
                yield f"how large benchmark {name} is ({fields})"


def _size_field(name: str) -> str:
    return f"'+execution.cost.datasets.{name}={SIZE}'"
