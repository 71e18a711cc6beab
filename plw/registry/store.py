"""The registry: cells, claims on their stages, and the scores and curves that finished stages leave.

A claim is a row that only one process can win; every later write asks for the claim's token, so that a process that
lost its claim changes nothing.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sqlalchemy import Connection, Engine, Select, and_, func, select

from plw.registry.database import connect, parse_url
from plw.registry.outages import outlast
from plw.registry.owner import Owner, process_alive
from plw.registry.rows import CellRow, Record, StageKey, StageRow
from plw.registry.schema import CELL_KEY, DONE, FAILED, RUNNING, STAGE_KEY, cells, curves, scores, stages
from plw.registry.statements import (
    UNCLAIMED,
    chosen,
    insert_or_ignore,
    put_cell,
    put_record,
    same_cell,
    same_key,
    same_stage,
)

if TYPE_CHECKING:
    import pandas as pd

Result = TypeVar("Result")

FRAME_TYPES = {str: "str", float: "float64", int: "Int64", bool: "boolean"}
"""Python type of a column -> its type in a data frame."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claimed:
    """The stage is the caller's; this is the attempt of that number, counted from 1 for each fingerprint."""

    attempt: int
    taken_from: str | None = field(default=None, compare=False)
    """Who held the stage and is silent or dead; None: nobody did."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Busy:
    """Another process works on the stage and is alive as far as can be known."""

    owner: str
    seconds: float
    """Since its last heartbeat."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AlreadyDone:
    """Another process has finished the stage, with the same fingerprint."""


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


