"""The registry: cells, claims on their stages, and the scores and curves that finished stages leave.

A claim is a row that only one process can win; every later write asks for the claim's token, so that a process that
lost its claim changes nothing.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, Engine, and_, func, select
from sqlalchemy.exc import DBAPIError

from plw.registry.claim import AlreadyDone, Busy, Claim, Claimed
from plw.registry.database import connect, parse_url
from plw.registry.outages import explained, outlast
from plw.registry.owner import Owner
from plw.registry.reader import RegistryReader
from plw.registry.rows import CellRow, StageKey, StageRecord
from plw.registry.schema import DONE, FAILED, cells, curves, scores, stages
from plw.registry.statements import (
    UNCLAIMED,
    clock_of,
    done_values,
    learn_ratio,
    put_cell,
    put_cells,
    put_record,
    put_results,
    same_cell,
    same_stage,
    update_held,
)

Result = TypeVar("Result")

CELLS_A_TRANSACTION = 500
"""Cells that are written in one transaction."""


class Registry(RegistryReader):
    """A database of the study's results. Safe between processes and threads; open it anew after a fork.

    Every call waits for a database that is away or locked, and may raise RegistryAwayError, StorageError or, where the
    file is damaged, UserError.
    """

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

    def __init__(self, engine: Engine, wait_s: float = 0.0) -> None:
        super().__init__(engine, wait_s)
        self._first: set[str] = set()
        """Tokens of claims that made their stage's row, so that it cannot have scores or curves yet."""

    def _write(self, work: Callable[[Connection], Result], *, wait: bool = True, alone: bool = False) -> Result:
        """One writing transaction; ``alone`` where it is of one statement."""

        def transaction() -> Result:
            with (self._alone if alone else self._engine).begin() as connection:
                return work(connection)

        return outlast(transaction, self._engine.url, self._wait_s if wait else 0.0)

    def ensure_cell(self, row: CellRow) -> CellRow:
        """Write the cell if it is not there, and return it as it stands.

        What is there stays, also its ``created``; only an ``r_g`` that was unknown is filled in.
        """
        stored = select(cells).where(same_cell(cells, row))
        found = self._read(lambda connection: connection.execute(stored).one_or_none())
        # Most often the cell is there, and no other process has to wait for a write.
        if found is not None and (row.r_g is None or found.r_g is not None):
            return CellRow(**found._mapping)

        def work(connection: Connection) -> CellRow:
            put_cell(connection, row)
            return CellRow(**connection.execute(stored).one()._mapping)

        return self._write(work)

    def ensure_cells(self, rows: Iterable[CellRow]) -> None:
        """Write the cells that are not there, many in one transaction."""
        left = iter(rows)
        while some := list(islice(left, CELLS_A_TRANSACTION)):
            self._write(partial(put_cells, rows=some))

    def claim(
        self,
        key: StageKey,
        *,
        kind: str,
        fingerprint: str,
        owner: Owner,
        lease_timeout_s: float,
        now: float | None = None,
        redo: bool = False,
        once: bool = False,
    ) -> Claimed | Busy | AlreadyDone:
        """Take the stage, unless another process holds or has finished it. Its cell must be there.

        A failed row is taken, and a done one of another fingerprint (attempts count from 1 again). A running row is
        taken if it was released, if its heartbeat is older than ``lease_timeout_s``, or if its process was on this host
        and is dead.

        Args:
            key: the stage.
            kind: ``train``, ``preference``, ``diagnose``, ``harness``, ``generate`` or ``judge``.
            fingerprint: identity of the stage and its inputs.
            owner: this process, with a token that no other claim has.
            lease_timeout_s: seconds of silence after which a claim may be taken over, by the database's clock: those
                of the machines may disagree.
            now: seconds since 1970 (UTC) in place of the database's clock.
            redo: take also a row that is done with this fingerprint (its record was lost).
            once: leave it while another cell's stage of this fingerprint is under way, whose result then serves both.
        """
        wanted = Claim(
            key=key,
            kind=kind,
            fingerprint=fingerprint,
            owner=owner,
            lease_timeout_s=lease_timeout_s,
            now=now,
            redo=redo,
            once=once,
        )
        answer: Claimed | Busy | AlreadyDone | None = None
        while answer is None:
            inserted = self._write(wanted.insert, alone=not once)
            if isinstance(inserted, Busy):
                return inserted
            if inserted:
                self._first.add(owner.token)
                return Claimed(attempt=1)
            answer = self._write(wanted.take)
        return answer

    def heartbeat(
        self, key: StageKey, token: str, *, progress: str | None = None, now: float | None = None, wait: bool = True
    ) -> bool:
        """Tell that the work goes on; False when the claim is lost.

        Args:
            key: the stage.
            token: of the claim.
            progress: where the work stands, for whoever watches; what was said before stays where this is None.
            now: stands in for the database's clock, in seconds since 1970 (UTC).
            wait: off, a database that is away is told at once.
        """
        said = {} if progress is None else {"progress": progress}
        return self._write(
            lambda connection: update_held(connection, key, token, {"heartbeat": clock_of(connection, now), **said}),
            wait=wait,
            alone=True,
        )

    def finish(self, key: StageKey, token: str, record: dict[str, Any]) -> bool:
        """Write the stage as done with its scores and curves, all or nothing; False, and nothing, if the claim is lost.

        True also where another process has adopted this very record between its writing and this call.

        Raises:
            UserError: the record lacks a field or holds a value that cannot be stored.
            ValueError: the record is of another stage.
        """
        parsed = StageRecord.parse(record, f"record of {key}")
        if parsed.key != key:
            raise ValueError(f"the record of {parsed.key} cannot finish {key}")

        def work(connection: Connection) -> bool:
            if not update_held(connection, key, token, done_values(parsed)):
                return _holds(connection, parsed)
            learn_ratio(connection, parsed.cell)
            put_results(connection, parsed, first=token in self._first)
            return True

        done = self._write(work)
        self._first.discard(token)
        return done

    def import_record(self, record: dict[str, Any], where: str = "record") -> None:
        """Store a record that lies finished on disk, whoever holds the stage: its writer died, or rows were lost.

        Args:
            record: contents of a ``record.json``.
            where: the file, for messages.

        Raises:
            UserError: the record lacks a field or holds a value that cannot be stored.
        """
        parsed = StageRecord.parse(record, where)

        def work(connection: Connection) -> None:
            if not _holds(connection, parsed):
                put_record(connection, parsed)

        self._write(work)

    def fail(self, key: StageKey, token: str, error: str, traceback: str, *, now: float | None = None) -> bool:
        """Write the stage as failed with its reason; False, and nothing, when the claim is lost."""

        def work(connection: Connection) -> bool:
            end = clock_of(connection, now)
            failed = {"status": FAILED, "finished": end, "seconds": end - stages.c.started}
            failed |= {"error": _storable(error), "traceback": _storable(traceback)}
            return update_held(connection, key, token, failed | UNCLAIMED)

        return self._write(work, alone=True)

    def release(self, key: StageKey, token: str) -> bool:
        """Give a claim back unfinished, so that any process may take it at once; False when it is lost.

        A database that is away is not waited for: the claim is then given up by its silence.
        """
        return self._write(
            lambda connection: update_held(connection, key, token, {"heartbeat": None}), wait=False, alone=True
        )

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One writing transaction, for the rebuild and others that write by hand.

        Raises:
            RegistryAwayError: the database is locked or away.
            StorageError: its disk is full or read-only.
            UserError: its file is damaged.
        """
        try:
            with self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise explained(error, self._engine.url) from error


def _holds(connection: Connection, record: StageRecord) -> bool:
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


def _storable(text: str) -> str:
    """PostgreSQL has no place for the character 0, which a library's message may hold."""
    return text.replace("\0", "")
