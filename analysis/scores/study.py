"""One study as the registry holds it, read in one go."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from analysis.scores.benchmarks import Benchmarks, Configured, asked_benchmarks
from analysis.scores.choice import StudyChoice, Wanted, cells_of_suite, choose, chosen_rows
from analysis.scores.frame import AXES, TidyFrame, tidy_frame
from analysis.scores.registry_rows import curve_rows, score_rows
from analysis.scores.sample import spread
from analysis.scores.series import FurtherSeries, StudyRows, further_series
from plw.errors import UserError
from plw.registry.rows import CellRow, StageRow
from plw.registry.schema import DONE
from plw.registry.store import Registry

MAX_CELLS_SHOWN = 1_200
"""Of a study with more cells, only so many are shown singly; tables and figures count all."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """Cells, stages, scores and training curves of one study and scale, and the folder of its files."""

    name: str
    scale: str
    runs: Path
    cells: Sequence[CellRow]
    """In the order of the grid."""
    stages: Sequence[StageRow]
    scores: pd.DataFrame
    """Scores of the chosen suite and judge, of every recipe: the headline ones and those of the mechanism."""
    shown: Sequence[CellRow]
    """The cells that are shown singly: all, or of a large study some."""
    curves: pd.DataFrame
    """One row a training step of the cells shown."""
    choice: StudyChoice = field(default_factory=StudyChoice)
    """The suite, recipe and judge that are shown, and what else the study has."""
    benchmarks: Benchmarks = field(default_factory=Benchmarks)
    """What the chosen suite asked for."""
    further: Sequence[FurtherSeries] = ()
    """The suites, recipes and judges that were not chosen, to be drawn beside the chosen ones."""
    notes: tuple[str, ...] = ()
    """What to know of how the benchmarks were told, and of what is not drawn."""

    @cached_property
    def place(self) -> dict[tuple[object, ...], int]:
        """Values of ``AXES`` -> place of that cell in ``shown``, by which the page names it."""
        return {tuple(getattr(cell, name) for name in AXES): index for index, cell in enumerate(self.shown)}

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
        scores = score_rows(registry, study, scale, cells)
        is_headline = scores["headline"].fillna(value=False).astype(bool)
        headline = scores[is_headline]
        choice = choose(headline, wanted)
        rows = StudyRows(
            cells=cells,
            stages=stages,
            headline=headline,
            folders={cell.cell: runs / cell.folder for cell in cells},
            configured=configured,
        )
        cells = cells_of_suite(cells, stages, headline, choice.suite) if choice.suite else cells
        shown = shown_cells(cells, stages)
        curves = curve_rows(registry, study, scale, shown)
    kept = {cell.cell for cell in cells}
    headline = chosen_rows(headline, choice, wanted)
    headline = headline[headline["cell"].isin(list(kept))]
    others = scores[~is_headline & scores["cell"].isin(list(kept))]
    others = others[others["suite"].isin([choice.suite, ""]) | (choice.suite == "")]
    benchmarks, notes = asked_benchmarks(
        headline, stages, {cell: rows.folders[cell] for cell in kept}, choice, configured
    )
    further, not_drawn = further_series(rows, choice, {cell.dataset for cell in cells})
    return Study(
        name=study,
        scale=scale,
        runs=runs,
        cells=cells,
        stages=[stage for stage in stages if stage.cell in kept],
        scores=pd.concat([headline, others], ignore_index=True),
        shown=shown,
        curves=curves,
        choice=choice,
        benchmarks=benchmarks,
        further=further,
        notes=(*notes, *not_drawn),
    )


def study_frame(study: Study) -> TidyFrame:
    """The tidy frame of what was chosen of a study.

    Raises:
        UserError: see ``tidy_frame``.
    """
    frame = tidy_frame(study.scores, study.benchmarks.groups, study.cells, recipe=study.choice.recipe or None)
    return replace(frame, notes=(*study.notes, *frame.notes))


def shown_cells(cells: Sequence[CellRow], stages: Sequence[StageRow], most: int = MAX_CELLS_SHOWN) -> list[CellRow]:
    """The cells that are shown singly: all, or of a large study whole curves over the weight, spread evenly.

    Curves with a failed or unfinished stage come first, up to half of the room.
    """
    if len(cells) <= most:
        return list(cells)
    curves: dict[tuple[object, ...], list[CellRow]] = {}
    for cell in cells:
        curves.setdefault(tuple(getattr(cell, name) for name in AXES if name != "prompt_weight"), []).append(cell)
    troubled = {stage.cell for stage in stages if stage.status != DONE}
    groups = sorted(curves.values(), key=lambda group: not any(cell.cell in troubled for cell in group))
    first = sum(any(cell.cell in troubled for cell in group) for group in groups)
    room = max(1, most * len(groups) // len(cells))
    chosen = set(spread(first, max(1, room // 2))) if first else set()
    chosen |= (
        {first + place for place in spread(len(groups) - first, max(1, room - len(chosen)))}
        if first < len(groups)
        else set()
    )
    kept = {cell.cell for place in chosen for cell in groups[place]}
    return [cell for cell in cells if cell.cell in kept]
