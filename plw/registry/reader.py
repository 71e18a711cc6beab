"""What is read of the registry: cells, stages, scores and curves, as rows, counts and data frames."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sqlalchemy import Boolean, Connection, Engine, Integer, Select, and_, cast, func, select

from plw.registry.outages import outlast
from plw.registry.rows import CellRow, StageKey, StageRow
from plw.registry.schema import CELL_KEY, DONE, STAGE_KEY, cells, curves, scores, stages
from plw.registry.statements import chosen, clock_of, same_key

if TYPE_CHECKING:
    import pandas as pd

Result = TypeVar("Result")

FRAME_TYPES = {str: "str", float: "float64", int: "Int64", bool: "boolean"}
"""Python type of a column -> its type in a data frame."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedStage:
    """What the registry holds of a finished stage."""

    fingerprint: str
    scores: int
    """Its score rows."""
    curves: int
    """Its curve rows; 0 where the stage is no training."""

    def holds(self, record: dict[str, Any]) -> bool:
        """Whether all rows of a stage's record are there."""
        counts = (len(record.get("scores", ())), len(record.get("curves", ())))
        return self.fingerprint == record.get("fingerprint") and (self.scores, self.curves) == counts


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """How far a study is."""

    cells: int
    stages: dict[tuple[str, str], int]
    """(kind, status) -> number of stages."""
    seconds: dict[str, float | None]
    """Kind -> mean seconds of the finished ones."""
    open: list[tuple[str, StageRow]]
    """Running and failed stages, each with its cell in a few words; without tracebacks."""
    now: float
    """The database's clock at the reading, which the heartbeats are by."""

    def of_kind(self, kind: str) -> dict[str, int]:
        """Status -> number of stages of a kind."""
        return {status: number for (name, status), number in self.stages.items() if name == kind}

    def of_status(self, status: str) -> int:
        """Stages of every kind that stand so."""
        return sum(number for (_, name), number in self.stages.items() if name == status)


