"""One stage of a cell: skip what is done, refuse what has drifted, claim, work, and rename the record last.

The registry's rows are the claims; the stage's folder holds the truth: ``payload.json`` says what was asked for,
``record.json`` that it is done. This module knows the registry only by the protocol ``Claims``.
"""

import logging
import platform
import time
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Protocol

from plw.config import CellConfig
from plw.config.fields import paths_until_done
from plw.errors import (
    ClaimLostError,
    DamagedError,
    PermanentError,
    RegistryAwayError,
    StageError,
    UserError,
    printable,
    shortened,
)
from plw.files.products import check_products, note_products
from plw.files.sealed import read_sealed_json, write_sealed_json
from plw.files.storage import storage_error
from plw.files.writing import TEMPORARY, write_json_atomic
from plw.paths import FAILURE, PAYLOAD, RECORD
from plw.pipeline.heartbeat import Heartbeat
from plw.redact import redact
from plw.results.identity import canonical_json, field_diff
from plw.results.score import Score
from plw.runtime.interrupt import Interrupted

RECORD_FIELDS = ("payload", "fingerprint", "seconds", "scores")
"""What is read of a record here; the registry reads the rest."""
TRACE_END = 8_000
"""Characters of a traceback that are kept from its beginning, and from its end."""

logger = logging.getLogger(__name__)

LIBRARIES = ("torch", "transformers", "lm_eval", "alpaca_eval", "plw")


class Claims(Protocol):
    """What a stage needs of the registry, already bound to the stage's key."""

    def claim(self) -> Literal["claimed", "busy", "done"]:
        """Take the stage for this process, unless another lives on it or has just finished it."""

    taken_from: str | None
    """Who held the stage before the last claim and was silent or dead."""

    def heartbeat(self, *, wait: bool) -> bool:
        """Say that the work goes on; False when the claim is lost. ``wait`` for a registry that is away."""

    def finish(self, record: dict[str, Any]) -> bool:
        """Store the record's rows; False when the claim is lost."""

    def import_record(self, record: dict[str, Any]) -> None:
        """Store the rows of a record that lies finished in the folder, where the registry does not know it yet."""

    def fail(self, error: str, trace: str) -> None:
        """Note a failed attempt and give the claim back."""

    def release(self) -> None:
        """Give the claim of unfinished work back."""


@dataclass(kw_only=True)
class StageResult:
    """What a stage's work hands back: scores for the registry, and what else its record should say."""

    scores: list[Score] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    cell_updates: dict[str, Any] = field(default_factory=dict)
    """What the work found out about its cell, for the cell's row: the data's R_g."""
    temp_files: list[Path] = field(default_factory=list)
    """Files that only an unfinished stage needs; removed once the record is there."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A piece of a cell's work: its identity and its folder."""

    kind: str
    name: str
    folder: Path
    fingerprint: str
    payload: dict[str, Any]

    @property
    def has_record(self) -> bool:
        """Whether it was finished, without a look at what its record says."""
        return (self.folder / RECORD).exists()

    def finished_record(self) -> dict[str, Any] | None:
        """The record, if the stage is done.

        Raises:
            UserError: the folder was made for another payload; the lines after the first are the field diff.
            DamagedError: a file of the folder is not whole.
        """
        payload, record = (self._read(name) for name in (PAYLOAD, RECORD))
        if record is not None:
            self._check_payload(record["payload"])
        if payload is not None:
            self._check_payload(payload, left_out=() if record is not None else paths_until_done(CellConfig))
        return record

    def product(self, name: str, *, always: bool = False) -> Path:
        """A file or folder that the finished stage left, compared with what its record says of it.

        Args:
            name: its path inside the stage's folder.
            always: read it again, whatever was read before.

        Raises:
            UserError: it is not what the stage left.
        """
        record = self.finished_record() or {}
        check_products(self.folder, record.get("products", {}), made_by=self.name, inside=name, always=always)
        return self.folder / name

    def _read(self, name: str) -> dict[str, Any] | None:
        """The contents of a file of ours, None where it is not there."""
        path = self.folder / name
        if not path.exists():
            return None
        try:
            found = read_sealed_json(path)
        except UserError as error:
            raise DamagedError(f"{error}; remove {self.folder} to make the stage again") from None
        lacking = [field for field in RECORD_FIELDS if not isinstance(found, dict) or field not in found]
        if name == RECORD and lacking:
            raise DamagedError(f"{path}: {lacking[0]} is missing; remove {self.folder} to make the stage again")
        return found  # type: ignore[no-any-return]

    def _check_payload(self, stored: Any, left_out: Collection[str] = ()) -> None:
        if canonical_json(stored) == canonical_json(self.payload):
            return
        differing = field_diff(stored, self.payload)
        if not all(line.partition(":")[0] in left_out for line in differing):
            differ = shortened("; ".join(differing), 400)
            raise UserError(
                f"{self.folder} was made for another {self.kind}; give the changed part a name of its own "
                f"(such as suite.name) or remove the folder. Fields, stored -> asked for: {differ}"
            )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a stage ended."""

    status: Literal["done", "skipped", "busy", "failed"]
    seconds: float = 0.0
    error: str | None = None
    taken_from: str | None = None
    """The worker whose claim was taken over, since it was silent or dead."""

    @property
    def finished(self) -> bool:
        """Whether the stage's result is there."""
        return self.status in ("done", "skipped")


