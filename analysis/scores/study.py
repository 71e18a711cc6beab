"""One study as the registry holds it, read in one go."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.scores.datasets import dataset_order
from analysis.scores.frame import AXES
from plw.errors import UserError
from plw.files import read_json
from plw.registry.rows import CellRow, StageRow
from plw.registry.store import Registry


@dataclass(frozen=True, kw_only=True)
class Study:
    """Cells, stages, scores and training curves of one study and scale, and the folder of its files."""

    name: str
    scale: str
    runs: Path
    cells: Sequence[CellRow]
    """In the order of the grid; the page names a cell by its place here."""
    stages: Sequence[StageRow]
    scores: pd.DataFrame
    """``Registry.scores_frame()``: every metric, not only the headline ones."""
    curves: pd.DataFrame
    """``Registry.curves_frame()``: one row a training step."""

    @cached_property
    def place(self) -> dict[tuple[object, ...], int]:
        """Values of ``AXES`` -> place of that cell in ``cells``."""
        return {tuple(getattr(cell, name) for name in AXES): index for index, cell in enumerate(self.cells)}

    def stages_of(self, cell: CellRow) -> list[StageRow]:
        """The stages of one cell, by name."""
        return self._stages.get(cell.cell, [])

    @cached_property
    def _stages(self) -> dict[str, list[StageRow]]:
        found: dict[str, list[StageRow]] = {}
        for stage in self.stages:
            found.setdefault(stage.cell, []).append(stage)
        return found


def read_study(registry_url: str, runs: Path, study: str, scale: str) -> Study:
    """Everything of one study and scale.

    Raises:
        UserError: no registry there, or nothing of that study in it; the line names what it holds.
    """
    with Registry.open(registry_url, create=False) as registry:
        cells = registry.cells(study=study, scale=scale)
        if not cells:
            names = sorted({f"{cell.study}-{cell.scale}" for cell in registry.cells()})
            found = f"it holds {', '.join(names)}" if names else "it is empty"
            raise UserError(f"the registry has nothing of study {study} at scale {scale}; {found}")
        return Study(
            name=study,
            scale=scale,
            runs=runs,
            cells=cells,
            stages=registry.stage_rows(study=study, scale=scale),
            scores=registry.scores_frame(study=study, scale=scale),
            curves=registry.curves_frame(study=study, scale=scale),
        )


def read_table_1(runs: Path, study: str, scale: str) -> tuple[pd.DataFrame, list[str]]:
    """Dataset statistics from the records of the train stages: one row per dataset, and tokenizer where they differ.

    Returns:
        The rows, and one line for each record that could not be read.
    """
    found: dict[tuple[Any, ...], list[str]] = {}
    problems = []
    for path in sorted((runs / f"{study}-{scale}").glob("*/*/*/*/record.json")):
        try:
            record = read_json(path)
            if record.get("kind") != "train":
                continue
            payload = record.get("payload")
            data = record.get("data") or (payload or {}).get("data")
            cell = record["cell"]
            if data:
                models = found.setdefault((cell["dataset"], *sorted(data.items())), [])
                models += [cell["model"]] if cell["model"] not in models else []
        except (UserError, OSError, AttributeError, KeyError, TypeError) as error:
            problems.append(str(error) if isinstance(error, UserError) else f"{path}: not a record of a train stage")
    rows = [{"dataset": key[0], "models": ", ".join(models)} | dict(key[1:]) for key, models in found.items()]
    rows.sort(key=lambda row: dataset_order(key[0] for key in found).index(row["dataset"]))
    return pd.DataFrame(rows), problems
