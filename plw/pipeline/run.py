"""Bringing one cell to its end: its stages in order, each skipped, resumed or run, under the registry's claims."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

from plw.config import CellConfig
from plw.errors import ClaimLostError
from plw.pipeline.cell import Cell, plan_cell
from plw.pipeline.context import Workbench
from plw.pipeline.judge_cache import JudgeShelf
from plw.pipeline.stage import RECORD, Outcome, Patience, Stage, run_stage
from plw.pipeline.stage_functions import do_stage
from plw.registry import AlreadyDone, Busy, Owner, Registry

Report = Callable[[str, str, int, int, str], None]
"""Called with the cell's label, the stage, the units done and in all, and a note; no stage means that one ended."""


@dataclass(frozen=True, kw_only=True)
class CellOutcome:
    """How each stage of a cell ended; a stage after one that is busy or failed is not there."""

    folder: Path
    label: str
    stages: dict[str, Outcome] = field(default_factory=dict)

    @property
    def busy(self) -> bool:
        """Another worker is on the cell."""
        return any(stage.status == "busy" for stage in self.stages.values())

    @classmethod
    def lost_worker(cls, config: CellConfig) -> Self:
        """A cell whose worker process died as often as a stage may fail."""
        cell = plan_cell(config)
        error = f"the worker process died {config.execution.attempts} times (out of memory, or killed)"
        return cls(folder=cell.folder, label=cell.label, stages={"worker": Outcome(status="failed", error=error)})


def run_cell(config: CellConfig, report: Report, judges: JudgeShelf) -> CellOutcome:
    """Run the cell's stages in order; the first that fails or is busy ends it. ``judges`` keeps a judge over cells.

    Raises:
        UserError: a stage's folder was made for another payload.
    """
    cell = plan_cell(config)
    outcome = CellOutcome(folder=cell.folder, label=cell.label)
    with Registry.open(config.registry.url) as registry, _bench(cell, report, judges) as bench:
        for kind in config.stages:
            row = registry.ensure_cell(cell.row()).to_dict()
            stage = cell.stages[kind]
            try:
                outcome.stages[kind] = run_stage(
                    stage,
                    StageClaims(cell, stage, registry),
                    partial(do_stage, kind, bench),
                    cell=row,
                    patience=_patience(config),
                )
            except ClaimLostError:
                outcome.stages[kind] = Outcome(status="busy")
            if outcome.stages[kind].status in ("failed", "busy"):
                break
            report(cell.label, "", 0, 0, "")
    return outcome


def _bench(cell: Cell, report: Report, judges: JudgeShelf) -> Workbench:
    return Workbench(cell, lambda stage, done, total, note: report(cell.label, stage, done, total, note), judges)


def _patience(config: CellConfig) -> Patience:
    execution = config.execution
    return Patience(attempts=execution.attempts, heartbeat_s=execution.heartbeat_s, stale_s=execution.stale_s)


class StageClaims:
    """The registry's claims on one stage, in the form that ``run_stage`` asks for."""

    def __init__(self, cell: Cell, stage: Stage, registry: Registry) -> None:
        self._key = cell.stage_key(stage.kind)
        self._stage = stage
        self._registry = registry
        self._stale_s = cell.config.execution.stale_s
        self._owner = Owner.here()

    def claim(self) -> Literal["claimed", "busy", "done"]:
        """Take the stage with a fresh token; a row that is done without a record in the folder is done again."""
        answer = self._claim(redo=False)
        if isinstance(answer, AlreadyDone):
            if (self._stage.folder / RECORD).exists():
                return "done"
            answer = self._claim(redo=True)
        return "busy" if isinstance(answer, Busy) else "claimed"

    def _claim(self, *, redo: bool) -> object:
        self._owner = Owner.here()
        return self._registry.claim(
            self._key,
            kind=self._stage.kind,
            fingerprint=self._stage.fingerprint,
            owner=self._owner,
            stale_s=self._stale_s,
            now=time.time(),
            redo=redo,
        )

    def beat(self) -> bool:
        """Say that the work goes on."""
        return self._registry.beat(self._key, self._owner.token)

    def finish(self, record: dict[str, Any]) -> bool:
        """Store the record's rows."""
        return self._registry.finish(self._key, self._owner.token, record)

    def adopt(self, record: dict[str, Any]) -> None:
        """Store a finished record that the registry does not know (it was made anew, or the process died between)."""
        if not self._registry.is_done(self._key, self._stage.fingerprint):
            self._registry.adopt(record)

    def fail(self, error: str, trace: str) -> None:
        """Note a failed attempt."""
        self._registry.fail(self._key, self._owner.token, error, trace)