StageFunction = Callable[[Callable[[], None]], StageResult]
"""Does the stage's work; calls its argument often, which raises ClaimLostError once the claim is lost."""


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often a stage is tried, and how its claim is kept alive."""

    max_attempts: int
    heartbeat_s: float
    lease_timeout_s: float


def run_stage(
    stage: Stage, claims: Claims, work: StageFunction, *, cell: dict[str, Any], retry: RetryPolicy
) -> Outcome:
    """Bring one stage to its end, whatever state it is found in. ``cell`` is the cell's row, for the record.

    Raises:
        UserError: the folder was made for another payload.
        DamagedError: the folder's record is not whole.
        ClaimLostError: another worker took the stage over.
        RegistryAwayError: the registry was away for longer than it is waited for.
        StorageError: the disk takes no more.
    """
    record = stage.finished_record()
    if record is not None:
        try:
            claims.import_record(record)
        except UserError as problem:
            raise DamagedError(f"{problem}; remove {stage.folder} to make the stage again") from None
        return Outcome(status="skipped", seconds=record["seconds"])
    error = ""
    for attempt in range(1, retry.max_attempts + 1):
        claim = claims.claim()
        if claim != "claimed":
            return Outcome(status="busy" if claim == "busy" else "skipped")
        try:
            record = _execute(stage, claims, work, cell, attempt, retry)
            # The record is the truth; should its rows not get through now, the next command puts them in.
            if not claims.finish(record):
                raise ClaimLostError(f"{stage.folder}: taken over by another worker")
            return Outcome(status="done", seconds=record["seconds"], taken_from=claims.taken_from)
        except Interrupted:
            # Another machine need not wait for the claim to grow old.
            _release(stage, claims)
            raise
        except (ClaimLostError, RegistryAwayError, KeyboardInterrupt):
            raise
        except BaseException as problem:
            # No Exceptions, and no reason to end the other cells: a panic of tokenizers' Rust, a library's sys.exit.
            full = storage_error(problem, str(stage.folder), stage.folder)
            # Servers quote keys in their errors, and what a terminal obeys.
            error, trace = printable(redact(one_line(full or problem))), _shortened(redact(traceback.format_exc()))
            _note_failure(stage, claims, error, trace)
            if full is not None:
                raise full from problem
            done = stage.has_record
            if done or isinstance(problem, UserError | PermanentError | PermissionError):
                break
    return Outcome(status="failed", error=error, taken_from=claims.taken_from)


def _note_failure(stage: Stage, claims: Claims, error: str, trace: str) -> None:
    """Keep a failed attempt's error where it can be kept, while the claim is held; what cannot be kept is told."""
    try:
        if not claims.heartbeat(wait=False):
            return
        write_json_atomic(stage.folder / FAILURE, {"error": error, "traceback": trace})
    except Exception as problem:
        logger.warning("%s: %s is not written (%s)", stage.folder, FAILURE, one_line(problem))
    try:
        claims.fail(error, trace)
    except Exception as problem:
        logger.warning("%s: the registry does not know of the failure (%s)", stage.folder, one_line(problem))


def _release(stage: Stage, claims: Claims) -> None:
    try:
        claims.release()
    except Exception as problem:
        logger.warning("%s: the claim is not given back and grows old instead (%s)", stage.folder, one_line(problem))


def _shortened(trace: str) -> str:
    """A traceback whose middle is left out where it is long: a recursion's repeats itself a thousand times."""
    if len(trace) <= 2 * TRACE_END:
        return trace
    return f"{trace[:TRACE_END]}\n... ({len(trace) - 2 * TRACE_END:,} characters left out) ...\n{trace[-TRACE_END:]}"


def one_line(problem: BaseException) -> str:
    """An exception as one line: our own say all in their message, others are named."""
    text = " ".join(str(problem).split()) or "no message"
    return text if isinstance(problem, UserError | StageError) else f"{type(problem).__name__}: {text}"


def _remove_half_written(folder: Path) -> None:
    """Files that a killed attempt had not renamed yet; the claim is ours, so nobody else writes here."""
    for path in folder.glob(f".*{TEMPORARY}"):
        if path.is_file():
            path.unlink(missing_ok=True)


def _execute(
    stage: Stage, claims: Claims, work: StageFunction, cell: dict[str, Any], attempt: int, retry: RetryPolicy
) -> dict[str, Any]:
    """Work under the heartbeat, then rename the record into place while the claim is held; the record."""
    started = time.time()
    with Heartbeat(claims, str(stage.folder), retry.heartbeat_s, retry.lease_timeout_s) as heartbeat:
        _remove_half_written(stage.folder)
        write_sealed_json(stage.folder / PAYLOAD, stage.payload)
        result = work(heartbeat.check_lease)
        finished = time.time()
        ours = [stage.folder / name for name in (PAYLOAD, RECORD, FAILURE)]
        record = {
            "study": cell["study"],
            "scale": cell["scale"],
            "cell": cell | result.cell_updates,
            "stage": stage.name,
            "kind": stage.kind,
            "fingerprint": stage.fingerprint,
            "payload": stage.payload,
            "attempts": attempt,
            "started": started,
            "finished": finished,
            "seconds": finished - started,
            "scores": [score.to_dict() for score in result.scores],
            "products": note_products(stage.folder, leave_out=[*ours, *result.temp_files]),
            "versions": installed_versions(),
            **result.details,
        }
        # Written whole beside its place first, so that nothing lies between the registry's word and the renaming.
        waiting = stage.folder / f".{RECORD}"
        write_sealed_json(waiting, record)
        try:
            heartbeat.confirm()
            waiting.replace(stage.folder / RECORD)
        finally:
            waiting.unlink(missing_ok=True)
    for path in (stage.folder / FAILURE, *result.temp_files):
        path.unlink(missing_ok=True)
    return record


@cache
def installed_versions() -> dict[str, str]:
    """Python's version and those of the libraries that a result rests on; reading them takes longer than a claim."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except ModuleNotFoundError:
            continue
    return found