class RegistryReader:
    """A database of the study's results, as it is read."""

    def __init__(self, engine: Engine, wait_s: float = 0.0) -> None:
        self._engine = engine
        # On a server a statement alone needs no words around it to be a transaction.
        alone = {"isolation_level": "AUTOCOMMIT"} if engine.dialect.name == "postgresql" else {}
        self._reading = engine.execution_options(reading=True, **alone)
        self._alone = engine.execution_options(**alone)
        self._wait_s = wait_s

    def _read(self, work: Callable[[Connection], Result]) -> Result:
        """One reading transaction."""

        def transaction() -> Result:
            with self._reading.connect() as connection:
                return work(connection)

        return outlast(transaction, self._engine.url, self._wait_s)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def finished_stages(self, *, study: str, scale: str) -> dict[StageKey, FinishedStage]:
        """Every finished stage, with how many rows it has, so that lost ones are noticed."""
        key = [scores.c[name] for name in CELL_KEY]
        done = select(*(stages.c[name] for name in STAGE_KEY), stages.c.fingerprint, stages.c.kind).where(
            chosen(stages, study, scale), stages.c.status == DONE
        )
        score_counts = (
            select(*key, scores.c.stage, func.count())
            .where(chosen(scores, study, scale))
            .group_by(*key, scores.c.stage)
        )
        curve_key = [curves.c[name] for name in CELL_KEY]
        curve_counts = select(*curve_key, func.count()).where(chosen(curves, study, scale)).group_by(*curve_key)

        def work(connection: Connection) -> dict[StageKey, FinishedStage]:
            n_scores = {tuple(row[:4]): row[4] for row in connection.execute(score_counts)}
            n_curves = {tuple(row[:3]): row[3] for row in connection.execute(curve_counts)}
            return {
                StageKey(study=row[0], scale=row[1], cell=row[2], name=row[3]): FinishedStage(
                    fingerprint=row.fingerprint,
                    scores=n_scores.get(tuple(row[:4]), 0),
                    curves=n_curves.get(tuple(row[:3]), 0) if row.kind == "train" else 0,
                )
                for row in connection.execute(done)
            }

        return self._read(work)

    def stage_rows(self, *, study: str | None = None, scale: str | None = None) -> list[StageRow]:
        """Every stage, ordered by cell and name."""
        query = select(stages).where(chosen(stages, study, scale)).order_by(*stages.primary_key)
        return self._read(lambda connection: [StageRow(**row._mapping) for row in connection.execute(query)])

    def clock(self) -> float:
        """The database's clock in seconds since 1970 (UTC); heartbeats and leases go by it."""
        return self._read(lambda connection: connection.execute(select(clock_of(connection))).scalar_one())

    def studies(self) -> set[tuple[str, str]]:
        """(study, scale) of every cell."""
        query = select(cells.c.study, cells.c.scale).distinct()
        return self._read(lambda connection: {(row.study, row.scale) for row in connection.execute(query)})

    def score_values(self, *, study: str, scale: str) -> dict[tuple[str, ...], float]:
        """(cell, stage, suite, benchmark, metric, judge) -> value of every score."""
        names = ("cell", "stage", "suite", "benchmark", "metric", "judge")
        query = select(*(scores.c[name] for name in names), scores.c.value).where(chosen(scores, study, scale))
        return self._read(lambda connection: {tuple(row[:6]): row[6] for row in connection.execute(query)})

    def overview(self, *, study: str, scale: str) -> Overview:
        """How many cells and stages there are, and the stages that a person should know of."""
        of_study = chosen(stages, study, scale)
        count_cells = select(func.count()).select_from(cells).where(chosen(cells, study, scale))
        count_stages = (
            select(stages.c.kind, stages.c.status, func.count(), func.avg(stages.c.seconds))
            .where(of_study)
            .group_by(stages.c.kind, stages.c.status)
        )
        # Tracebacks stay where they are.
        shown = [column for column in stages.c if column.name != "traceback"]
        names = (cells.c.dataset, cells.c.model, cells.c.prompt_weight, cells.c.response_weight, cells.c.seed)
        open_stages = (
            select(*shown, *(column.label(f"cell_{column.name}") for column in names))
            .join_from(stages, cells, same_key(stages, cells))
            .where(of_study, stages.c.status != DONE)
            .order_by(*stages.primary_key)
        )

        def work(connection: Connection) -> Overview:
            counted = connection.execute(count_stages).all()
            found = []
            for row in connection.execute(open_stages):
                fields = dict(row._mapping)
                dataset, model, prompt, response, seed = (fields.pop(f"cell_{column.name}") for column in names)
                found.append((f"{dataset} {model} p{prompt:g}-r{response:g}-s{seed}", StageRow(**fields)))
            return Overview(
                cells=int(connection.execute(count_cells).scalar_one()),
                stages={(kind, status): count for kind, status, count, _ in counted},
                seconds={kind: mean for kind, status, _, mean in counted if status == DONE},
                open=found,
                now=connection.execute(select(clock_of(connection))).scalar_one(),
            )

        return self._read(work)

    def cell_columns(
        self, names: Sequence[str], *, study: str | None = None, scale: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Some columns of every cell."""
        query = select(*(cells.c[name] for name in names)).where(chosen(cells, study, scale))
        return self._read(lambda connection: [tuple(row) for row in connection.execute(query).all()])

    def done_scores(self, names: Sequence[str], study: str, scale: str, of: Sequence[str]) -> list[tuple[Any, ...]]:
        """Some columns, the cell and the stage of every score of some cells' finished stages; flags are 0 and 1.

        The rows are the driver's own tuples: a million SQLAlchemy rows take several times as long.
        """
        of_cells = [
            and_(table.c.study == study, table.c.scale == scale, table.c.cell.in_(of)) for table in (scores, stages)
        ]
        columns = [scores.c[name] for name in names]
        plain = [cast(c, Integer).label(c.name) if isinstance(c.type, Boolean) else c for c in columns]
        query = select(*plain, scores.c.cell, scores.c.stage).where(of_cells[0])
        done = select(stages.c.cell, stages.c.name).where(of_cells[1], stages.c.status == DONE)

        def work(connection: Connection) -> list[tuple[Any, ...]]:
            finished = set(map(tuple, connection.execute(done).all()))
            with connection.execute(query) as result:
                rows = result.cursor.fetchall()
            return [row for row in rows if row[-2:] in finished]

        return self._read(work)

    def cells(self, *, study: str | None = None, scale: str | None = None) -> list[CellRow]:
        """Every cell, ordered as a person reads the grid: dataset, model, weights, seed."""
        c = cells.c
        order = (c.study, c.scale, c.dataset, c.model, c.prompt_weight, c.response_weight, c.seed, c.cell)
        query = select(cells).where(chosen(cells, study, scale)).order_by(*order)
        return self._read(lambda connection: [CellRow(**row._mapping) for row in connection.execute(query)])

    def scores_frame(self, *, study: str | None = None, scale: str | None = None) -> "pd.DataFrame":
        """Every score of a finished stage beside its cell, ordered by cell and score; missing values are NA.

        A stage that is being done again, or failed then, does not count: its old scores are of something else. A score
        without a judge has an empty text there, so that rows can be grouped by it.
        """
        cell_columns = [c for c in cells.c if c.name not in ("folder", "payload", "created")]
        about_score = [c for c in scores.c if c.name not in CELL_KEY]
        finished = and_(same_key(stages, scores), stages.c.name == scores.c.stage, stages.c.status == DONE)
        query = (
            select(*cell_columns, *about_score)
            .join_from(scores, cells, same_key(cells, scores))
            .join(stages, finished)
            .where(chosen(scores, study, scale))
        )
        return self.frame(query).sort_values(
            ["study", "scale", "dataset", "model", "prompt_weight", "response_weight", "seed", "recipe", "suite",
             "benchmark", "metric", "judge", "cell"],
            ignore_index=True,
        )  # fmt: skip

    def curves_frame(self, *, study: str | None = None, scale: str | None = None) -> "pd.DataFrame":
        """Every training step beside its cell's dataset, model, weights and seed, ordered by cell and step."""
        c = cells.c
        names = [c.dataset, c.model, c.prompt_weight, c.response_weight, c.seed]
        query = select(*names, *curves.c).join_from(curves, cells, same_key(cells, curves))
        return self.frame(query.where(chosen(curves, study, scale))).sort_values(
            ["study", "scale", "cell", "step"], ignore_index=True
        )

    def frame(self, query: "Select[Any]") -> "pd.DataFrame":
        """The rows of a query on the registry's tables, for readers that need few columns of many rows.

        The type of a column is that of its table's, in the form that knows missing values.
        """
        import pandas as pd

        types = {column.name: FRAME_TYPES[column.type.python_type] for column in query.selected_columns}
        # As objects first: numbers beside missing ones would become floats, and lose digits.
        return pd.DataFrame(self.plain_rows(query), columns=list(types), dtype=object).astype(types)

    def plain_rows(self, query: "Select[Any]") -> list[tuple[Any, ...]]:
        """The rows of a query as the driver's own tuples; flags may come as 0 and 1.

        A million SQLAlchemy rows take twice as long.
        """

        def work(connection: Connection) -> list[tuple[Any, ...]]:
            with connection.execute(query) as result:
                return list(result.cursor.fetchall())

        return self._read(work)
