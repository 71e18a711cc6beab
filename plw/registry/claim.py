"""A claim on a stage: what is asked for, and the statements that take the stage where nobody holds it."""

from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection, and_

from plw.registry.owner import Owner, abandoned
from plw.registry.rows import StageKey, StageRow
from plw.registry.schema import DONE, RUNNING, stages
from plw.registry.statements import clock_of, insert_or_ignore, same_stage, stages_now


@dataclass(frozen=True, kw_only=True, slots=True)
class Claimed:
    """The stage is the caller's; this is the attempt of that number, counted from 1 for each fingerprint."""

    attempt: int
    taken_from: str | None = field(default=None, compare=False)
    """Who held the stage and is silent or dead; None: nobody did, or it was released."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Busy:
    """Another process works on the stage and is alive as far as can be known."""

    owner: str
    seconds: float
    """Since its last heartbeat."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AlreadyDone:
    """Another process has finished the stage, with the same fingerprint."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a process asks for; the fields are those of :meth:`plw.registry.store.Registry.claim`."""

    key: StageKey
    kind: str
    fingerprint: str
    owner: Owner
    lease_timeout_s: float
    now: float | None
    redo: bool
    once: bool

    def insert(self, connection: Connection) -> bool | Busy:
        """Take a stage that has no row yet; False where it has one."""
        elsewhere = and_(
            stages.c.status == RUNNING, stages.c.fingerprint == self.fingerprint, stages.c.cell != self.key.cell
        )
        for row, at in stages_now(connection, elsewhere, self.now) if self.once else ():
            if self._is_held(row, at):
                return _busy(row, at)
        return insert_or_ignore(connection, stages, asdict(self.key) | self._begun(connection, attempts=1))

    def take(self, connection: Connection) -> Claimed | Busy | AlreadyDone | None:
        """Take a stage that has a row; None where the row is gone, or another process was faster."""
        found = stages_now(connection, same_stage(self.key), self.now)
        if not found:
            return None
        ((row, at),) = found
        if row.token == self.owner.token:
            # Committed by a call whose answer was lost on its way.
            return Claimed(attempt=row.attempts)
        if row.status == DONE and row.fingerprint == self.fingerprint and not self.redo:
            return AlreadyDone()
        if row.status == RUNNING and self._is_held(row, at):
            return _busy(row, at)
        attempt = row.attempts + 1 if row.fingerprint == self.fingerprint else 1
        unchanged = and_(
            stages.c.status == row.status,
            stages.c.attempts == row.attempts,
            stages.c.token.is_not_distinct_from(row.token),
            stages.c.heartbeat.is_not_distinct_from(row.heartbeat),
        )
        update = stages.update().where(same_stage(self.key), unchanged)
        if connection.execute(update.values(**self._begun(connection, attempts=attempt))).rowcount != 1:
            return None
        taken = row.status == RUNNING and row.heartbeat is not None
        return Claimed(attempt=attempt, taken_from=_last_sign(row, at) if taken else None)

    def _is_held(self, row: StageRow, at: float) -> bool:
        return not abandoned(row, self.owner.host, self.lease_timeout_s, at)

    def _begun(self, connection: Connection, *, attempts: int) -> dict[str, Any]:
        """The values of a row whose stage begins now."""
        clock = clock_of(connection, self.now)
        return {
            "kind": self.kind,
            "fingerprint": self.fingerprint,
            "status": RUNNING,
            "attempts": attempts,
            "token": self.owner.token,
            "host": self.owner.host,
            "pid": self.owner.pid,
            "process_started": self.owner.process_started,
            "heartbeat": clock,
            "started": clock,
            "progress": None,
            "finished": None,
            "seconds": None,
            "error": None,
            "traceback": None,
        }


def _busy(row: StageRow, at: float) -> Busy:
    return Busy(owner=row.holder, seconds=_silence(row, at))


def _last_sign(row: StageRow, at: float) -> str:
    return f"{row.holder}, last heartbeat {_silence(row, at):.0f} s ago"


def _silence(row: StageRow, at: float) -> float:
    """Seconds since a claim's last heartbeat."""
    assert row.heartbeat is not None
    return at - row.heartbeat
