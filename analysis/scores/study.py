"""One study as the registry holds it, read in one go."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.scores.benchmarks import Benchmarks, Configured, asked_benchmarks
from analysis.scores.choice import StudyChoice, Wanted, cells_of_suite, choose, chosen_rows
from analysis.scores.datasets import dataset_order
from analysis.scores.frame import AXES, TidyFrame, tidy_frame
from analysis.scores.mechanism import MECHANISMS
from plw.errors import UserError
from plw.files import read_json
from plw.registry.rows import CellRow, StageRow
from plw.registry.store import Registry

MOST_CELLS_READ = 2_000
"""Of a study with more cells, only so many cells' records are read."""


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
    """Scores of the chosen suite and judge, of every recipe: the headline ones and those of the mechanism."""
    curves: pd.DataFrame
    """``Registry.curves_frame()``: one row a training step."""
    choice: StudyChoice = field(default_factory=StudyChoice)
    """The suite, recipe and judge that are shown, and what else the study has."""
    benchmarks: Benchmarks = field(default_factory=Benchmarks)
    """What the chosen suite asked for."""
    notes: tuple[str, ...] = ()
    """What to know of how the benchmarks were told."""

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


def read_study(
    registry_url: str,
    runs: Path,
    study: str,
    scale: str,
    *,
    wanted: Wanted | None = None,
    configured: Configured | None = None,
) -> Study:
    """Everything of one study and scale that its analysis needs.

    Args:
        registry_url: SQLAlchemy address of the registry.
        runs: folder of the results; what its stages were asked for is read there.
        study: name of the study.
        scale: name of the scale.
        wanted: the suite, recipe and judge to show where there are several; by default the newest of each.
        configured: what the config says of a suite, for what the stages' files do not tell.

    Raises:
        UserError: no registry there, nothing of that study in it, or nothing of a name that is wanted; the line names
            what there is.
    """
    wanted = wanted or Wanted()
    with Registry.open(registry_url, create=False) as registry:
        cells = registry.cells(study=study, scale=scale)
        if not cells:
            names = sorted({f"{cell.study}-{cell.scale}" for cell in registry.cells()})
            found = f"it holds {', '.join(names)}" if names else "it is empty"
            raise UserError(f"the registry has nothing of study {study} at scale {scale}; {found}")
        stages = registry.stage_rows(study=study, scale=scale)
        scores = registry.scores_frame(study=study, scale=scale)
        curves = registry.curves_frame(study=study, scale=scale)
    ended = {(stage.cell, stage.name): stage.finished for stage in stages}
    headline = scores[scores["headline"].fillna(value=False)]
    finished = [ended.get(key) for key in zip(headline["cell"], headline["stage"], strict=True)]
    headline = headline.assign(finished=pd.Series(finished, index=headline.index, dtype="float64"))
    choice = choose(headline, wanted)
    cells = cells_of_suite(cells, stages, headline, choice.suite) if choice.suite else cells
    kept = {cell.cell for cell in cells}
    headline = chosen_rows(headline, choice, wanted)
    headline = headline[headline["cell"].isin(list(kept))]
    others = scores[scores["benchmark"].isin(sorted({name for name, *_ in MECHANISMS}))]
    others = others[others["suite"].isin([choice.suite, ""]) | (choice.suite == "")]
    benchmarks, notes = asked_benchmarks(
        headline, stages, {cell.cell: runs / cell.folder for cell in cells}, choice, configured
    )
    return Study(
        name=study,
        scale=scale,
        runs=runs,
        cells=cells,
        stages=[stage for stage in stages if stage.cell in kept],
        scores=pd.concat([headline, others[others["cell"].isin(list(kept))]], ignore_index=True),
        curves=curves[curves["cell"].isin(list(kept))],
        choice=choice,
        benchmarks=benchmarks,
        notes=tuple(notes),
    )


def study_frame(study: Study) -> TidyFrame:
    """The tidy frame of what was chosen of a study.

    Raises:
        UserError: see ``tidy_frame``.
    """
    frame = tidy_frame(study.scores, study.benchmarks.groups, study.cells, recipe=study.choice.recipe or None)
    return replace(frame, notes=(*study.notes, *frame.notes))


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


def _records(study: Study) -> list[Path]:
    """The records of all stages; of a large study those of some trainings, spread evenly, which say the same."""
    cells, kinds = study.cells, None
    if len(cells) > MOST_CELLS_READ:
        cells, kinds = [cells[place] for place in spread(len(cells), MOST_CELLS_READ)], "train"
    paths = [
        study.runs / cell.folder / stage.name / "record.json"
        for cell in cells
        for stage in study.stages_of(cell)
        if kinds in (None, stage.kind)
    ]
    return sorted(path for path in paths if path.exists())


def spread(total: int, most: int) -> list[int]:
    """Places of at most so many things, evenly from the first to the last."""
    if most >= total:
        return list(range(total))
    return sorted({round(i * (total - 1) / max(1, most - 1)) for i in range(most)})