class Registry:
    """A database of the study's results. Safe between processes and threads; open it anew after a fork.

    Every call waits for a database that is away or locked, and may raise RegistryAwayError, StorageError or, where the
    file is damaged, UserError.
    """

    def __init__(self, engine: Engine, wait_s: float = 0.0) -> None:
        self._engine = engine
        self._reading = engine.execution_options(reading=True)
        self._wait_s = wait_s

    @classmethod
    def open(cls, url: str, *, create: bool = True, wait_s: float = 0.0) -> Self:
        """Open the registry at a SQLAlchemy address.

        Args:
            url: the address.
            create: make file, folder and tables where they are missing.
            wait_s: seconds that this and every later call waits for a database that is away or locked.

        Raises:
            UserError: not an address, not writable, of another schema version, or missing while ``create`` is off.
        """
        return cls(connect(parse_url(url), create=create, wait_s=wait_s), wait_s)

    def _write(self, work: Callable[[Connection], Result], *, wait: bool = True) -> Result:
        """One writing transaction."""

        def transaction() -> Result:
            with self._engine.begin() as connection:
                return work(connection)

        return outlast(transaction, self._engine.url, self._wait_s if wait else 0.0)

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

    def ensure_cell(self, row: CellRow) -> CellRow:
        """Write the cell if it is not there, and return it as it stands.

        What is there stays, also its ``created``; only an ``r_g`` that was unknown is filled in.
        """

        def work(connection: Connection) -> CellRow:
            put_cell(connection, row)
            return CellRow(**connection.execute(select(cells).where(same_cell(cells, row))).one()._mapping)

        return self._write(work)

    def claim(
        self,
        key: StageKey,
        *,
        kind: str,
        fingerprint: str,
        owner: Owner,
        lease_timeout_s: float,
        now: float,
        redo: bool = False,
    ) -> Claimed | Busy | AlreadyDone:
        """Take the stage, unless another process holds or has finished it. Its cell must be there.

        A failed row is taken, and a done one of another fingerprint (attempts count from 1 again). A running row is
        taken if its heartbeat is older than ``lease_timeout_s``, or if its process was on this host and is dead.

        Args:
            key: the stage.
            kind: ``train``, ``diagnose``, ``harness``, ``generate`` or ``judge``.
            fingerprint: identity of the stage and its inputs.
            owner: this process, with a token that no other claim has.
            lease_timeout_s: seconds of silence after which a claim may be taken over.
            now: seconds since 1970 (UTC).
            redo: take also a row that is done with this fingerprint (its record was lost).
        """
        taken = {
            "kind": kind,
            "fingerprint": fingerprint,
            "status": RUNNING,
            "token": owner.token,
            "host": owner.host,
            "pid": owner.pid,
            "process_started": owner.process_started,
            "heartbeat": now,
            "started": now,
            "finished": None,
            "seconds": None,
            "error": None,
            "traceback": None,
        }

        def work(connection: Connection) -> Claimed | Busy | AlreadyDone | None:
            if insert_or_ignore(connection, stages, asdict(key) | taken | {"attempts": 1}):
                return Claimed(attempt=1)
            row = StageRow(**connection.execute(select(stages).where(same_stage(key))).one()._mapping)
            if row.token == owner.token:
                # Committed by a call whose answer was lost on its way.
                return Claimed(attempt=row.attempts)
            if row.status == DONE and row.fingerprint == fingerprint and not redo:
                return AlreadyDone()
            if row.status == RUNNING and not abandoned(row, owner.host, lease_timeout_s, now):
                return Busy(owner=row.holder, seconds=now - (row.heartbeat or now))
            attempt = row.attempts + 1 if row.fingerprint == fingerprint else 1
            unchanged = and_(
                stages.c.status == row.status,
                stages.c.attempts == row.attempts,
                stages.c.token.is_not_distinct_from(row.token),
                stages.c.heartbeat.is_not_distinct_from(row.heartbeat),
            )
            update = stages.update().where(same_stage(key), unchanged).values(**taken, attempts=attempt)
            if connection.execute(update).rowcount != 1:
                return None
            return Claimed(attempt=attempt, taken_from=_last_sign(row, now) if row.status == RUNNING else None)

        while (answer := self._write(work)) is None:
            pass
        return answer

    def heartbeat(self, key: StageKey, token: str, *, now: float | None = None, wait: bool = True) -> bool:
        """Tell that the work goes on; False when the claim is lost. ``now`` is the clock's time unless given.

        Without ``wait`` a database that is away is told at once.
        """
        return self._write(
            lambda connection: _update_held(connection, key, token, {"heartbeat": time.time() if now is None else now}),
            wait=wait,
        )

    def finish(self, key: StageKey, token: str, record: dict[str, Any]) -> bool:
        """Write the stage as done with its scores and curves, all or nothing; False, and nothing, if the claim is lost.

        True also where another process has adopted this very record between its writing and this call.

        Raises:
            UserError: the record lacks a field or holds a value that cannot be stored.
            ValueError: the record is of another stage.
        """
        parsed = Record.parse(record, f"record of {key}")
        if parsed.key != key:
            raise ValueError(f"the record of {parsed.key} cannot finish {key}")

        def work(connection: Connection) -> bool:
            if not _update_held(connection, key, token, {"heartbeat": None}):
                return _holds(connection, parsed)
            put_record(connection, parsed)
            return True

        return self._write(work)

    def import_record(self, record: dict[str, Any], where: str = "record") -> None:
        """Store a record that lies finished on disk, whoever holds the stage: its writer died, or rows were lost.

        Args:
            record: contents of a ``record.json``.
            where: the file, for messages.

        Raises:
            UserError: the record lacks a field or holds a value that cannot be stored.
        """
        parsed = Record.parse(record, where)

        def work(connection: Connection) -> None:
            if not _holds(connection, parsed):
                put_record(connection, parsed)

        self._write(work)

    def fail(self, key: StageKey, token: str, error: str, traceback: str, *, now: float | None = None) -> bool:
        """Write the stage as failed with its reason; False, and nothing, when the claim is lost."""
        end = time.time() if now is None else now
        failed = {"status": FAILED, "finished": end, "seconds": end - stages.c.started}
        failed |= {"error": _storable(error), "traceback": _storable(traceback)}
        return self._write(lambda connection: _update_held(connection, key, token, failed | UNCLAIMED))

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
        names = (cells.c.dataset, cells.c.model, cells.c.prompt_weight, cells.c.response_weight)
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
                dataset, model, prompt, response = (fields.pop(f"cell_{column.name}") for column in names)
                found.append((f"{dataset} {model} p{prompt:g}-r{response:g}", StageRow(**fields)))
            return Overview(
                cells=int(connection.execute(count_cells).scalar_one()),
                stages={(kind, status): count for kind, status, count, _ in counted},
                seconds={kind: mean for kind, status, _, mean in counted if status == DONE},
                open=found,
            )

        return self._read(work)

    def cell_columns(
        self, names: Sequence[str], *, study: str | None = None, scale: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Some columns of every cell."""
        query = select(*(cells.c[name] for name in names)).where(chosen(cells, study, scale))
        return self._read(lambda connection: [tuple(row) for row in connection.execute(query).all()])

    def score_columns(self, names: Sequence[str], study: str, scale: str, of: Sequence[str]) -> list[tuple[Any, ...]]:
        """The cell and some columns of every score of some cells' finished stages."""
        of_cells = [
            and_(table.c.study == study, table.c.scale == scale, table.c.cell.in_(of)) for table in (scores, stages)
        ]
        query = select(scores.c.cell, *(scores.c[name] for name in names), scores.c.stage).where(of_cells[0])
        done = select(stages.c.cell, stages.c.name).where(of_cells[1], stages.c.status == DONE)

        def work(connection: Connection) -> list[tuple[Any, ...]]:
            finished = set(map(tuple, connection.execute(done).all()))
            return [row[:-1] for row in connection.execute(query).all() if (row[0], row[-1]) in finished]

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
        return self._frame(query).sort_values(
            ["study", "scale", "dataset", "model", "prompt_weight", "response_weight", "seed", "recipe", "suite",
             "benchmark", "metric", "judge", "cell"],
            ignore_index=True,
        )  # fmt: skip

    def curves_frame(self, *, study: str | None = None, scale: str | None = None) -> "pd.DataFrame":
        """Every training step beside its cell's dataset, model, weights and seed, ordered by cell and step."""
        c = cells.c
        names = [c.dataset, c.model, c.prompt_weight, c.response_weight, c.seed]
        query = select(*names, *curves.c).join_from(curves, cells, same_key(cells, curves))
        return self._frame(query.where(chosen(curves, study, scale))).sort_values(
            ["study", "scale", "cell", "step"], ignore_index=True
        )

    def frame(self, query: "Select[Any]") -> "pd.DataFrame":
        """The rows of a query on the registry's tables, for readers that need few columns of many rows."""
        return self._frame(query)

    def _frame(self, query: "Select[Any]") -> "pd.DataFrame":
        """The rows of a query; the type of a column is that of its table's, in the form that knows missing values."""
        import pandas as pd

        def work(connection: Connection) -> tuple[list[str], list[tuple[Any, ...]]]:
            result = connection.execute(query)
            return list(result.keys()), [tuple(row) for row in result]

        names, rows = self._read(work)
        frame = pd.DataFrame.from_records(rows, columns=names)
        kinds = {column.name: column.type.python_type for column in query.selected_columns if column.name is not None}
        return frame.astype({name: FRAME_TYPES[kinds[name]] for name in names})

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One writing transaction, for the rebuild."""
        with self._engine.begin() as connection:
            yield connection


def _holds(connection: Connection, record: Record) -> bool:
    """Whether this very record is in the registry, with all its rows."""
    c, key = stages.c, record.key
    same = and_(c.status == DONE, c.fingerprint == record.fingerprint, c.finished.is_not_distinct_from(record.finished))
    if connection.execute(select(c.name).where(same_stage(key), same)).first() is None:
        return False
    counts = [(len(record.scores), scores, and_(same_cell(scores, key), scores.c.stage == key.name))]
    if record.kind == "train":
        counts.append((len(record.curves), curves, same_cell(curves, key)))
    return all(
        connection.execute(select(func.count()).select_from(table).where(condition)).scalar_one() == count
        for count, table, condition in counts
    )


def _update_held(connection: Connection, key: StageKey, token: str, values: dict[str, Any]) -> bool:
    held = and_(same_stage(key), stages.c.status == RUNNING, stages.c.token == token)
    return connection.execute(stages.update().where(held).values(**values)).rowcount == 1


def abandoned(row: StageRow, host: str, lease_timeout_s: float, now: float) -> bool:
    """Whether a running row's process is silent for too long, or was on this host and is dead."""
    if row.heartbeat is None or now - row.heartbeat > lease_timeout_s:
        return True
    return row.host == host and row.pid is not None and not process_alive(row.pid, row.process_started)


def _last_sign(row: StageRow, now: float) -> str:
    return row.holder if row.heartbeat is None else f"{row.holder}, last heartbeat {now - row.heartbeat:.0f} s ago"


def _storable(text: str) -> str:
    """PostgreSQL has no place for the character 0, which a library's message may hold."""
    return text.replace("\0", "")
