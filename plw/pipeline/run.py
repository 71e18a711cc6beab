"""Bringing one cell to its end: its stages in order, each skipped, resumed or run, under the registry's claims."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

from plw.config import CellConfig
from plw.errors import ClaimLostError, DamagedError
from plw.paths import RECORD
from plw.pipeline.cell import Cell, needed_by
from plw.pipeline.context import CellContext
from plw.pipeline.harness_stage import tell_missing_samples
from plw.pipeline.judge_cache import JudgeCache
from plw.pipeline.publishing import publish_stage
from plw.pipeline.stage import Outcome, RetryPolicy, Stage, run_stage
from plw.pipeline.stage_functions import run_stage_function
from plw.registry import AlreadyDone, Busy, Claimed, Owner, Registry
from plw.results.stage_state import StateKeeper
from plw.runtime.interrupt import raise_if_requested
from plw.runtime.memory import release_memory

logger = logging.getLogger(__name__)

Report = Callable[[str, str, int, int | None, str], None]
"""Called with the cell's label, the stage, the units done and in all, and a note; None in all: the stage has ended."""


@dataclass(frozen=True, kw_only=True)
class CellOutcome:
    """How each stage of a cell ended; a stage that needs one which is busy or failed is not there."""

    folder: Path
    label: str
    stages: dict[str, Outcome] = field(default_factory=dict)

    @property
    def busy(self) -> bool:
        """Another worker is on the cell."""
        return any(stage.status == "busy" for stage in self.stages.values())

    @property
    def done_elsewhere(self) -> bool:
        """Other workers had finished every stage before this one came to it."""
        return all(stage.status == "skipped" for stage in self.stages.values())

    def lacks(self, kind: str) -> bool:
        """Whether a stage that this one rests on was to be done here and is not."""
        return any(need in self.stages and not self.stages[need].finished for need in needed_by(kind))

    @classmethod
    def worker_died(cls, cell: Cell) -> Self:
        """A cell whose worker process died as often as a stage may fail."""
        error = f"the worker process died {cell.config.execution.max_attempts} times (out of memory, or killed)"
        return cls(folder=cell.folder, label=cell.label, stages={"worker": Outcome(status="failed", error=error)})


def run_cell(cell: Cell, report: Report, judges: JudgeCache, registry: Registry | None = None) -> CellOutcome:
    """Run the cell's stages in order; a stage is left out where one that it needs has failed or is held by another.

    Args:
        cell: as it was planned; a stage whose inputs are others by now fails.
        report: told of every stage's progress.
        judges: keeps a judge over cells.
        registry: the config's, where it is open already; it is opened and closed otherwise.

    Raises:
        UserError: a stage's folder was made for another payload.
    """
    config = cell.config
    if registry is None:
        with open_registry(config) as opened:
            return run_cell(cell, report, judges, opened)
    outcome = CellOutcome(folder=cell.folder, label=cell.label)
    with _context(cell, report, judges) as context:
        for kind in config.stages:
            if outcome.lacks(kind):
                continue
            row = registry.ensure_cell(cell.row()).to_dict()
            stage = cell.stages[kind]
            context.state.begin()
            try:
                outcome.stages[kind] = run_stage(
                    stage,
                    StageClaims(cell, stage, registry, context.state),
                    partial(run_stage_function, kind, context),
                    cell=row,
                    retry=_retry_policy(config),
                )
            except ClaimLostError:
                outcome.stages[kind] = Outcome(status="busy")
            except DamagedError as error:
                outcome.stages[kind] = Outcome(status="failed", error=str(error))
            release_memory()
            raise_if_requested()
            if kind == "harness" and outcome.stages[kind].status == "skipped":
                tell_missing_samples(cell)
            if outcome.stages[kind].status == "done":
                publish_stage(config, stage.folder)
            if outcome.stages[kind].finished:
                report(cell.label, kind, 0, None, "")
    return outcome


def open_registry(config: CellConfig) -> Registry:
    """The config's registry; its calls wait for a database that is away."""
    return Registry.open(config.registry.url, wait_s=config.registry.wait_s)


def _context(cell: Cell, report: Report, judges: JudgeCache) -> CellContext:
    return CellContext(cell, lambda stage, done, total, note: report(cell.label, stage, done, total, note), judges)


def _retry_policy(config: CellConfig) -> RetryPolicy:
    execution = config.execution
    return RetryPolicy(
        max_attempts=execution.max_attempts,
        heartbeat_s=execution.heartbeat_s,
        lease_timeout_s=execution.lease_timeout_s,
    )


class StageClaims:
    """The registry's claims on one stage, in the form that ``run_stage`` asks for."""

    def __init__(self, cell: Cell, stage: Stage, registry: Registry, state: StateKeeper) -> None:
        self._key = cell.stage_key(stage.kind)
        self._stage = stage
        self._registry = registry
        self._state = state
        self._lease_timeout_s = cell.config.execution.lease_timeout_s
        self._owner = Owner.here()
        self.taken_from: str | None = None
        # A training that serves two cells is done by one of them; the other waits and links it.
        self._once = stage.kind == "train" and cell.pairs is not None

    def claim(self) -> Literal["claimed", "busy", "done"]:
        """Take the stage with a fresh token; a row that is done without a record in the folder is done again."""
        answer = self._claim(redo=False)
        if isinstance(answer, AlreadyDone):
            if self._stage.has_record:
                return "done"
            answer = self._claim(redo=True)
        if isinstance(answer, Busy):
            return "busy"
        assert isinstance(answer, Claimed)
        self.taken_from = answer.taken_from
        if answer.taken_from is not None:
            logger.warning("%s: taken over from %s", self._key, answer.taken_from)
        return "claimed"

    def _claim(self, *, redo: bool) -> Claimed | Busy | AlreadyDone:
        self._owner = Owner.here()
        return self._registry.claim(
            self._key,
            kind=self._stage.kind,
            fingerprint=self._stage.fingerprint,
            owner=self._owner,
            lease_timeout_s=self._lease_timeout_s,
            redo=redo,
            once=self._once,
        )

    def heartbeat(self, *, wait: bool) -> bool:
        """Say that the work goes on, and where it stands."""
        state = self._state.look()
        progress = None if state is None else state.to_json()
        return self._registry.heartbeat(self._key, self._owner.token, progress=progress, wait=wait)

    def finish(self, record: dict[str, Any]) -> bool:
        """Store the record's rows."""
        return self._registry.finish(self._key, self._owner.token, record)

    def import_record(self, record: dict[str, Any]) -> None:
        """Store a finished record that the registry does not know (it was made anew, or the process died between)."""
        self._registry.import_record(record, str(self._stage.folder / RECORD))

    def fail(self, error: str, trace: str) -> None:
        """Note a failed attempt."""
        self._registry.fail(self._key, self._owner.token, error, trace)

    def release(self) -> None:
        """Give the claim of unfinished work back."""
        self._registry.release(self._key, self._owner.token)
