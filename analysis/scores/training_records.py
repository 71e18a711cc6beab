"""What the records of a study's trainings say beside the registry: statistics of the data, sizes of the models."""

from pathlib import Path
from typing import Any

import pandas as pd

from analysis.scores.datasets import dataset_order
from analysis.scores.sample import spread
from analysis.scores.study import Study
from plw.errors import UserError, shortened
from plw.files.reading import read_json
from plw.paths import RECORD

STATISTICS = (
    "instruction_mean", "instruction_sd", "input_mean", "input_sd", "completion_mean", "completion_sd", "examples",
    "total_tokens", "r_g", "r_g_mean_of_ratios", "truncated", "without_completion",
)  # fmt: skip
"""Numbers of a train stage's ``data`` that Table 1 shows."""

MAX_CELLS_READ = 2_000
"""Of a study with more cells, only so many cells' records are read."""


def read_table_1(study: Study) -> tuple[pd.DataFrame, list[str]]:
    """Dataset statistics from the records of the train stages: one row per dataset, and tokenizer where they differ.

    Returns:
        The rows, and one line for each record that could not be read.
    """
    found: dict[tuple[Any, ...], list[str]] = {}
    problems = []
    for path in _records(study):
        try:
            record = read_json(path)
            if record.get("kind") != "train":
                continue
            data, cell = record.get("data"), record["cell"]
            if data:
                missing = [name for name in STATISTICS if not isinstance(data[name], int | float | None)]
                if missing:
                    raise UserError(
                        f"{path}: data.{missing[0]} is {shortened(str(data[missing[0]]), 40)!r}, not a number"
                    )
                models = found.setdefault((cell["dataset"], *sorted(data.items())), [])
                models += [cell["model"]] if cell["model"] not in models else []
        except (UserError, OSError, AttributeError, KeyError, TypeError) as error:
            problems.append(str(error) if isinstance(error, UserError) else f"{path}: not a record of a train stage")
    rows = [{"dataset": key[0], "models": ", ".join(models)} | dict(key[1:]) for key, models in found.items()]
    rows.sort(key=lambda row: dataset_order(key[0] for key in found).index(row["dataset"]))
    return pd.DataFrame(rows), problems


def read_model_sizes(study: Study) -> dict[str, float]:
    """Base model -> its parameters, from a record of a training of each, where the record says them."""
    found: dict[str, float] = {}
    for cell in study.cells:
        if cell.model in found:
            continue
        for stage in study.stages_of(cell):
            path = study.runs / cell.folder / stage.name / RECORD
            if stage.kind == "train" and path.exists():
                try:
                    size = read_json(path)["training"]["parameters"]
                except (UserError, OSError, KeyError, TypeError):
                    continue
                if isinstance(size, int):
                    found[cell.model] = float(size)
    return found


def _records(study: Study) -> list[Path]:
    """The records of all stages; of a large study those of some trainings, spread evenly, which say the same."""
    cells, kinds = study.cells, None
    if len(cells) > MAX_CELLS_READ:
        cells, kinds = [cells[place] for place in spread(len(cells), MAX_CELLS_READ)], "train"
    paths = [
        study.runs / cell.folder / stage.name / RECORD
        for cell in cells
        for stage in study.stages_of(cell)
        if kinds in (None, stage.kind)
    ]
    return sorted(path for path in paths if path.exists())
