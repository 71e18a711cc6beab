"""Which of several suites, recipes and judges of one study is shown: the one asked for, or the newest."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from plw.errors import UserError
from plw.registry.rows import CellRow, StageRow

KINDS_OF_CHOICE = ("suite", "recipe", "judge")
"""Columns of the scores whose values do not compare with each other, in the order in which they are chosen."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What was asked for by name; None takes the newest."""

    suite: str | None = None
    recipe: str | None = None
    judge: str | None = None


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """A suite, recipe or judge that the study has scores of."""

    kind: str
    name: str
    cells: int
    benchmarks: int
    finished: float
    """When its last score was made, in seconds since 1970; of a registry that does not know it, 0."""


@dataclass(frozen=True, kw_only=True)
class StudyChoice:
    """The suite, recipe and judge that are shown, and what else there is. A name is empty where there is none."""

    suite: str = ""
    recipe: str = ""
    judge: str = ""
    newest: frozenset[str] = frozenset()
    """Kinds of which there were several, none was asked for, and the newest was taken."""
    beside: tuple[tuple[str, str], ...] = ()
    """(Benchmark, judge) of those that another judge than the chosen one has judged alone; they are shown too."""
    others: tuple[Alternative, ...] = ()

    @property
    def judges(self) -> tuple[str, ...]:
        """The judge, and those beside it of whom nothing is left out."""
        further = dict.fromkeys(judge for _, judge in self.beside)
        left = {other.name for other in self.others if other.kind == "judge"}
        return (self.judge, *(judge for judge in further if judge not in left))

    @property
    def text(self) -> str:
        """As in ``suite own (the newest of 2), recipe mini, judge a, of songs judge b``."""
        said = []
        for kind in KINDS_OF_CHOICE:
            name = getattr(self, kind)
            several = 1 + sum(other.kind == kind for other in self.others)
            if name:
                said.append(f"{kind} {name}" + (f" (the newest of {several})" if kind in self.newest else ""))
        said += [f"of {benchmark} judge {judge}" for benchmark, judge in self.beside]
        return ", ".join(said)


def choose(headline: pd.DataFrame, wanted: Wanted) -> StudyChoice:
    """Choose a suite, among its scores a recipe, and among those a judge.

    A recipe ``<recipe>-<regulariser>`` is a variation of ``<recipe>`` for the ablation's table; where both are there,
    the newest is the plain one.

    Args:
        headline: the study's headline scores: ``suite``, ``recipe``, ``judge`` (empty where there is none), ``cell``,
            ``benchmark`` and ``finished``.
        wanted: names that were asked for.

    Raises:
        UserError: a name that the study has no scores of; the line says which it has.
    """
    chosen: dict[str, str] = {}
    newest, others = set(), []
    beside: dict[str, str] = {}
    rows = headline
    for kind in KINDS_OF_CHOICE:
        there = _alternatives(kind, rows[rows[kind] != ""])
        asked = getattr(wanted, kind)
        if asked is not None and asked not in {item.name for item in there}:
            has = ", ".join(item.name for item in there) or "none"
            raise UserError(f"--{kind} {asked}: this study has no headline score of it; it has {has}")
        if not there:
            continue
        chosen[kind] = asked or _newest(there)
        more = [item for item in there if item.name != chosen[kind]]
        if kind == "judge" and asked is None:
            beside = _judged_by_others(rows, chosen[kind])
            shown = Counter(beside.values())
            more = [item for item in more if shown[item.name] < item.benchmarks]
        if asked is None and more:
            newest.add(kind)
        others += more
        rows = rows[rows[kind].isin([chosen[kind], ""])]
    return StudyChoice(**chosen, newest=frozenset(newest), beside=tuple(beside.items()), others=tuple(others))


def _judged_by_others(rows: pd.DataFrame, judge: str) -> dict[str, str]:
    """Benchmark that a judge did not judge -> the newest that did."""
    judged = rows[rows["judge"] != ""]
    covered = set(judged.loc[judged["judge"] == judge, "benchmark"])
    rest = judged[~judged["benchmark"].isin(covered)]
    return {str(name): _newest(_alternatives("judge", of_one)) for name, of_one in rest.groupby("benchmark")}


def chosen_rows(scores: pd.DataFrame, choice: StudyChoice, wanted: Wanted) -> pd.DataFrame:
    """Headline scores of the chosen suite and judge, of all recipes.

    A benchmark that the chosen judge did not judge is shown as the newest other one judged it, unless a judge was asked
    for by name.
    """
    rows = scores[scores["suite"].isin([choice.suite, ""])] if choice.suite else scores
    if not choice.judge:
        return rows
    keep = rows["judge"].isin([choice.judge, ""])
    if wanted.judge is None:
        for benchmark, name in _judged_by_others(rows, choice.judge).items():
            keep |= (rows["benchmark"] == benchmark) & (rows["judge"] == name)
    return rows[keep]


def stage_suite(stage: StageRow, suites: Iterable[str]) -> str:
    """The suite that a stage belongs to, by its name; empty for a training, and where the name does not tell."""
    rest = stage.name.partition("-")[2]
    if stage.kind == "judge":
        return max((name for name in suites if rest.startswith(f"{name}-")), key=len, default="")
    return rest if stage.kind in ("harness", "generate", "diagnose") else ""


def cells_of_suite(
    cells: Sequence[CellRow], stages: Iterable[StageRow], headline: pd.DataFrame, suite: str
) -> list[CellRow]:
    """The cells that the suite was asked of, by their stages and scores, and those that none was asked of yet."""
    asked: dict[str, set[str]] = {}
    suites = set(headline["suite"]) - {""}
    pairs = [*headline[["cell", "suite"]].drop_duplicates().itertuples(index=False, name=None)]
    for cell, name in [*pairs, *((stage.cell, stage_suite(stage, suites)) for stage in stages)]:
        if name:
            asked.setdefault(cell, set()).add(name)
    return [cell for cell in cells if suite in asked.get(cell.cell, {suite})]


def _alternatives(kind: str, rows: pd.DataFrame) -> list[Alternative]:
    found = []
    for name, of_name in rows.groupby(kind):
        last = of_name["finished"].max()
        found.append(
            Alternative(
                kind=kind,
                name=str(name),
                cells=of_name["cell"].nunique(),
                benchmarks=of_name["benchmark"].nunique(),
                finished=0.0 if pd.isna(last) else float(last),
            )
        )
    return found


def _newest(there: Sequence[Alternative]) -> str:
    """The one whose last score is the newest, of equals the one with the most cells, then the first by name."""
    first = min(there, key=lambda item: (-item.finished, -item.cells, item.name))
    names = {item.name for item in there}
    if first.kind == "recipe":
        plain = [name for name in names if first.name.startswith(f"{name}-")]
        return min(plain, key=len, default=first.name)
    return first.name
