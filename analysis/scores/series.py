"""The suites, recipes and judges that a report does not rest on, as further series beside the one that it does."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from analysis.scores.aggregates import aggregates
from analysis.scores.benchmark_curves import benchmark_curves
from analysis.scores.benchmarks import Configured, asked_benchmarks
from analysis.scores.choice import Alternative, StudyChoice, Wanted, cells_of_suite, choose, chosen_rows
from analysis.scores.frame import TidyFrame, tidy_frame
from plw.errors import UserError
from plw.registry.rows import CellRow, StageRow

MAX_SERIES = 6
"""Of more alternatives, so many of the newest are drawn: more lines than that cannot be told apart."""


@dataclass(frozen=True, kw_only=True)
class FurtherSeries:
    """One other suite, recipe or judge, as the report of it alone would show it."""

    name: str
    """As in ``judge second``."""
    frame: TidyFrame
    aggregates: pd.DataFrame
    """From ``aggregates``."""
    curves: pd.DataFrame
    """From ``benchmark_curves``."""

    @property
    def label(self) -> str:
        """The name with the number of benchmarks, since an aggregate over others does not compare."""
        count = self.frame.rows["benchmark"].nunique()
        return f"{self.name} ({count} benchmark{'s' if count != 1 else ''})"


@dataclass(frozen=True, kw_only=True)
class StudyRows:
    """What the series are made from: the rows of a whole study, of all suites, recipes and judges."""

    cells: Sequence[CellRow]
    stages: Sequence[StageRow]
    headline: pd.DataFrame
    folders: Mapping[str, Path]
    """Cell -> its folder."""
    configured: Configured | None = None


def further_series(
    rows: StudyRows, choice: StudyChoice, datasets: Collection[str]
) -> tuple[list[FurtherSeries], list[str]]:
    """A series for each alternative of a choice, the newest first, on the datasets of the choice.

    A suite or recipe is shown with the recipe and judge of the choice where it has them, else with its newest; a judge
    with the benchmarks that it judged and those that no judge has a part in.

    Returns:
        The series, and one line for each alternative that is not drawn, or not all of it.
    """
    found: list[FurtherSeries] = []
    notes: list[str] = []
    newest = sorted(choice.others, key=lambda other: (-other.finished, other.kind, other.name))
    for other in newest[:MAX_SERIES]:
        try:
            found.append(_series(rows, choice, other, datasets))
            notes += found[-1].frame.notes
        except UserError as error:
            notes.append(f"Not drawn: {other.kind} {other.name}: {error}.")
    notes += [f"Not drawn: {other.kind} {other.name}; {MAX_SERIES} are." for other in newest[MAX_SERIES:]]
    return found, notes


def _series(rows: StudyRows, choice: StudyChoice, other: Alternative, datasets: Collection[str]) -> FurtherSeries:
    wanted = _wanted(rows.headline, choice, other)
    own = choose(rows.headline, wanted)
    cells = cells_of_suite(rows.cells, rows.stages, rows.headline, own.suite) if own.suite else rows.cells
    headline = chosen_rows(rows.headline, own, wanted)
    headline = headline[headline["cell"].isin([cell.cell for cell in cells])]
    asked, _ = asked_benchmarks(headline, rows.stages, rows.folders, own, rows.configured)
    frame, name = tidy_frame(headline, asked.groups, cells, recipe=own.recipe or None), f"{other.kind} {other.name}"
    drawn = frame.rows[frame.rows["dataset"].isin(list(datasets))].reset_index(drop=True)
    if drawn.empty:
        raise UserError("it has none of the datasets shown")
    unseen = sorted(set(frame.rows["dataset"]) - set(datasets))
    notes = [f"Not drawn: {name} on {', '.join(unseen)}, which the report does not show."] if unseen else []
    frame = replace(frame, rows=drawn, notes=(*(f"{name}: {note}" for note in frame.notes), *notes))
    return FurtherSeries(name=name, frame=frame, aggregates=aggregates(frame), curves=benchmark_curves(frame))


def _wanted(headline: pd.DataFrame, choice: StudyChoice, other: Alternative) -> Wanted:
    """The alternative by name, and what else is shown as it is in the choice, as far as the alternative has it."""
    if other.kind == "judge":
        return Wanted(suite=choice.suite or None, recipe=choice.recipe or None, judge=other.name)
    wanted = replace(Wanted(suite=choice.suite or None), **{other.kind: other.name})
    of = headline[headline["suite"].isin([wanted.suite or "", ""])]
    if wanted.recipe is None and choice.recipe and choice.recipe in set(of["recipe"]):
        wanted = replace(wanted, recipe=choice.recipe)
    if wanted.recipe is not None:
        of = of[of["recipe"] == wanted.recipe]
    return replace(wanted, judge=choice.judge) if choice.judge and choice.judge in set(of["judge"]) else wanted
